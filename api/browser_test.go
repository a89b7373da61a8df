package api

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testbrowser"
	"github.com/sluice-edge/sluice/telemetry"
)

// dashboardPage is the dashboard of a server in a headless Chromium. SCREENSHOTS names a
// directory for pictures.
type dashboardPage struct {
	*testbrowser.Page
	t    *testing.T
	base string
}

func openDashboard(t *testing.T, h http.Handler, prefix string) dashboardPage {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	p := testbrowser.Open(t)
	server := httptest.NewServer(h)
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // the event stream of the page
	d := dashboardPage{p, t, server.URL + prefix}
	d.Size(1280, 900)
	d.Goto(d.base + "/dashboard/")
	d.Wait(`document.querySelector("h1")`)
	return d
}

// to opens a page of the dashboard by its address, without loading anew.
func (d dashboardPage) to(hash, see string) {
	d.t.Helper()
	d.Eval(fmt.Sprintf("location.hash = %q", hash), nil)
	d.Sees(see)
}

// click clicks on the first part that a selector and a text find.
func (d dashboardPage) click(selector, text string) {
	d.t.Helper()
	found := fmt.Sprintf(`[...document.querySelectorAll(%q)].find((e) => e.innerText.replace(/^[●▲■] /, "").trim() === %q)`, selector, text)
	d.Wait(found)
	d.Eval(found+".click()", nil)
}

// rows waits until a table has exactly so many rows.
func (d dashboardPage) rows(n int) {
	d.t.Helper()
	d.Wait(fmt.Sprintf(`document.querySelectorAll("main tbody tr").length === %d`, n))
}

func (d dashboardPage) shot(name string) {
	d.t.Helper()
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		d.Screenshot(filepath.Join(dir, name+".png"))
	}
}

// TestDashboardInABrowser walks through the dashboard, at the root and under a prefix.
func TestDashboardInABrowser(t *testing.T) {
	for _, prefix := range []string{"", "/ops"} {
		t.Run("prefix "+prefix, func(t *testing.T) {
			d := openDashboard(t, browserFixture(prefix), prefix)
			d.overview()
			d.lists()
			d.objects()
			d.explained()
			d.changes()
			d.keyboard()
			d.themesAndPhones()
			for _, fault := range d.Faults() {
				// What is not there was asked for on purpose.
				if !strings.Contains(fault, "services/ghost%40file") && !strings.Contains(fault, "routers/nobody%40file") {
					t.Errorf("the page: %s", fault)
				}
			}
			for _, url := range d.Asked() {
				if !strings.HasPrefix(url, d.base) && !strings.HasPrefix(url, "data:") {
					t.Errorf("the page asks for %s", url)
				}
			}
		})
	}
}

func (d dashboardPage) overview() {
	d.Sees("live")
	d.Wait(`/^7\s*routers\s*■ 1 error ▲ 1 warning/.test(document.querySelector(".tally").innerText)`)
	d.Sees("service ghost@file is not there")
	d.Sees("No router's rule matches")
	d.Wait(`document.querySelector("[aria-label='Servers that are down']").innerText.includes("http://10.0.0.2:80 of cart@file")`)
	d.Wait(`document.querySelector(".chart canvas")`)
	d.Wait(`/Now [1-9]/.test(document.querySelector(".chart").ariaLabel)`) // two samples
	d.shot("overview")
	d.click("main a", "1 error")
	d.Sees("lost@file")
	d.rows(1)
}

func (d dashboardPage) lists() {
	d.click("header a", "Routers")
	d.Sees("shop-admin@file")
	d.Sees("service not found")
	d.rows(7)
	d.Press("/")
	d.Wait(`document.activeElement.type === "search"`)
	d.Type("blog")
	d.rows(1)
	d.Wait(`location.hash.includes("search=blog")`)
	d.to("#/routers?status=disabled", "lost@file")
	d.rows(1)
	d.to("#/routers?provider=docker", "a/b c@docker")
	d.rows(1)
	d.to("#/routers", "highest")
	d.click("th button", "Priority")
	d.Wait(`document.querySelector("main tbody tr td:nth-child(2)").innerText === "lost@file"`)
	d.click("th button", "Priority")
	d.Wait(`document.querySelector("[aria-sort=descending]")`)
	d.Wait(`document.querySelector("main tbody tr td:nth-child(2)").innerText === "api@internal"`)
	d.to("#/routers?per=25&search=", "1–7 of 7")
	d.shot("routers")
	d.to("#/routers?kind=tcp", "named@file")
	d.to("#/routers?kind=udp", "u@file")
	d.to("#/services", "spread@file")
	d.shot("services")
	d.to("#/services?kind=tcp", "10.0.0.4:5432")
	d.to("#/services?kind=udp", "10.0.0.5:53")
	d.to("#/middlewares", "basicauth")
	d.to("#/middlewares?kind=tcp", "inflightconn")
	d.to("#/entrypoints", ":80")
	d.to("#/certificates", "Certificates")
	d.to("#/problems", "service ghost@file is not there")
	d.Sees("→ rule")
	d.shot("problems")
	d.to("#/problems?severity=warning", "unknown key")
	d.Wait(`document.querySelectorAll(".problem").length === 1`)
}

// objects goes from a router along the way of a request to a server.
func (d dashboardPage) objects() {
	d.to("#/routers", "shop@file")
	d.click("main a", "shop@file")
	d.Sees("Way of a request")
	d.Sees("http://10.0.0.2:80")
	var steps []string
	d.Eval(`[...document.querySelectorAll(".step h3")].map((e) => e.innerText)`, &steps)
	if got := strings.Join(steps, " "); got != "Entry points Router Middleware Middleware Service" {
		d.t.Errorf("steps %s", got)
	}
	for server, state := range map[string]string{"http://10.0.0.1:80": "no check", "http://10.0.0.2:80": "■ down"} {
		var got string
		d.Eval(fmt.Sprintf(`[...document.querySelectorAll("li")].findLast((e) => e.innerText.includes(%q)).querySelector(".badge").innerText`, server), &got)
		if got != state {
			d.t.Errorf("%s: %q, want %q", server, got, state)
		}
	}
	d.shot("router")
	d.click(".step a", "pfx@file")
	d.Sees("addprefix")
	d.Sees("/p")
	d.click("main a", "shop@file")
	d.Sees("Way of a request")
	d.click(".step a", "cart@file")
	d.Sees("Used by routers")
	d.shot("service")
	d.to("#/router?name=lost%40file", "service ghost@file is not there")
	d.Sees("missing")
	d.to("#/router?name=nobody%40file", "There is no HTTP router nobody@file")
	d.to("#/router?name=a%2Fb+c%40docker", "odd.test")
	d.to("#/router?name=named%40file&kind=tcp", "TLS passthrough")
	d.to("#/service?name=spread%40file", "Made of")
	d.to("#/nothing", "There is no such page")
	// Addresses of the reference's dashboard.
	d.to("#/http/routers/shop@file", "Way of a request")
	d.to("#/http/routers/a%2Fb%20c%40docker", "odd.test")
	d.to("#/tcp/services/raw@file", "10.0.0.4:5432")
	d.to("#/http/middlewares", "basicauth")
	d.to("#/udp/routers", "u@file")
}

func (d dashboardPage) explained() {
	d.to("#/explain", "keeps the others from it")
	d.Eval(`document.querySelector("[aria-label=Address]").focus()`, nil)
	d.Type("http://lost.test/x")
	d.Press("Enter")
	d.Sees("404 no_router")
	d.Sees("Host(`shop.test`)")
	d.Sees("lost.test")
	d.Wait(`location.hash.includes("lost.test")`)
	d.shot("explain")
}

// changes waits for a new configuration to appear without loading anew.
func (d dashboardPage) changes() {
	d.to("#/routers", "shop@file")
	r, err := http.Post(d.base+"/next", "", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	_ = r.Body.Close()
	d.Sees("new@docker")
}

// named are the roles of what can be worked: each must say what it is.
var named = map[string]bool{"link": true, "button": true, "textbox": true, "searchbox": true, "combobox": true, "DisclosureTriangle": true, "table": false, "image": true}

// keyboard checks what people meet who do not see or do not point.
func (d dashboardPage) keyboard() {
	for _, page := range []string{"overview", "routers", "services", "middlewares", "certificates", "problems", "explain", "entrypoints", "router?name=shop%40file", "service?name=cart%40file"} {
		d.Eval(fmt.Sprintf("location.hash = %q", "#/"+page), nil)
		d.Wait(`document.querySelectorAll("h1").length === 1`)
		seen := map[string]int{}
		for _, n := range d.Nodes() {
			seen[n.Role]++
			if named[n.Role] && strings.TrimSpace(n.Name) == "" {
				d.t.Errorf("%s: a %s without a name", page, n.Role)
			}
		}
		for _, role := range []string{"banner", "main", "contentinfo"} {
			if seen[role] != 1 {
				d.t.Errorf("%s: %d times %s", page, seen[role], role)
			}
		}
	}
	// The first stop of the Tab key skips the menu.
	d.Goto(d.base + "/dashboard/?fresh#/routers")
	d.Sees("shop@file")
	d.Press("Tab")
	d.Wait(`document.activeElement.className === "skip"`)
	d.Press("Enter")
	d.Wait(`document.activeElement.id === "main"`)
	// A page that is opened takes the focus, so that reading goes on there.
	d.click("header a", "Middlewares")
	d.Wait(`document.activeElement.id === "main"`)
}

func (d dashboardPage) themesAndPhones() {
	choose := func(theme string) {
		d.Eval(fmt.Sprintf(`(() => { const s = document.querySelector("[aria-label=Theme]"); s.value = %q; s.dispatchEvent(new Event("change", { bubbles: true })); })()`, theme), nil)
	}
	const dark, light = `getComputedStyle(document.body).backgroundColor === "rgb(18, 23, 26)"`, `getComputedStyle(document.body).backgroundColor === "rgb(246, 247, 248)"`
	choose("dark")
	d.Wait(dark)
	d.to("#/overview", "Traffic")
	d.shot("overview-dark")
	choose("light")
	d.Wait(light)
	choose("auto")
	d.Prefer("prefers-color-scheme", "dark")
	d.Wait(dark)
	d.Prefer("prefers-color-scheme", "light")
	d.Wait(light)
	d.Size(390, 800)
	for _, page := range []string{"overview", "routers", "services", "problems", "explain", "router?name=shop%40file"} {
		d.Eval(fmt.Sprintf("location.hash = %q", "#/"+page), nil)
		d.Wait(`document.querySelector("h1")`)
		// The page is no wider than a phone.
		d.Wait(`document.documentElement.scrollWidth <= innerWidth`)
		d.shot("phone-" + strings.ReplaceAll(page, "?", "-"))
	}
}

// TestDashboardWithManyRouters opens the list of ten thousand routers.
func TestDashboardWithManyRouters(t *testing.T) {
	const routers = 10_000
	o := shopOptions()
	rt := shop()
	for i := len(rt.Routers); i < routers; i++ {
		rt.Routers[fmt.Sprintf("app-%05d@docker", i)] = &config.RouterInfo{
			Router: &config.Router{EntryPoints: []string{"web"}, Rule: fmt.Sprintf("Host(`app-%05d.test`)", i), Service: "cart@file"}, Status: config.StatusEnabled,
		}
	}
	o.Runtime = func() *config.Runtime { return rt }
	d := openDashboard(t, New(o), "")
	d.Sees("10,000")
	start := time.Now()
	d.to("#/routers?sort=name&dir=desc", "shop@file")
	d.Sees("1–50 of 10,000")
	first := time.Since(start)
	start = time.Now()
	d.to("#/routers?page=200&sort=name&dir=asc", "9,951–10,000 of 10,000")
	last := time.Since(start)
	start = time.Now()
	d.to("#/routers?search=app-07777", "1–1 of 1")
	d.rows(1)
	t.Logf("of %d routers: first page %v, last page %v, one found %v", routers, first, last, time.Since(start))
}

// browserFixture is the API over the shop, whose counters run; POST to /next adds a router.
func browserFixture(prefix string) http.Handler {
	o := shopOptions()
	var live atomic.Pointer[config.Runtime]
	live.Store(shop())
	o.Runtime = live.Load
	var asked atomic.Uint64
	o.Counters = func() telemetry.Counters {
		n := asked.Add(1)
		return telemetry.Counters{
			Requests: 500 * n, Failed: 7 * n, ResponseBytes: 3 << 20 * n, RequestBytes: 1000 * n,
			Classes: map[string]uint64{"2xx": 400 * n, "4xx": 93 * n, "5xx": 7 * n},
			Reasons: map[string]uint64{"no_router": 40 * n, "dial_refused": 7 * n}, Connections: map[string]int64{"web": 12},
		}
	}
	o.Explain = func(_ context.Context, q ExplainRequest) (any, error) {
		return []any{map[string]any{
			"entryPoint": "web", "tls": false, "host": "lost.test", "path": "/x", "reason": "no_router",
			"candidates": []any{map[string]any{
				"router": "shop@file", "rule": "Host(`shop.test`)", "priority": 50, "entryPoints": []string{"web"},
				"failed": []any{map[string]any{"matcher": "Host(`shop.test`)", "got": "lost.test"}},
			}},
		}}, nil
	}
	o.Static.API.BasePath = prefix
	h := New(o)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+prefix+"/next", func(http.ResponseWriter, *http.Request) {
		next := shop()
		next.Generation++
		next.Routers["new@docker"] = &config.RouterInfo{
			Router: &config.Router{Rule: "Host(`new.test`)", Service: "cart@file"}, Status: config.StatusEnabled,
		}
		live.Store(next)
	})
	if prefix != "" {
		mux.Handle("GET "+prefix+"/{$}", http.RedirectHandler(prefix+"/dashboard/", http.StatusFound))
	}
	mux.Handle("/", h)
	return mux
}
