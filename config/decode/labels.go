package decode

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// Extra is what labels say to the provider itself rather than to routing.
type Extra struct {
	// Enable is nil if no label says. A value that cannot be read counts as false: a
	// container is never exposed by mistake.
	Enable *bool
	Docker EngineLabels
	Swarm  EngineLabels
	// Refused is why the whole container must stay out, or nil. It is set where the
	// reference refuses the container and going on with defaults would expose it under
	// a name or at a server that its owner did not choose. It is one of the Problems too.
	Refused *config.Problem
	// Hold and Ready are the labels sluice.hold and sluice.ready; nil and empty if not given.
	Hold  *config.Duration
	Ready string
	// SlowStart is the label sluice.slowStart; nil if not given.
	SlowStart *config.Duration
	// Idle is what the labels below sluice.idle say.
	Idle IdleLabels
}

// IdleLabels are the labels sluice.idle (which is After) and those below it.
type IdleLabels struct {
	After     *config.Duration `json:"after"`
	Mode      string           `json:"mode"`
	Group     string           `json:"group"`
	DependsOn []string         `json:"dependsOn"`
	Page      *config.Duration `json:"page"`
	// Replicas is what a Swarm service had before it was put to sleep; it is written there
	// by the program itself.
	Replicas uint64 `json:"replicas"`
	// Given reports that at least one of them is there.
	Given bool `json:"-"`
}

// EngineLabels are the labels below "traefik.docker." or "traefik.swarm.".
type EngineLabels struct {
	Network         string `json:"network"`
	LBSwarm         bool   `json:"lbswarm"`
	AllowNonRunning bool   `json:"allownonrunning"`
	// Given reports that at least one label has this spelling.
	Given bool `json:"-"`
}

type extraLabels struct {
	Enable string           `json:"enable"`
	Docker EngineLabels     `json:"docker"`
	Swarm  EngineLabels     `json:"swarm"`
	Hold   *config.Duration `json:"hold"`
	Ready  string           `json:"ready"`
	Idle   IdleLabels       `json:"idle"`
	Slow   *config.Duration `json:"slowStart"`
}

// labelRoots are the prefixes that the reference decodes, after the first element.
// They are plain prefixes: "httpfoo." is looked at, and found wrong.
var labelRoots = [...]string{"http", "tcp", "udp", "tls.stores.default"}

// Labels decodes the labels of one container or service. Each wrong label costs
// itself only and becomes a Problem with source as its Source, the label as its Field
// and the nearest right label as its Suggestion. The result is never nil.
//
// Labels below "traefik.http", "tcp", "udp" and "tls.stores.default" are read, and
// below "sluice." the same and more: every service kind, serversTransports, tls.options
// and our own middlewares. Any other label is left alone.
func Labels(labels map[string]string, source string) (*config.Dynamic, Extra, []config.Problem) {
	w := newWalker(source)
	dyn, extra := w.decodeLabels(labels)
	return dyn, extra, w.problems
}

func (w *walker) decodeLabels(labels map[string]string) (*config.Dynamic, Extra) {
	w.labels = true
	var dyn config.Dynamic
	var extra Extra
	root, own := &node{kind: object}, &node{kind: object}
	for _, key := range relevant(labels) {
		first, rest, _ := strings.Cut(key, ".")
		ours := strings.EqualFold(first, "sluice")
		lower := strings.ToLower(rest)
		dest := w.destination(key, lower, ours, root, own)
		if dest == nil {
			continue
		}
		if first != "traefik" && first != "sluice" {
			w.problem(&node{full: key}, config.CodeUnknownKey, fmt.Sprintf("the first part %q must be lower case", first),
				"write "+strings.ToLower(first)+"."+rest)
			extra.refuse(w)
			continue
		}
		path, ok := split(rest)
		if !ok {
			w.problemAt(parts(rest), &node{full: key}, config.CodeUnknownKey, "has an empty part or a misplaced bracket", "")
			continue
		}
		if dest == own && lower == "idle" {
			path = append(path, "after")
		}
		w.put(dest, path, key, labels[key], ours)
	}
	w.refusals(root, &extra)
	w.ownOptions(root)
	w.fill(reflect.ValueOf(&dyn).Elem(), root, nil)
	w.extra(own, &extra)
	w.failClosed(&dyn)
	return &dyn, extra
}

// relevant sorts the labels that could be ours. The order decides which spelling of a
// name counts; it is the reference's.
func relevant(labels map[string]string) []string {
	keys := make([]string, 0, len(labels))
	for k := range labels {
		if len(k) > 7 && (strings.EqualFold(k[:7], "sluice.") || len(k) > 8 && strings.EqualFold(k[:8], "traefik.")) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys
}

// destination is the tree a label belongs to, or nil if it is none of ours.
func (w *walker) destination(key, lower string, ours bool, root, own *node) *node {
	for _, r := range labelRoots {
		if strings.HasPrefix(lower, r) {
			return root
		}
	}
	if ours && strings.HasPrefix(lower, "tls.") {
		return root
	}
	if lower == "enable" || strings.HasPrefix(lower, "docker.") || strings.HasPrefix(lower, "swarm.") {
		return own
	}
	if ours && (lower == "hold" || lower == "ready" || lower == "slowstart" || lower == "idle" || strings.HasPrefix(lower, "idle.")) {
		return own
	}
	w.nearRoot(key, lower, ours)
	return nil
}

// nearRoot warns of labels that are ignored and were probably meant for us.
func (w *walker) nearRoot(key, lower string, ours bool) {
	first, rest, deep := strings.Cut(lower, ".")
	var code, text, hint string
	var meant []string
	switch {
	case strings.HasPrefix(lower, "frontend.") || lower == "backend" || lower == "port" || lower == "protocol" || lower == "weight":
		code, text, hint = config.CodeDeprecated, "is a label of Traefik v1 and has no effect", "write traefik.http.routers.NAME.rule and traefik.http.services.NAME.loadbalancer.server.port"
	case strings.HasPrefix(lower, "tls.") && !strings.HasPrefix(lower, "tls.options.") && !strings.HasPrefix(lower, "tls.stores."):
		code, text, hint = config.CodeUnsupported, "has no effect: TLS belongs to a router", "write traefik.http.routers.NAME."+key[len("traefik."):]
		if lower == "tls.enable" || lower == "tls.enabled" {
			hint = "write traefik.http.routers.NAME.tls=true"
		}
	case strings.HasPrefix(lower, "tls."):
		code, text, hint = config.CodeUnsupported, "has no effect below traefik.", "write sluice."+key[len("traefik."):]
	default:
		near := Nearest(first, []string{"http", "tcp", "udp", "enable", "docker", "swarm"})
		if near == "" && ours {
			near = Nearest(first, []string{"hold", "ready", "slowStart", "idle"})
		}
		if near == "" || near != "idle" && deep == (near == "enable" || near == "hold" || near == "ready" || near == "slowStart") {
			if !ours {
				return
			}
			near = ""
		}
		code, text = config.CodeUnknownKey, fmt.Sprintf("unknown root %q: the label has no effect", first)
		if near != "" {
			hint = "did you mean " + key[:strings.IndexByte(key, '.')+1] + strings.TrimSuffix(near+"."+rest, ".") + "?"
			meant = append([]string{near}, parts(rest)...)
		}
	}
	w.problemAt(meant, &node{full: key}, code, text, hint)
	w.problems[len(w.problems)-1].Severity = config.Warning
}

func (w *walker) put(tree *node, path []string, key, value string, ours bool) {
	// Names that differ by case are one object in the reference; say so.
	for n, i := tree, 0; i < len(path) && n != nil; i++ {
		n = n.child(path[i], true)
		if n != nil && n.key != path[i] && i == 2 {
			w.warn(key, config.CodeConflict, fmt.Sprintf("the names %q and %q differ by case only and are one", n.key, path[i]), "")
		}
	}
	leaf := tree.insert(path)
	if leaf.given {
		if leaf.value != value {
			w.warn(key, config.CodeConflict, "says again what "+leaf.full+" says, with another value", "remove one of them")
		}
		if leaf.ours && !ours {
			return
		}
	}
	leaf.full, leaf.value, leaf.ours, leaf.given = key, value, ours, true
}

func (w *walker) warn(key, code, text, hint string) {
	w.problem(&node{full: key}, code, text, hint)
	w.problems[len(w.problems)-1].Severity = config.Warning
}

// refusals finds labels that place servers by position. Labels cannot say which of
// several servers the container is, so it stays out, as in the reference.
func (w *walker) refusals(root *node, extra *Extra) {
	for _, proto := range root.kids {
		services := proto.child("services", true)
		if services == nil {
			continue
		}
		for _, s := range services.kids {
			lb := s.child("loadbalancer", true)
			if lb == nil {
				continue
			}
			servers := lb.child("servers", true)
			if servers == nil {
				continue
			}
			servers.leaves(func(n *node) {
				w.problem(n, config.CodeUnknownKey, "labels describe the one server that the container is",
					"write traefik."+proto.key+".services."+s.key+".loadbalancer.server.port, or list servers in a file")
				w.problems[len(w.problems)-1].Object = "service " + s.key
			})
			extra.refuse(w)
			kids := lb.kids[:0]
			for _, k := range lb.kids {
				if k != servers {
					kids = append(kids, k)
				}
			}
			lb.kids = kids
		}
	}
}

// ownOptions takes away the TLS options "default": they hold for the hosts of everybody who
// names none, and may ask for client certificates. A container's labels must not change that.
func (w *walker) ownOptions(root *node) {
	tls := root.child("tls", true)
	if tls == nil {
		return
	}
	options := tls.child("options", true)
	if options == nil {
		return
	}
	options.kids = slices.DeleteFunc(options.kids, func(o *node) bool {
		if base, _, _ := strings.Cut(o.key, "@"); !strings.EqualFold(base, "default") {
			return false
		}
		o.leaves(func(n *node) {
			w.problem(n, config.CodeUnsupported, "labels cannot set the default TLS options: they hold for everybody",
				"give the options another name and the router tls.options=NAME, or write them to a file")
		})
		return true
	})
}

// refuse makes the last problem the reason to leave the container out.
func (e *Extra) refuse(w *walker) {
	if e.Refused == nil {
		p := w.problems[len(w.problems)-1]
		e.Refused = &p
	}
}

func (w *walker) extra(own *node, e *Extra) {
	if own.kids == nil {
		return
	}
	var x extraLabels
	w.fill(reflect.ValueOf(&x).Elem(), own, nil)
	e.Docker, e.Swarm = x.Docker, x.Swarm
	e.Hold, e.Ready, e.SlowStart = x.Hold, x.Ready, x.Slow
	if why := config.CheckReady(e.Ready); why != "" {
		w.problem(own.child("ready", true), config.CodeInvalidValue, why, "write tcp, http:/path or none")
		e.Ready = ""
	}
	if e.Idle = x.Idle; own.child("idle", true) != nil {
		e.Idle.Given = true
		if why := config.CheckIdleMode(e.Idle.Mode); why != "" {
			w.problem(own.child("idle", true).child("mode", true), config.CodeInvalidValue, why, "write stop or pause")
			e.Idle.Mode = ""
		}
	}
	e.Docker.Given, e.Swarm.Given = own.child("docker", true) != nil, own.child("swarm", true) != nil
	if n := own.child("enable", true); n != nil {
		b, err := strconv.ParseBool(strings.ToLower(n.value))
		if err != nil {
			w.problem(n, config.CodeInvalidValue, fmt.Sprintf("%q is neither true nor false; the container stays out", clip(n.value)), boolHint(n.value))
		}
		e.Enable = &b
	}
}
