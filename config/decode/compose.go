package decode

import (
	"path/filepath"
	"strings"
)

// Compose is what a compose file says that matters to routing.
type Compose struct {
	Name     string
	Services []ComposeService
	// Networks maps the keys of networks to their real names, where a name is given.
	Networks map[string]string
	// Configs maps the keys of configs and secrets to the files that hold them.
	Configs map[string]string
	// Dir is the directory of the file.
	Dir string
}

// ComposeService is one service. Where is "file NAME:LINE:COLUMN".
type ComposeService struct {
	Name, Where string
	Image       string
	// Built is set where it has an image that is built.
	Built       bool
	NetworkMode string
	// Swarm reports labels below deploy; they are in Labels.
	Swarm   bool
	Labels  []ComposeValue
	Command []ComposeValue
	Env     []ComposeValue
	// Entrypoint is what runs instead of the image's program; Health is the test of a health check.
	Entrypoint, Health []ComposeValue
	// Networks are keys of networks; without any the service is in "default".
	Networks []ComposeValue
	Ports    []string
	Expose   []string
	// Volumes are the places of volumes, configs and secrets in the container, Sources what is there:
	// a path, or the name of a volume or config.
	Volumes []string
	Sources map[string]string
}

// ComposeValue is a text with its place. Key is set for labels and variables; Listed tells that
// both were one text of a list, where compose replaces variables in the key too.
type ComposeValue struct {
	Key, Value, Where string
	Listed            bool
}

// ParseCompose reads a compose file. Variables are not replaced. The error is an *Error.
func ParseCompose(name string, data []byte) (*Compose, error) {
	root, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	c := &Compose{Networks: map[string]string{}, Configs: map[string]string{}, Dir: filepath.Dir(name)}
	if root == nil || root.child("services", false) == nil {
		return nil, unreadable("file "+name, "is no compose file: it has no services", "")
	}
	if n := root.child("name", false); n != nil {
		c.Name = n.value
	}
	if nets := root.child("networks", false); nets != nil {
		for _, n := range nets.kids {
			c.Networks[n.key] = ""
			real := n.child("name", false)
			if x := n.child("external", false); real == nil && x != nil { // as files of version 2 and 3.0 have it
				real = x.child("name", false)
			}
			if real != nil {
				c.Networks[n.key] = real.value
			}
		}
	}
	if configs := root.child("configs", false); configs != nil {
		for _, n := range configs.kids {
			if f := n.child("file", false); f != nil {
				c.Configs[n.key] = f.value
			}
		}
	}
	for _, s := range root.child("services", false).kids {
		c.Services = append(c.Services, composeService(s))
	}
	return c, nil
}

func composeService(n *node) ComposeService {
	s := ComposeService{Name: n.key, Where: n.place(), Sources: map[string]string{}}
	for _, k := range n.kids {
		switch k.key {
		case "image":
			s.Image = k.value
		case "build", "extends":
			s.Built = true
		case "network_mode":
			s.NetworkMode = k.value
		case "labels":
			s.Labels = append(s.Labels, pairs(k)...)
		case "deploy":
			if l := k.child("labels", false); l != nil {
				s.Swarm = true
				s.Labels = append(s.Labels, pairs(l)...)
			}
		case "environment":
			s.Env = pairs(k)
		case "command":
			s.Command = words(k)
		case "entrypoint":
			s.Entrypoint = words(k)
		case "healthcheck":
			if t := k.child("test", false); t != nil {
				s.Health = words(t)
			}
		case "networks":
			s.Networks = keys(k)
		case "ports":
			s.Ports = portList(k)
		case "expose":
			for _, e := range k.kids {
				s.Expose = append(s.Expose, e.value)
			}
		case "volumes", "configs", "secrets":
			s.mounts(k)
		}
	}
	return s
}

// mounts adds the volumes, configs or secrets that n lists.
func (s *ComposeService) mounts(n *node) {
	for _, v := range n.kids {
		var source, target string
		switch t := v.child("target", false); {
		case t != nil:
			target = t.value
			if from := v.child("source", false); from != nil {
				source = from.value
			}
		case v.kind != scalar:
			continue
		case n.key == "volumes":
			source, target = volumeParts(v.value)
		case n.key == "configs":
			source, target = v.value, "/"+v.value
		default:
			continue
		}
		s.Volumes = append(s.Volumes, target)
		if source != "" {
			s.Sources[target] = source
		}
	}
}

// volumeParts takes SOURCE:TARGET:MODE apart. A source may be a variable with a colon of its own.
func volumeParts(v string) (source, target string) {
	depth, from := 0, 0
	for i, r := range v {
		switch {
		case r == '{':
			depth++
		case r == '}':
			depth--
		case r == ':' && depth == 0 && from > 0:
			return source, v[from:i]
		case r == ':' && depth == 0:
			source, from = v[:i], i+1
		}
	}
	return source, v[from:]
}

// pairs reads a map, or a list of "key=value".
func pairs(n *node) []ComposeValue {
	out := make([]ComposeValue, 0, len(n.kids))
	for _, k := range n.kids {
		if n.kind == list {
			key, value, _ := strings.Cut(k.value, "=")
			out = append(out, ComposeValue{Key: key, Value: value, Where: k.place(), Listed: true})
			continue
		}
		out = append(out, ComposeValue{Key: k.key, Value: k.value, Where: k.place()})
	}
	return out
}

// words reads a list, or a text taken apart as a shell would.
func words(n *node) []ComposeValue {
	var out []ComposeValue
	if n.kind == scalar {
		for _, w := range shellWords(n.value) {
			out = append(out, ComposeValue{Value: w, Where: n.place()})
		}
	}
	for _, k := range n.kids {
		out = append(out, ComposeValue{Value: k.value, Where: k.place()})
	}
	return out
}

// shellWords takes a text apart at blanks outside of quotes, and takes quotes and backslashes off.
func shellWords(text string) []string {
	var out []string
	var word strings.Builder
	inWord, quote := false, byte(0)
	end := func() {
		if inWord {
			out = append(out, word.String())
		}
		word.Reset()
		inWord = false
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && quote != '\'' && i+1 < len(text):
			i++
			if text[i] != '\n' {
				word.WriteByte(text[i])
				inWord = true
			}
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, inWord = c, true
		case quote == 0 && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			end()
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	end()
	return out
}

// keys reads the keys of a map, or a list of them.
func keys(n *node) []ComposeValue {
	var out []ComposeValue
	for _, k := range n.kids {
		name := k.key
		if n.kind == list {
			name = k.value
		}
		out = append(out, ComposeValue{Value: name, Where: k.place()})
	}
	return out
}

// portList gives the container's side of published ports.
func portList(n *node) []string {
	var out []string
	for _, k := range n.kids {
		port := k.value
		if t := k.child("target", false); t != nil {
			port = t.value
		}
		port, proto, _ := strings.Cut(port, "/")
		port = port[strings.LastIndexByte(port, ':')+1:]
		if port != "" && proto != "udp" {
			out = append(out, port)
		}
	}
	return out
}
