package rest

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/provider"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDocuments(t *testing.T) {
	p := New(Options{})
	ctx, cancel := context.WithCancel(t.Context())
	out, ended := make(chan provider.Update), make(chan error, 1)
	go func() { ended <- p.Run(ctx, out) }()
	if u := <-out; u.Config == nil || u.Config.HTTP != nil {
		t.Errorf("the first word: %+v", u)
	}
	srv := httptest.NewServer(p)
	defer srv.Close()
	put := func(method, path, kind, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	const good = "{\"http\":{\"routers\":{\"a\":{\"rule\":\"Host(`a.test`)\",\"service\":\"s\"}},\"services\":{\"s\":{\"loadBalancer\":{\"servers\":[{\"url\":\"http://127.0.0.1:1\"}]}}}}}"
	for _, c := range []struct {
		method, path, kind, body string
		status                   int
		text                     string
	}{
		{"GET", "/api/providers/rest", "", "", 405, "use PUT"},
		{"PUT", "/api/providers/", "", good, 404, ""},
		{"PUT", "/api/providers/rest/x", "", good, 404, ""},
		{"PUT", "/api/providers/file", "", good, 400, "only the provider rest"},
		{"PUT", "/api/providers/rest", "", " \n", 400, "empty"},
		{"PUT", "/api/providers/rest", "", "{", 400, "document"},
		{"PUT", "/api/providers/rest", "", `{"http":{"routres":{}}}`, 400, "did you mean"},
		{"PUT", "/api/providers/rest", "application/toml", "[http", 400, ""},
	} {
		if status, text := put(c.method, c.path, c.kind, c.body); status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s %s %s: %d %q", c.method, c.path, c.body, status, text)
		}
	}
	for _, c := range []struct{ kind, body string }{
		{"", good}, {"application/json", good},
		{"application/yaml", "http:\n  routers:\n    a: {rule: Host(`a.test`), service: s}\n"},
		{"application/toml", "[http.routers.a]\nrule = \"Host(`a.test`)\"\nservice = \"s\"\n"},
	} {
		updates := make(chan provider.Update, 1)
		go func() { updates <- <-out }()
		if status, text := put("PUT", "/api/providers/rest", c.kind, c.body); status != 200 || !strings.Contains(text, `"rule":"Host(`) {
			t.Errorf("%s: %d %q", c.kind, status, text)
		}
		select {
		case u := <-updates:
			if u.Provider != "rest" || u.Config.HTTP.Routers["a"] == nil || len(u.Problems) > 0 {
				t.Errorf("%s: %+v", c.kind, u)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is sent")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
}
