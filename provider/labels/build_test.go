package labels

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// place is a Placer with one address and the ports a container exposes.
type place struct{ host, port, udpPort string }

func (p place) Place(w Where) ([]Address, []config.Problem) {
	port := w.Port
	if port == "" && w.UDP {
		port = p.udpPort
	}
	if port == "" {
		port = p.port
	}
	if port == "" {
		return nil, []config.Problem{{Code: config.CodeMissingPort, Text: "no port", Severity: config.Error}}
	}
	return []Address{{Host: p.host, Port: port}}, nil
}

// con describes a container in a test: labels as "key=value" lines.
type con struct {
	name, labels string
	rank         Rank
	age          time.Duration
	port         string
}

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func build1(t *testing.T, o Options, c con, ip string) *Share {
	t.Helper()
	if o.DefaultRule == "" {
		o.DefaultRule = "Host(`{{ normalize .Name }}`)"
	}
	b, problems := NewBuilder(o)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	port := c.port
	if port == "" {
		port = "80"
	}
	return b.Build(&Workload{Key: c.name, Name: c.name, Source: "container " + c.name, Labels: parse(c.labels),
		Rank: c.rank, Created: epoch.Add(-c.age), Place: place{ip, strings.TrimPrefix(port, "none"), "53"}})
}

func parse(lines string) map[string]string {
	out := map[string]string{}
	for l := range strings.Lines(lines) {
		if k, v, ok := strings.Cut(strings.TrimSpace(l), "="); ok {
			out[k] = v
		}
	}
	return out
}

func merge(t *testing.T, o Options, cons ...con) (*config.Dynamic, []config.Problem) {
	t.Helper()
	m := NewMerger()
	for i, c := range cons {
		if s := build1(t, o, c, "10.0.0."+string(rune('1'+i))); s != nil {
			m.Replace(nil, s)
		}
	}
	return m.Result()
}

// show writes a configuration as short lines, for comparing.
func show(d *config.Dynamic) string {
	var out []string
	for n, r := range d.HTTP.Routers {
		l := "router " + n + " " + r.Rule + " -> " + r.Service
		if len(r.Middlewares) > 0 {
			l += " by " + strings.Join(r.Middlewares, ",")
		}
		out = append(out, l)
	}
	for n, s := range d.HTTP.Services {
		l := "service " + n
		if s.LoadBalancer == nil {
			b, _ := json.Marshal(s)
			out = append(out, l+" "+string(b))
			continue
		}
		for _, srv := range s.LoadBalancer.Servers {
			l += " " + srv.URL
			if srv.Weight != nil {
				l += "*" + string(rune('0'+*srv.Weight))
			}
			if srv.Fenced {
				l += "(fenced)"
			}
		}
		out = append(out, l)
	}
	for n := range d.HTTP.Middlewares {
		out = append(out, "middleware "+n)
	}
	for n, r := range d.TCP.Routers {
		out = append(out, "tcp router "+n+" "+r.Rule+" -> "+r.Service)
	}
	for n, s := range d.TCP.Services {
		l := "tcp service " + n
		for _, srv := range s.LoadBalancer.Servers {
			l += " " + srv.Address
		}
		out = append(out, l)
	}
	for n, r := range d.UDP.Routers {
		out = append(out, "udp router "+n+" -> "+r.Service)
	}
	for n, s := range d.UDP.Services {
		l := "udp service " + n
		for _, srv := range s.LoadBalancer.Servers {
			l += " " + srv.Address
		}
		out = append(out, l)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func codes(ps []config.Problem) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Code)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// h adds a prefix to labels of the HTTP root.
func h(labels ...string) string { return "traefik.http." + strings.Join(labels, "\ntraefik.http.") }

func TestLabelsToConfiguration(t *testing.T) {
	hidden := Options{}
	open := Options{ExposedByDefault: true}
	compat := Options{ExposedByDefault: true, Compat404: true}
	for _, c := range []struct {
		name     string
		opts     Options
		cons     []con
		want     string
		problems string
	}{
		{"automatic", open, []con{{name: "my_web"}}, "router my-web Host(`my-web`) -> my-web\nservice my-web http://10.0.0.1:80", ""},
		{"compose names", open, []con{{name: "x", labels: ComposeProject + "=my_shop.eu\n" + ComposeService + "=web_front"}},
			"router web-front-my-shop-eu Host(`web-front-my-shop-eu`) -> web-front-my-shop-eu\nservice web-front-my-shop-eu http://10.0.0.1:80", ""},
		{"hidden by default", hidden, []con{{name: "a"}, {name: "b", labels: "traefik.enable=true"}, {name: "c", labels: "traefik.enable=T"}},
			"router b Host(`b`) -> b\nrouter c Host(`c`) -> c\nservice b http://10.0.0.2:80\nservice c http://10.0.0.3:80", ""},
		{"enable cannot be read", open, []con{{name: "a", labels: "traefik.enable=nope"}}, "", "invalid_value"},
		{"switched off, other wrong labels do not matter", open, []con{{name: "a", labels: "traefik.enable=false\n" + h("routers.a.nope=1")}}, "", ""},
		{"constraints", Options{ExposedByDefault: true, Constraints: "Label(`env`,`prod`)"}, []con{{name: "a", labels: "env=prod"}, {name: "b"}},
			"router a Host(`a`) -> a\nservice a http://10.0.0.1:80", ""},
		{"default rule gives nothing", Options{ExposedByDefault: true, DefaultRule: `{{ index .Labels "r" }}`}, []con{{name: "a", labels: "r=Host(`x`)"}, {name: "b"}},
			"router a Host(`x`) -> a\nservice a http://10.0.0.1:80\nservice b http://10.0.0.2:80", "invalid_rule"},
		{"default rule fails", Options{ExposedByDefault: true, DefaultRule: "{{ .Nope }}"}, []con{{name: "a"}}, "service a http://10.0.0.1:80", "invalid_rule"},
		{"router label, automatic service", open, []con{{name: "a", labels: h("routers.r.rule=Host(`x`)")}},
			"router r Host(`x`) -> a\nservice a http://10.0.0.1:80", ""},
		{"service label, automatic router", open, []con{{name: "a", labels: h("services.s.loadbalancer.server.port=9001")}},
			"router a Host(`a`) -> s\nservice s http://10.0.0.1:9001", ""},
		{"scheme and weight", open, []con{{name: "a", labels: h("services.s.loadbalancer.server.scheme=h2c", "services.s.loadbalancer.server.weight=3")}},
			"router a Host(`a`) -> s\nservice s h2c://10.0.0.1:80*3", ""},
		{"url", open, []con{{name: "a", port: "none", labels: h("services.s.loadbalancer.server.url=http://app.test:81/x")}},
			"router a Host(`a`) -> s\nservice s http://app.test:81/x", ""},
		{"url and port", open, []con{{name: "a", labels: h("services.s.loadbalancer.server.url=http://x", "services.s.loadbalancer.server.port=80")}}, "", "invalid_service"},
		{"servers by index", open, []con{{name: "a", labels: h("services.s.loadbalancer.servers[0].port=81")}}, "", "unknown_key"},
		{"upper case root", open, []con{{name: "a", labels: "TRAEFIK.HTTP.ROUTERS.up.RULE=Host(`x`)"}}, "", "unknown_key"},
		{"no port", open, []con{{name: "db", port: "none"}}, "", "missing_port"},
		{"no port, but a router", open, []con{{name: "a", port: "none", labels: h("routers.r.rule=Host(`x`)")}}, "router r Host(`x`) -> a\nservice a", "missing_port"},
		{"port that is none", open, []con{{name: "a", labels: h("services.s.loadbalancer.server.port=http")}}, "router a Host(`a`) -> s\nservice s http://10.0.0.1:http", "invalid_value"},
		{"several services", open, []con{{name: "a", labels: h("services.m.loadbalancer.server.port=80", "services.n.loadbalancer.server.port=81")}},
			"service m http://10.0.0.1:80\nservice n http://10.0.0.1:81", "ambiguous_service"},
		{"several services, routers that choose", open, []con{{name: "a", labels: h("services.m.loadbalancer.server.port=80", "services.n.loadbalancer.server.port=81",
			"routers.r.rule=Host(`r`)", "routers.r.service=n", "routers.q.rule=Host(`q`)")}},
			"router r Host(`r`) -> n\nservice m http://10.0.0.1:80\nservice n http://10.0.0.1:81", "ambiguous_service"},
		{"middleware only", open, []con{{name: "a", labels: h("middlewares.m.addprefix.prefix=/p")}},
			"middleware m\nrouter a Host(`a`) -> a\nservice a http://10.0.0.1:80", ""},
		{"one wrong label costs itself", open, []con{{name: "a", labels: h("routers.a.rule=Host(`a.test`)", "routers.a.colour=red")}},
			"router a Host(`a.test`) -> a\nservice a http://10.0.0.1:80", "unknown_key"},
		{"tcp only", open, []con{{name: "a", labels: "traefik.tcp.routers.t.rule=HostSNI(`*`)\ntraefik.tcp.services.t.loadbalancer.server.port=9000"}},
			"tcp router t HostSNI(`*`) -> t\ntcp service t 10.0.0.1:9000", ""},
		{"tcp router, automatic service", open, []con{{name: "a", port: "9000", labels: "traefik.tcp.routers.t.rule=HostSNI(`*`)"}},
			"tcp router t HostSNI(`*`) -> a\ntcp service a 10.0.0.1:9000", ""},
		{"tcp router without a rule", open, []con{{name: "a", labels: "traefik.tcp.routers.t.entrypoints=x"}}, "tcp service a 10.0.0.1:80", "invalid_rule"},
		{"udp and http", open, []con{{name: "a", labels: "traefik.udp.routers.u.entrypoints=udp\n" + h("routers.r.rule=Host(`x`)")}},
			"router r Host(`x`) -> a\nservice a http://10.0.0.1:80\nudp router u -> a\nudp service a 10.0.0.1:53", ""},
		{"replicas", open, []con{{name: "w1", labels: h("routers.w.rule=Host(`w`)", "services.w.loadbalancer.server.port=80")}, {name: "w2", labels: h("routers.w.rule=Host(`w`)", "services.w.loadbalancer.server.port=8080")}},
			"router w Host(`w`) -> w\nservice w http://10.0.0.1:80 http://10.0.0.2:8080", ""},
		{"replicas, one is ill", open, []con{{name: "w1", labels: h("routers.w.rule=Host(`w`)", "services.w.loadbalancer.server.port=80")}, {name: "w2", rank: Fenced, labels: h("routers.w.rule=Host(`w`)", "services.w.loadbalancer.server.port=80")}},
			"router w Host(`w`) -> w\nservice w http://10.0.0.1:80", ""},
		{"all are ill", open, []con{{name: "w1", rank: Fenced, labels: h("services.w.loadbalancer.server.port=80")}},
			"router w1 Host(`w1`) -> w\nservice w http://10.0.0.1:80(fenced)", ""},
		{"stopped, with labels", open, []con{{name: "a", rank: Down, labels: h("routers.r.rule=Host(`x`)")}}, "router r Host(`x`) -> a\nservice a", ""},
		{"stopped, without labels", open, []con{{name: "job", rank: Down}}, "", ""},
		{"stopped, as the reference", compat, []con{{name: "a", rank: Down, labels: h("routers.r.rule=Host(`x`)")}, {name: "b", rank: Fenced}}, "", ""},
		{"stopped, allowed", compat, []con{{name: "a", rank: Down, labels: "traefik.docker.allownonrunning=true"}}, "router a Host(`a`) -> a\nservice a", ""},
		{"ill, allowed", Options{ExposedByDefault: true, Compat404: true, AllowEmptyServices: true}, []con{{name: "a", rank: Fenced}}, "router a Host(`a`) -> a\nservice a http://10.0.0.1:80(fenced)", ""},
		{"routers in conflict", open, []con{{name: "a", labels: h("routers.app.rule=Host(`a`)")}, {name: "b", labels: h("routers.app.rule=Host(`b`)")}, {name: "z"}},
			"router z Host(`z`) -> z\nservice a http://10.0.0.1:80\nservice b http://10.0.0.2:80\nservice z http://10.0.0.3:80", "conflict"},
		{"services in conflict", open, []con{{name: "a", labels: h("routers.app.rule=Host(`a`)", "services.app.loadbalancer.passhostheader=true")}, {name: "b", labels: h("routers.app.rule=Host(`a`)", "services.app.loadbalancer.passhostheader=false")}},
			"router app Host(`a`) -> app", "conflict"},
		{"a stopped one does not disturb", open, []con{{name: "a", labels: h("routers.app.rule=Host(`a`)")}, {name: "b", rank: Down, labels: h("routers.app.rule=Host(`b`)")}},
			"router app Host(`a`) -> a\nservice a http://10.0.0.1:80\nservice b", ""},
		{"the newest replica is right", open, []con{
			{name: "p-w-1", age: time.Hour, labels: ComposeProject + "=p\n" + ComposeService + "=w\n" + h("routers.app.rule=Host(`old`)")},
			{name: "p-w-2", age: time.Minute, labels: ComposeProject + "=p\n" + ComposeService + "=w\n" + h("routers.app.rule=Host(`new`)")}},
			"router app Host(`new`) -> w-p\nservice w-p http://10.0.0.1:80 http://10.0.0.2:80", "conflict"},
		{"weights pooled", open, []con{{name: "a", labels: h("services.s.loadbalancer.server.weight=3", "routers.r.rule=Host(`w`)")}, {name: "b", labels: h("services.s.loadbalancer.server.weight=1", "routers.r.rule=Host(`w`)")}},
			"router r Host(`w`) -> s\nservice s http://10.0.0.1:80*3 http://10.0.0.2:80*1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, problems := merge(t, c.opts, c.cons...)
			if got := show(d); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if got := codes(problems); got != c.problems {
				t.Errorf("problems %q, want %q: %v", got, c.problems, problems)
			}
		})
	}
}

// project gives labels the compose project and service of a container.
func project(p, labels string) string {
	return ComposeProject + "=" + p + "\n" + ComposeService + "=web\n" + labels
}

func TestProjectsAreToldApart(t *testing.T) {
	o := Options{ExposedByDefault: true}
	tpl := func(host string) string {
		return h("routers.app.rule=Host(`"+host+"`)", "routers.app.middlewares=all, x@file", "services.app.loadbalancer.server.port=80",
			"middlewares.all.chain.middlewares=pre", "middlewares.pre.addprefix.prefix=/"+host)
	}
	one := con{name: "one-web-1", labels: project("one", tpl("one.test"))}
	two := con{name: "two-web-1", labels: project("two", tpl("two.test"))}
	d, problems := merge(t, o, one, two)
	want := "middleware all\nmiddleware all-two\nmiddleware pre\nmiddleware pre-two\n" +
		"router app Host(`one.test`) -> app by all,x@file\nrouter app-two Host(`two.test`) -> app-two by all-two,x@file\n" +
		"service app http://10.0.0.1:80\nservice app-two http://10.0.0.2:80"
	if got := show(d); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := d.HTTP.Middlewares["all-two"].Chain.Middlewares; !slices.Equal(got, []string{"pre-two"}) {
		t.Errorf("chain of the second: %v", got)
	}
	if codes(problems) != "conflict" || problems[0].Source != "container two-web-1" || problems[0].Severity != config.Warning {
		t.Errorf("%v", problems)
	}

	// Blue and green: two projects that say the same share their servers.
	d, problems = merge(t, o, one, con{name: "two-web-1", labels: project("two", tpl("one.test"))})
	if len(d.HTTP.Services) != 1 || len(d.HTTP.Services["app"].LoadBalancer.Servers) != 2 || len(problems) != 0 {
		t.Errorf("equal projects:\n%s\n%v", show(d), problems)
	}

	// When the first goes, the second has its names back.
	m := NewMerger()
	a, b := build1(t, o, one, "10.0.0.1"), build1(t, o, two, "10.0.0.2")
	m.Replace(nil, b)
	m.Result()
	m.Replace(nil, a)
	m.Result()
	c := build1(t, o, con{name: "two-web-2", labels: two.labels}, "10.0.0.3")
	m.Replace(nil, c)
	d, _ = m.Result()
	if got := len(d.HTTP.Services["app-two"].LoadBalancer.Servers); got != 2 {
		t.Errorf("%d servers of the second project, want 2:\n%s", got, show(d))
	}
	m.Replace(a, nil)
	d, problems = m.Result()
	if got := show(d); !strings.Contains(got, "service app http://10.0.0.2:80 http://10.0.0.3:80") || strings.Contains(got, "-two") || len(problems) != 0 {
		t.Errorf("after the first went:\n%s\n%v", got, problems)
	}
	m.Replace(b, nil)
	m.Replace(c, nil)
	if d, _ = m.Result(); show(d) != "" || len(m.scopes.raw)+len(m.scopes.put)+len(m.scopes.uses)+len(m.scopes.routers)+len(m.scopes.clashes) != 0 {
		t.Errorf("left over: %s %+v", show(d), m.scopes)
	}
}

func TestConflictNamesBothContainers(t *testing.T) {
	_, problems := merge(t, Options{ExposedByDefault: true},
		con{name: "b", labels: h("routers.app.rule=Host(`b`)")}, con{name: "a", labels: h("routers.app.rule=Host(`a`)")})
	if len(problems) != 1 || !strings.Contains(problems[0].Text, "container a, container b") || problems[0].Object != "router app" {
		t.Errorf("%v", problems)
	}
}

func TestBadOptions(t *testing.T) {
	b, problems := NewBuilder(Options{ExposedByDefault: true, Constraints: "Tag(`x`)", DefaultRule: "{{"})
	if codes(problems) != "invalid_constraints invalid_rule" {
		t.Fatal(problems)
	}
	if b.Candidate(nil) {
		t.Error("constraints that cannot be read expose everything")
	}
}

func TestUnchangedPoolsKeepTheirPointers(t *testing.T) {
	w := h("routers.w.rule=Host(`w`)", "services.w.loadbalancer.server.port=80")
	o := Options{ExposedByDefault: true}
	a, b := build1(t, o, con{name: "a", labels: w}, "10.0.0.1"), build1(t, o, con{name: "b", labels: w}, "10.0.0.2")
	m := NewMerger()
	m.Replace(nil, b)
	m.Replace(nil, a)
	one, _ := m.Result()
	m.Replace(nil, build1(t, o, con{name: "c"}, "10.0.0.3"))
	again := build1(t, o, con{name: "b", labels: w}, "10.0.0.2") // says the same
	m.Replace(b, again)
	two, _ := m.Result()
	if one.HTTP.Services["w"] != two.HTTP.Services["w"] || one.HTTP.Routers["w"] != two.HTTP.Routers["w"] {
		t.Error("an unchanged object was made anew")
	}
	if len(one.HTTP.Routers) != 1 {
		t.Error("a result that was handed out changed")
	}
	m.Replace(again, nil)
	three, _ := m.Result()
	if s := three.HTTP.Services["w"].LoadBalancer.Servers; len(s) != 1 || s[0].URL != "http://10.0.0.1:80" {
		t.Errorf("a server that went is still there: %v", s)
	}
	m.Replace(a, nil)
	four, _ := m.Result()
	if len(four.HTTP.Services) != 1 || len(m.services.claims) != 1 || len(m.services.dirty) != 0 {
		t.Errorf("left over: %v %v", four.HTTP.Services, m.services.claims)
	}
}

// TestMergeIsTheSameInAnyOrder holds that the way to a state does not matter.
func TestMergeIsTheSameInAnyOrder(t *testing.T) {
	o := Options{ExposedByDefault: true}
	var shares []*Share
	for i := range 12 {
		c := con{name: string(rune('a' + i)), rank: Rank(i % 3), age: time.Duration(i%4) * time.Minute,
			labels: h("routers.r.rule=Host(`"+string(rune('x'+i/6))+"`)", "services.s.loadbalancer.server.port=80", "middlewares.m"+strconv.Itoa(i%5)+".addprefix.prefix=/x")}
		if i%2 == 0 {
			c.labels += "\n" + ComposeProject + "=" + []string{"p", "q", "o"}[i/2%3] + "\n" + ComposeService + "=s"
		}
		shares = append(shares, build1(t, o, c, "10.0.1."+strconv.Itoa(i)))
	}
	want := ""
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		m, in := NewMerger(), map[*Share]bool{}
		for range 40 { // come and go
			s := shares[r.IntN(len(shares))]
			if in[s] = !in[s]; in[s] {
				m.Replace(nil, s)
			} else {
				m.Replace(s, nil)
			}
			m.Result()
		}
		for _, s := range shares {
			if !in[s] {
				m.Replace(nil, s)
			}
		}
		d, problems := m.Result()
		got := show(d) + "\n" + fmt.Sprint(problems)
		if want == "" {
			want = got
		}
		if got != want {
			t.Fatalf("seed %d:\n%s\nwant\n%s", seed, got, want)
		}
	}
}

func BenchmarkOneOf10000(b *testing.B) {
	m := NewMerger()
	bl, _ := NewBuilder(Options{ExposedByDefault: true, DefaultRule: "Host(`{{ .Name }}`)"})
	share := func(i int, host string) *Share {
		n := fmt.Sprintf("app-%05d", i)
		return bl.Build(&Workload{Key: n, Name: n, Place: place{host, "80", ""}})
	}
	for i := range 10000 {
		m.Replace(nil, share(i, "10.0.0.1"))
	}
	m.Result()
	was := share(77, "10.0.0.1")
	m.Replace(nil, was)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		is := share(77, fmt.Sprint("h", i))
		m.Replace(was, is)
		was = is
		m.Result()
	}
}

// TestSickServices checks when a pool of replicas counts as sick: where nothing else is on its way.
func TestSickServices(t *testing.T) {
	for _, c := range []struct {
		name, labels string
		ranks        []Rank
		sick         []bool
		want         bool
	}{
		{"one", "", []Rank{Fenced}, []bool{true}, true},
		{"one that is told to hold", "sluice.hold=5s", []Rank{Fenced}, []bool{true}, false},
		{"a service that is told to hold", "sluice.http.services.s.loadbalancer.hold=5s", []Rank{Fenced}, []bool{true}, false},
		{"two", "", []Rank{Fenced, Fenced}, []bool{true, true}, true},
		{"one stops", "", []Rank{Fenced, Fenced}, []bool{true, false}, false},
		{"one serves", "", []Rank{Fenced, Live}, []bool{true, false}, false},
		{"one is down", "", []Rank{Fenced, Down}, []bool{true, false}, true},
	} {
		b, _ := NewBuilder(Options{ExposedByDefault: true, DefaultRule: "Host(`a`)"})
		m := NewMerger()
		for i, rank := range c.ranks {
			name := "c" + strconv.Itoa(i)
			m.Replace(nil, b.Build(&Workload{Key: name, Name: name, Labels: parse("traefik.http.services.s.loadbalancer.server.port=80\n" + c.labels),
				Rank: rank, Sick: c.sick[i], Seen: true, Place: place{host: "10.0.0." + strconv.Itoa(i), port: "80"}}))
		}
		dyn, problems := m.Result()
		if s := dyn.HTTP.Services["s"]; s == nil || s.LoadBalancer.Sick != c.want {
			t.Errorf("%s: %+v %v", c.name, s, problems)
		}
	}
}

// TestWhatMakesNoAutomaticRouter checks which labels keep a container from having a router that
// nobody wrote: routers and services for TCP or UDP alone, as in the reference.
func TestWhatMakesNoAutomaticRouter(t *testing.T) {
	for labels, want := range map[string]bool{
		"": true,
		"traefik.tcp.middlewares.m.inflightconn.amount=3":                                     true,
		"traefik.http.middlewares.m.addprefix.prefix=/x":                                      true,
		"traefik.tcp.services.s.loadbalancer.server.port=80":                                  false,
		"traefik.udp.routers.r.entrypoints=u":                                                 false,
		"traefik.tcp.routers.r.nonsense=1":                                                    false,
		"traefik.udp.routers.r.entrypoints=u\ntraefik.http.middlewares.m.addprefix.prefix=/x": true,
	} {
		s := build1(t, Options{ExposedByDefault: true}, con{name: "a", labels: labels}, "10.0.0.1")
		if got := s.Config.HTTP != nil && s.Config.HTTP.Routers["a"] != nil; got != want {
			t.Errorf("%q: a router %v", labels, got)
		}
	}
}

// TestAPortThatIsNone keeps the service, whose URL shows what is wrong.
func TestAPortThatIsNone(t *testing.T) {
	s := build1(t, Options{ExposedByDefault: true}, con{name: "a", labels: "traefik.http.services.s.loadbalancer.server.port=abc"}, "10.0.0.1")
	servers := s.Config.HTTP.Services["s"].LoadBalancer.Servers
	if len(servers) != 1 || servers[0].URL != "http://10.0.0.1:abc" || s.Config.HTTP.Routers["a"] == nil {
		t.Errorf("%+v", s.Config.HTTP)
	}
	if len(s.Problems) != 1 || s.Problems[0].Code != config.CodeInvalidValue {
		t.Errorf("%v", s.Problems)
	}
}

// TestTheDefaultRuleStaysAsItIs keeps blanks, which count for the rule's priority.
func TestTheDefaultRuleStaysAsItIs(t *testing.T) {
	s := build1(t, Options{ExposedByDefault: true, DefaultRule: " Host(`{{ .Name }}`) "}, con{name: "a"}, "10.0.0.1")
	if rule := s.Config.HTTP.Routers["a"].Rule; rule != " Host(`a`) " {
		t.Errorf("%q", rule)
	}
}
