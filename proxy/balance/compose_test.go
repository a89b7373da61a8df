package balance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// answering is a child that needs the handler lane; it answers with its name, or a status.
type answering struct {
	name   string
	status int
	down   bool

	mu   sync.Mutex
	seen []string // "METHOD body"
}

func (a *answering) Up(int64) bool { return !a.down }
func (a *answering) Checked() bool { return true }

func (a *answering) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.seen = append(a.seen, r.Method+" "+string(b))
	a.mu.Unlock()
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = io.WriteString(w, a.name)
}

func (a *answering) asked() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.seen, "|")
}

func (a *answering) child() Child { return Child{Name: a.name, Handler: a} }

// forward is what the handler lane does, as far as it matters here.
func forward(s exchange.Service) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ep, why := s.Pick(exchangeOf(r))
		if ep == nil {
			w.WriteHeader(why.Status())
			_, _ = io.WriteString(w, string(why))
			return
		}
		_, _ = io.WriteString(w, ep.URL)
	})
}

func serve(h http.Handler, r *http.Request) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// A service of services may stand behind a request of the lanes and behind one that a
// middleware makes by itself, for an error page, which has no exchange.
func requests(method, body string) map[string]*http.Request {
	plain := httptest.NewRequest(method, "/x", strings.NewReader(body))
	live := httptest.NewRequest(method, "/x", strings.NewReader(body))
	ex := request()
	ex.Req.Method = method
	return map[string]*http.Request{"a middleware's": plain, "a client's": live.WithContext(exchange.NewContext(live.Context(), ex))}
}

func TestGroupsOfHandlers(t *testing.T) {
	weight := func(n int) *int { return &n }
	checked := &config.ServiceHealth{}
	for name, c := range map[string]struct {
		down   bool
		weight *int
		want   string
	}{
		"up": {false, nil, "200 a"}, "down": {true, nil, "503 no_server_up"}, "of no weight": {false, weight(0), "503 no_server_up"},
	} {
		for _, kind := range []string{"weighted", "hrw"} {
			a := &answering{name: "a", down: c.down}
			d := NewBook(nil, Events{}).Begin()
			kids := []config.WeightedService{{Name: "a", Weight: c.weight}}
			child, err := d.Weighted("w", &config.Weighted{Services: kids, HealthCheck: checked, Sticky: &config.Sticky{Cookie: &config.Cookie{Name: "id"}}}, []Child{a.child()}, forward)
			if kind == "hrw" {
				child, err = d.HighestRandomWeight("w", &config.HighestRandomWeight{Services: kids, HealthCheck: checked}, []Child{a.child()}, forward)
			}
			if err != nil {
				t.Fatal(err)
			}
			for who, r := range requests("GET", "") {
				if status, body := serve(child.Handler, r); fmt.Sprint(status, " ", body) != c.want {
					t.Errorf("%s %s, %s request: %d %s, want %s", kind, name, who, status, body, c.want)
				}
			}
		}
	}
}

func TestMirroring(t *testing.T) {
	three := int64(3)
	no := false
	for name, c := range map[string]struct {
		cfg       config.Mirroring
		body      string
		main, mir string
	}{
		"whole":       {config.Mirroring{}, "body", "POST body", "POST body"},
		"no body":     {config.Mirroring{MirrorBody: &no}, "body", "POST body", "POST "},
		"within":      {config.Mirroring{MaxBodySize: &three}, "abc", "POST abc", "POST abc"},
		"too large":   {config.Mirroring{MaxBodySize: &three}, "abcd", "POST abcd", ""},
		"without one": {config.Mirroring{}, "", "POST ", "POST "},
	} {
		for who := range requests("POST", "") {
			main, mir := &answering{name: "main"}, &answering{name: "mirror", status: 500}
			c.cfg.Mirrors = []config.MirrorService{{Name: "mirror", Percent: 100}}
			child, err := NewBook(nil, Events{}).Begin().Mirroring("m", &c.cfg, main.child(), []Child{mir.child()}, forward)
			if err != nil {
				t.Fatal(err)
			}
			if status, body := serve(child.Handler, requests("POST", c.body)[who]); status != 200 || body != "main" {
				t.Errorf("%s, %s request: %d %s", name, who, status, body)
			}
			for by := time.Now().Add(10 * time.Second); mir.asked() != c.mir && time.Now().Before(by); {
				time.Sleep(time.Millisecond)
			}
			if main.asked() != c.main || mir.asked() != c.mir {
				t.Errorf("%s, %s request: main %q, mirror %q; want %q and %q", name, who, main.asked(), mir.asked(), c.main, c.mir)
			}
		}
	}
}

func TestFailoverByStatus(t *testing.T) {
	four := int64(4)
	for name, c := range map[string]struct {
		status int
		down   bool
		method string
		body   string
		want   string
		spare  string
	}{
		"well":      {0, false, "POST", "body", "200 main", ""},
		"named":     {502, false, "POST", "body", "200 spare", "POST body"},
		"not named": {404, false, "GET", "", "404 main", ""},
		"down":      {0, true, "POST", "body", "200 spare", "POST body"},
		"too large": {502, false, "POST", "bodies", "413 Request Entity Too Large\n", ""},
	} {
		for who := range requests("GET", "") {
			main, spare := &answering{name: "main", status: c.status, down: c.down}, &answering{name: "spare"}
			cfg := &config.Failover{HealthCheck: &config.ServiceHealth{}, Errors: &config.FailoverErrors{MaxRequestBodyBytes: &four, Status: []string{"500-599"}}}
			child, err := NewBook(nil, Events{}).Begin().Failover("f", cfg, main.child(), spare.child(), forward)
			if err != nil {
				t.Fatal(err)
			}
			status, body := serve(child.Handler, requests(c.method, c.body)[who])
			if got := fmt.Sprint(status, " ", body); got != c.want || spare.asked() != c.spare {
				t.Errorf("%s, %s request: %s, spare %q; want %s, %q", name, who, got, spare.asked(), c.want, c.spare)
			}
		}
	}
}

// With healthCheck a failover whose services are both down answers by itself; without, the
// fallback does, whose health nobody asks for.
func TestFailoverOfNobody(t *testing.T) {
	for name, c := range map[string]struct {
		hc     *config.ServiceHealth
		errors *config.FailoverErrors
		want   string
	}{
		"checked":            {&config.ServiceHealth{}, nil, "503 Service Unavailable\n"},
		"checked, by status": {&config.ServiceHealth{}, &config.FailoverErrors{Status: []string{"500"}}, "503 Service Unavailable\n"},
		"unchecked":          {nil, nil, "200 spare"},
	} {
		for _, r := range requests("GET", "") {
			main, spare := &answering{name: "main", down: true}, &answering{name: "spare", down: true}
			fo, err := NewBook(nil, Events{}).Begin().Failover("f", &config.Failover{HealthCheck: c.hc, Errors: c.errors}, main.child(), spare.child(), forward)
			if err != nil {
				t.Fatal(err)
			}
			if status, body := serve(fo.Handler, r); fmt.Sprintf("%d %s", status, body) != c.want {
				t.Errorf("%s: %d %q", name, status, body)
			}
		}
		b := NewBook(nil, Events{})
		d := b.Begin()
		x, _ := d.Service("x", balancer("http://x"), tr)
		y, _ := d.Service("y", balancer("http://y"), tr)
		fo, _ := d.Failover("f", &config.Failover{HealthCheck: c.hc}, Child{Service: x}, Child{Service: y}, nil)
		x.eps[0].Down.Store(true)
		y.eps[0].Down.Store(true)
		ex := request()
		ep, why := fo.Service.Pick(ex)
		ex.Unavailable(why)
		if want := map[bool]string{true: "Service Unavailable\n", false: "no available server\n"}[c.hc != nil]; ep != nil || string(ex.Body) != want {
			t.Errorf("%s: %v, %q", name, ep, ex.Body)
		}
		y.eps[0].Down.Store(false)
		if got := pick(fo.Service, ex); got != "http://y" || ex.Backend.FailedOver {
			t.Errorf("%s: then %q", name, got)
		}
	}
}

// What its client has given up is not copied.
func TestMirrorsGetNothingOfARequestThatWasGivenUp(t *testing.T) {
	for name, reason := range map[string]exchange.Reason{"answered": exchange.NoReason, "given up": exchange.ClientGone} {
		main, copies := &answering{name: "main"}, &answering{name: "copy"}
		m, err := NewBook(nil, Events{}).Begin().Mirroring("m", &config.Mirroring{Mirrors: []config.MirrorService{{Name: "copy", Percent: 100}}}, main.child(), []Child{copies.child()}, forward)
		if err != nil {
			t.Fatal(err)
		}
		ex := request()
		ex.Reason = reason
		ctx, cancel := context.WithCancel(exchange.NewContext(context.Background(), ex))
		r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
		if reason == exchange.ClientGone {
			cancel()
		}
		serve(m.Handler, r)
		cancel()
		deadline := time.Now().Add(10 * time.Second)
		for len(m.Handler.(*mirroring).slots) > 0 || reason == exchange.NoReason && copies.asked() == "" {
			if time.Now().After(deadline) {
				t.Fatalf("%s: no copy", name)
			}
			time.Sleep(time.Millisecond)
		}
		if got := copies.asked(); (got != "") != (reason == exchange.NoReason) {
			t.Errorf("%s: the mirror was asked %q", name, got)
		}
	}
}

// The shares of mirrors hold over tables: each new one would begin with a copy.
func TestMirrorsKeepTheirShareOverTables(t *testing.T) {
	b := NewBook(nil, Events{})
	sent := 0
	ask := func(percent int) {
		d := b.Begin()
		m, err := d.Mirroring("m", &config.Mirroring{Mirrors: []config.MirrorService{{Name: "c", Percent: percent}, {Name: "c", Percent: 0}}},
			(&answering{}).child(), []Child{(&answering{}).child(), (&answering{}).child()}, forward)
		if err != nil {
			t.Fatal(err)
		}
		d.Commit()
		for range 5 {
			sent += len(m.Handler.(*mirroring).due())
		}
	}
	for range 20 {
		ask(10)
	}
	if sent != 10 {
		t.Errorf("%d copies of 100 at 10 percent", sent)
	}
	sent = 0
	ask(100)
	ask(20)
	if sent != 6 {
		t.Errorf("%d copies after the share was changed", sent)
	}
}

func TestEveryDoubtOfAWeightedServiceIsTold(t *testing.T) {
	d := NewBook(nil, Events{}).Begin()
	s, err := d.Service("x@file", balancer("http://x"), tr)
	if err != nil {
		t.Fatal(err)
	}
	x := Child{Name: "x@file", Service: s}
	less := -1
	w, err := d.Weighted("w@file", &config.Weighted{
		Sticky:   &config.Sticky{Cookie: &config.Cookie{SameSite: "odd"}},
		Services: []config.WeightedService{{Name: "x", Weight: &less}, {Name: "y", Weight: &less}},
	}, []Child{x, x}, nil)
	if err != nil {
		t.Fatal(err)
	}
	told := w.Service.(interface{ Warning() string }).Warning()
	for _, part := range []string{"odd", "service x:", "service y:"} {
		if !strings.Contains(told, part) {
			t.Errorf("%q does not tell of %q", told, part)
		}
	}
}
