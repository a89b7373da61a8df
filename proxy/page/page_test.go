package page

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

func answered(accept string, answer func(*exchange.Exchange)) *exchange.Exchange {
	ex := &exchange.Exchange{}
	ex.Req.Method = "GET"
	if accept != "" {
		ex.Req.Fields.Add("Accept", accept)
	}
	answer(ex)
	return ex
}

const browser = "text/html,application/xhtml+xml,*/*;q=0.8"

func TestBrowsersGetPagesOthersText(t *testing.T) {
	s, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		accept string
		answer func(*exchange.Exchange)
		status int
		want   string // in the body
		html   bool
	}{
		{browser, func(ex *exchange.Exchange) { ex.NotFound(exchange.NoRouter) }, 404, "<h1>Not found</h1>", true},
		{browser, func(ex *exchange.Exchange) { ex.Unavailable(exchange.NoServerUp) }, 503, "<h1>Unavailable</h1>", true},
		{browser, func(ex *exchange.Exchange) { ex.Unavailable(exchange.Starting) }, 503, `http-equiv="refresh" content="2"`, true},
		{browser, func(ex *exchange.Exchange) { ex.UpstreamFailed(exchange.DialTimeout) }, 504, "<h1>Unavailable</h1>", true},
		{"*/*", func(ex *exchange.Exchange) { ex.NotFound(exchange.NoRouter) }, 404, "404 page not found\n", false},
		{"", func(ex *exchange.Exchange) { ex.Unavailable(exchange.NoServer) }, 503, "no available server\n", false},
		{"application/json", func(ex *exchange.Exchange) { ex.UpstreamFailed(exchange.DialRefused) }, 502, "Bad Gateway", false},
		{browser, func(ex *exchange.Exchange) { ex.Reply(429, exchange.RateLimited, "") }, 429, "Too Many Requests", false},
	} {
		ex := answered(c.accept, c.answer)
		s.Dress(ex)
		html := strings.HasPrefix(ex.Resp.Fields.Get("Content-Type"), "text/html")
		if ex.Resp.Status != c.status || !strings.Contains(string(ex.Body), c.want) || html != c.html || ex.Resp.Length != int64(len(ex.Body)) {
			t.Errorf("Accept %q: status %d, html %v, %q", c.accept, ex.Resp.Status, html, ex.Body)
		}
	}
}

func TestOwnPages(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"503.html": "own 503", "starting.html": "own starting", "maintenance.html": "own maintenance"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for reason, want := range map[exchange.Reason]string{exchange.NoServer: "own 503", exchange.Starting: "own starting", exchange.InMaintenance: "own maintenance"} {
		ex := answered(browser, func(ex *exchange.Exchange) { ex.Unavailable(reason) })
		if s.Dress(ex); string(ex.Body) != want {
			t.Errorf("%s: %q", reason, ex.Body)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "404.html"), make([]byte, maxPage+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a page of any size is taken")
	}
}
