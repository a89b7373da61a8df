package http

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source answers with what the test sets.
type source struct {
	mu           sync.Mutex
	status       int
	kind, body   string
	etag         string
	asked, same  int
	header, host string
}

func (s *source) set(f func(*source)) { s.mu.Lock(); defer s.mu.Unlock(); f(s) }

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.header, s.host = r.Header.Get("X-Key"), r.Host
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
		if r.Header.Get("If-None-Match") == s.etag {
			s.same++
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Type", s.kind)
	w.WriteHeader(s.status)
	fmt.Fprint(w, s.body)
}

func run(t *testing.T, s *source, change func(*config.HTTPProvider)) <-chan provider.Update {
	t.Helper()
	srv := httptest.NewServer(s)
	cfg := config.HTTPProvider{}
	cfg.SetDefaults()
	cfg.Endpoint, cfg.PollInterval = srv.URL, config.Duration(20*time.Millisecond)
	if change != nil {
		change(&cfg)
	}
	out := make(chan provider.Update)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := New(&cfg, Options{Log: zerolog.Nop()}).Run(ctx, out); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done; srv.Close() })
	return out
}

func show(u provider.Update) string {
	s := "nothing"
	if u.Config != nil {
		s = strings.Join(slices.Sorted(maps.Keys(u.Config.HTTP.Routers)), " ")
	}
	for _, p := range u.Problems {
		s += " " + p.Code
	}
	return s
}

func next(t *testing.T, out <-chan provider.Update, want string) provider.Update {
	t.Helper()
	select {
	case u := <-out:
		if show(u) != want {
			t.Fatalf("got %q, want %q: %v", show(u), want, u.Problems)
		}
		return u
	case <-time.After(5 * time.Second):
		t.Fatalf("nothing said, want %q", want)
	}
	return provider.Update{}
}

const yaml = "http: {routers: {a: {rule: \"Host(`a`)\", service: s}}}"

func TestPoll(t *testing.T) {
	s := &source{status: 200, kind: "text/plain", body: yaml}
	out := run(t, s, func(c *config.HTTPProvider) { c.Headers = map[string]string{"X-Key": "k", "host": "conf.test"} })
	next(t, out, "a")
	s.set(func(s *source) {
		if s.header != "k" || s.host != "conf.test" {
			t.Errorf("header %q, host %q", s.header, s.host)
		}
		s.kind, s.body = "application/json; charset=utf-8", `{"http": {"routers": {"b": {"rule": "Host(`+"`b`"+`)"}}}}`
	})
	next(t, out, "b")
	s.set(func(s *source) { s.kind, s.body = "application/toml", "[http.routers.c]\nrule = \"Host(`c`)\"" })
	next(t, out, "c")
	s.set(func(s *source) { s.kind, s.body = "application/json", strings.ReplaceAll(yaml, "a: {", "d: {") })
	next(t, out, "d") // it is YAML, whatever it is called
	s.set(func(s *source) { s.kind, s.body = "application/toml", "[http.routers.c]\nrule = \"Host(`c`)\"" })
	next(t, out, "c")
	s.set(func(s *source) { s.body = "[[[" })
	u := next(t, out, "c unreadable_file")
	if !strings.Contains(u.Problems[0].Source, ":1:") || strings.Contains(u.Problems[0].Source, "document") {
		t.Errorf("%+v", u.Problems[0])
	}
	s.set(func(s *source) { s.status = 500 })
	next(t, out, "c unreadable_file source_unreachable")
	s.set(func(s *source) { s.status, s.kind, s.body = 200, "", yaml+"\ntcp: {colour: red}" })
	next(t, out, "c unknown_key")
	s.set(func(s *source) { s.body = yaml })
	next(t, out, "a")
}

func TestUnchangedIsNotSaidAgain(t *testing.T) {
	s := &source{status: 200, body: yaml, etag: `"1"`}
	out := run(t, s, nil)
	next(t, out, "a")
	select {
	case u := <-out:
		t.Errorf("said again: %s", show(u))
	case <-time.After(150 * time.Millisecond):
	}
	s.set(func(s *source) {
		if s.same == 0 {
			t.Error("the entity tag was not used")
		}
	})
}

func TestLimitAndSilence(t *testing.T) {
	s := &source{status: 200, body: yaml}
	out := run(t, s, func(c *config.HTTPProvider) { c.MaxResponseBodySize = 10 })
	next(t, out, "nothing source_unreachable")

	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	out = run(t, s, func(c *config.HTTPProvider) {
		c.Endpoint, c.PollTimeout = slow.URL, config.Duration(50*time.Millisecond)
	})
	next(t, out, "nothing source_unreachable")
}

func TestBadEndpoint(t *testing.T) {
	for _, e := range []string{"", "x", "ftp://x/", "http://"} {
		if err := New(&config.HTTPProvider{Endpoint: e}, Options{}).Run(t.Context(), nil); err == nil {
			t.Errorf("%q: no error", e)
		}
	}
}
