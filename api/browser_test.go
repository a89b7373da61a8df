package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/telemetry"
)

// TestDashboardInBrowser shows the fixture in a headless Chromium, at the root and under
// a prefix. It needs node, chromium and the page's development packages (see
// dashboard/README.md) and is skipped without. SCREENSHOTS names a directory for pictures.
func TestDashboardInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node")
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no chromium")
	}
	if _, err := os.Stat(filepath.Join("..", "dashboard", "node_modules", "playwright-core")); err != nil {
		t.Skip("no playwright-core")
	}
	for _, prefix := range []string{"", "/ops"} {
		server := httptest.NewServer(browserFixture(prefix))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		cmd := exec.CommandContext(ctx, node, "test/browser.mjs", server.URL+prefix)
		if dir := os.Getenv("SCREENSHOTS"); dir != "" && prefix == "" {
			cmd.Args = append(cmd.Args, dir)
		}
		cmd.Dir, cmd.Env = filepath.Join("..", "dashboard"), append(os.Environ(), "CHROMIUM="+chromium)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("prefix %q: %v\n%s", prefix, err, out)
		}
		cancel()
		server.Close()
	}
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
