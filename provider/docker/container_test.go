package docker

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider/labels"
)

// recorded reads what a Docker engine 20.10 said of a container.
func recorded(t testing.TB, name string) *item {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var r container.InspectResponse
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return fromInspect(&r)
}

func (c *item) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %v running=%v paused=%v health=%q mode=%s", c.name, c.rank(), c.running, c.paused, c.health, c.mode[:min(len(c.mode), 14)])
	for _, n := range c.networks {
		fmt.Fprintf(&b, " %s=%s,%s", n.Name, n.IP, n.IP6)
	}
	for _, p := range c.ports {
		fmt.Fprintf(&b, " %d", p.number)
		if p.udp {
			b.WriteString("/udp")
		}
		for _, x := range p.bindings {
			fmt.Fprintf(&b, "<%s:%s", x.ip, x.port)
		}
	}
	return b.String()
}

func TestFromInspect(t *testing.T) {
	for name, want := range map[string]string{
		"plain":  `rec-plain 0 running=true paused=false health="" mode=default bridge=172.17.0.2, 80`,
		"ports":  `rec-ports 0 running=true paused=false health="" mode=default bridge=172.17.0.3, 53/udp 80 443<0.0.0.0:18443<:::18443 8080<127.0.0.1:18080 9000 9001`,
		"nets":   `rec-nets 0 running=true paused=false health="" mode=rec-n1 rec-n1=192.168.176.2, rec-n6=192.168.192.2,fd00:77::2 80`,
		"host":   `rec-host 0 running=true paused=false health="" mode=host host=,`,
		"none":   `rec-none 0 running=true paused=false health="" mode=none none=, 80`,
		"side":   `rec-side 0 running=true paused=false health="" mode=container:5c49`,
		"made":   `rec-made 2 running=false paused=false health="" mode=default bridge=, 80`,
		"paused": `rec-paused 1 running=true paused=true health="" mode=default bridge=172.17.0.4, 80`,
		"health": `rec-health 1 running=true paused=false health="starting" mode=default bridge=172.17.0.5, 80`,
		"gone":   `rec-gone 2 running=false paused=false health="" mode=default bridge=, 80`,
	} {
		if got := recorded(t, name).describe(); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
	}
	c := recorded(t, "plain")
	if c.stopSignal != "SIGQUIT" || c.stopTimeout != 3*time.Second || c.created.IsZero() || c.labels[labels.ComposeProject] != "my_shop" {
		t.Errorf("%+v", c)
	}
	if c := fromInspect(&container.InspectResponse{}); c.rank() != labels.Down {
		t.Error("an empty answer is a container that runs")
	}
}

func TestFromList(t *testing.T) {
	data, err := os.ReadFile("testdata/list.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []container.Summary
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range list {
		c := fromList(&list[i])
		got = append(got, fmt.Sprint(c.name, " ", c.running, " ", c.paused))
	}
	slices.Sort(got)
	want := "rec-again false false,rec-gone false false,rec-health true false,rec-host true false,rec-made false false,rec-nets true false," +
		"rec-none true false,rec-paused true true,rec-plain true false,rec-ports true false,rec-side true false"
	if strings.Join(got, ",") != want {
		t.Errorf("got %s", strings.Join(got, ","))
	}
	linked := fromList(&container.Summary{Names: []string{"/web/db", "/db"}})
	if linked.name != "db" {
		t.Errorf("name %q of a linked container", linked.name)
	}
}

func TestStopSignals(t *testing.T) {
	for _, c := range []struct {
		stop, sent string
		want       bool
	}{
		{"", "15", true}, {"", "SIGTERM", true}, {"", "9", true}, {"", "KILL", true}, {"", "2", true},
		{"", "1", false}, {"", "HUP", false}, {"", "10", false}, {"", "SIGUSR2", false}, {"", "", false},
		{"SIGUSR1", "10", true}, {"WINCH", "28", true}, {"37", "37", true}, {"SIGRTMIN+3", "37", true}, {"SIGQUIT", "3", true},
	} {
		if got := (&item{stopSignal: c.stop}).isStop(c.sent); got != c.want {
			t.Errorf("stop signal %q, sent %q: %v", c.stop, c.sent, got)
		}
	}
}

func TestChooseNetwork(t *testing.T) {
	nets := []Network{{Name: "bridge", ID: "b1", IP: "10.1.0.2"}, {Name: "shop_back", ID: "b2", IP: "10.2.0.2"},
		{Name: "shop_web", ID: "0123456789abcdef", IP: "10.3.0.2"}, {Name: "six", ID: "b4", IP6: "fd00::2"}, {Name: "void", ID: "b5"}}
	for _, c := range []struct {
		name    string
		nets    []Network
		wanted  []string
		project string
		self    map[string]bool
		want    string
		missing string
	}{
		{"first by name", nets, nil, "", nil, "bridge", ""},
		{"in common", nets, nil, "", map[string]bool{"b2": true, "b4": true}, "shop_back", ""},
		{"by name", nets, []string{"six"}, "", map[string]bool{"b2": true}, "six", ""},
		{"by ID", nets, []string{"0123456789ab"}, "", nil, "shop_web", ""},
		{"without the project", nets, []string{"web"}, "shop", nil, "shop_web", ""},
		{"by its end", nets, []string{"web"}, "other", nil, "shop_web", ""},
		{"the label before the option", nets, []string{"web", "bridge"}, "shop", nil, "shop_web", ""},
		{"the option", nets, []string{"", "shop_back"}, "", nil, "shop_back", ""},
		{"unknown", nets, []string{"nope"}, "", nil, "bridge", "nope"},
		{"unknown, in common", nets, []string{"nope"}, "", map[string]bool{"b4": true}, "six", "nope"},
		{"unknown label, known option", nets, []string{"nope", "six"}, "", nil, "six", "nope"},
		{"without an address", nets, []string{"void"}, "", nil, "bridge", "void"},
		{"not Swarm's own", []Network{{Name: "ingress", IP: "10.0.0.2"}, {Name: "z", IP: "10.9.0.2"}}, nil, "", nil, "z", ""},
		{"none", []Network{{Name: "none"}}, nil, "", nil, "", ""},
	} {
		n, missing := ChooseNetwork(c.nets, c.wanted, c.project, c.self)
		got := ""
		if n != nil {
			got = n.Name
		}
		if got != c.want || missing != c.missing {
			t.Errorf("%s: %q, missing %q, want %q, %q", c.name, got, missing, c.want, c.missing)
		}
	}
	if n := find([]Network{{Name: "a_web"}, {Name: "b_web"}}, "web", ""); n != nil {
		t.Errorf("an ambiguous name found %s", n.Name)
	}
}

func TestPlace(t *testing.T) {
	cfg := &config.DockerProvider{}
	cfg.SetDefaults()
	for _, c := range []struct {
		name, file, base string
		where            labels.Where
		bind             bool
		want, code       string
	}{
		{name: "lowest TCP", file: "ports", want: "172.17.0.3:80"},
		{name: "lowest UDP", file: "ports", where: labels.Where{UDP: true}, want: "172.17.0.3:53"},
		{name: "label", file: "ports", where: labels.Where{Port: "9001"}, want: "172.17.0.3:9001"},
		{name: "published", file: "ports", where: labels.Where{Port: "8080"}, bind: true, want: "127.0.0.1:18080"},
		{name: "published everywhere", file: "ports", where: labels.Where{Port: "443"}, bind: true, want: "172.17.0.3:443"},
		{name: "not published", file: "plain", bind: true, want: "172.17.0.2:80"},
		{name: "host", file: "host", where: labels.Where{Port: "80"}, want: "127.0.0.1:80"},
		{name: "host without a port label", file: "host", code: config.CodeMissingPort},
		{name: "none", file: "none", code: config.CodeMissingIP},
		{name: "of another", file: "side", base: "plain", where: labels.Where{Port: "80"}, want: "172.17.0.2:80"},
		{name: "of another without a port label", file: "side", base: "plain", code: config.CodeMissingPort},
		{name: "of another that is not there", file: "side", where: labels.Where{Port: "80"}, code: config.CodeMissingIP},
		{name: "of another in host mode", file: "side", base: "host", where: labels.Where{Port: "80"}, want: "127.0.0.1:80"},
		{name: "of another that stopped", file: "side", base: "gone", where: labels.Where{Port: "80"}, code: config.CodeMissingIP},
		{name: "unknown network", file: "nets", where: labels.Where{Network: "nope"}, want: "192.168.176.2:80", code: config.CodeUnknownNetwork},
		{name: "network", file: "nets", where: labels.Where{Network: "rec-n6"}, want: "192.168.192.2:80"},
	} {
		cfg.UseBindPortIP = c.bind
		p := New(cfg, Options{})
		l := placer{p: p, c: recorded(t, c.file)}
		if c.base != "" {
			l.base = recorded(t, c.base)
		}
		addrs, problems := l.Place(c.where)
		got := ""
		for _, a := range addrs {
			got += a.Host + ":" + a.Port
		}
		code := ""
		for _, p := range problems {
			code += p.Code
		}
		if got != c.want || code != c.code {
			t.Errorf("%s: %q %q, want %q %q", c.name, got, code, c.want, c.code)
		}
	}
}

func TestPlaceWithoutPorts(t *testing.T) {
	cfg := &config.DockerProvider{}
	cfg.SetDefaults()
	l := placer{p: New(cfg, Options{}), c: &item{name: "a", networks: []Network{{Name: "n", IP6: "fd00::1"}}}}
	if _, problems := l.Place(labels.Where{}); len(problems) != 1 || problems[0].Code != config.CodeMissingPort {
		t.Errorf("%v", problems)
	}
	l.c.ports = []port{{number: 53, udp: true}}
	if _, problems := l.Place(labels.Where{}); len(problems) != 1 || problems[0].Code != config.CodeMissingPort {
		t.Errorf("a UDP port was taken for HTTP: %v", problems)
	}
	if a, _ := l.Place(labels.Where{Port: "80"}); len(a) != 1 || a[0].Host != "fd00::1" {
		t.Errorf("%v", a)
	}
}

// TestSick checks for which containers requests are not held up.
func TestSick(t *testing.T) {
	for _, c := range []struct {
		name       string
		item       item
		allowEmpty bool
		want       bool
	}{
		{name: "healthy", item: item{running: true, health: container.Healthy}, allowEmpty: true},
		{name: "unhealthy", item: item{running: true, health: container.Unhealthy}, want: true},
		{name: "starting", item: item{running: true, health: container.Starting}},
		{name: "starting, empty services allowed", item: item{running: true, health: container.Starting}, allowEmpty: true, want: true},
		{name: "unhealthy and stopping", item: item{running: true, health: container.Unhealthy, stopping: time.Now()}, allowEmpty: true},
		{name: "paused", item: item{running: true, paused: true}, allowEmpty: true},
		{name: "stopped", item: item{health: container.Unhealthy}, allowEmpty: true},
	} {
		cfg := &config.DockerProvider{}
		cfg.SetDefaults()
		cfg.AllowEmptyServices = c.allowEmpty
		if got := New(cfg, Options{}).sick(&c.item); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
