package body

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// server plays the end of a tail: each attempt takes the next script entry, the last one for ever.
type server struct {
	script []reply
	bodies []string
}

type reply struct {
	status int
	reason exchange.Reason
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := s.script[min(len(s.bodies), len(s.script)-1)]
	b := "unread"
	if a.reason == "" {
		all, _ := io.ReadAll(r.Body)
		b = string(all)
	}
	s.bodies = append(s.bodies, b)
	if ex := exchange.FromContext(r.Context()); ex != nil {
		ex.Reason = a.reason
	}
	w.Header().Set("X-Attempt", string(rune('0'+len(s.bodies))))
	w.WriteHeader(a.status)
	_, _ = io.WriteString(w, http.StatusText(a.status))
}

// ask sends a request through a retry in front of a server; MayBlock and the clock are the test's.
func ask(t testing.TB, cfg *config.Retry, method, body string, chunked bool, script ...reply) (*httptest.ResponseRecorder, *server, *exchange.Exchange) {
	t.Helper()
	stage, err := NewRetry(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, ex := &server{script: script}, &exchange.Exchange{}
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, "/", rd)
	if chunked {
		r.ContentLength = -1
	}
	w := httptest.NewRecorder()
	stage(s).ServeHTTP(w, r.WithContext(exchange.NewContext(context.Background(), ex)))
	return w, s, ex
}

func TestRetry(t *testing.T) {
	four := int64(4)
	refused, ok, busy, cut := reply{502, exchange.DialRefused}, reply{200, ""}, reply{503, ""}, reply{502, exchange.UpstreamEOF}
	status := []string{"503"}
	for _, c := range []struct {
		name         string
		cfg          config.Retry
		method, body string
		chunked      bool
		script       []reply
		want, tries  int
	}{
		{"refused, then fine", config.Retry{Attempts: 3}, "GET", "", false, []reply{refused, ok}, 200, 2},
		{"refused with a body", config.Retry{Attempts: 3}, "POST", "x", false, []reply{refused, refused, ok}, 200, 3},
		{"exhausted", config.Retry{Attempts: 3}, "GET", "", false, []reply{refused}, 502, 3},
		{"one attempt", config.Retry{Attempts: 1}, "GET", "", false, []reply{refused}, 502, 1},
		{"broken after it was sent", config.Retry{Attempts: 3}, "GET", "", false, []reply{cut}, 502, 1},
		{"broken, any method", config.Retry{Attempts: 3, RetryNonIdempotentMethod: true}, "POST", "x", false, []reply{cut}, 502, 1},
		{"network errors off", config.Retry{Attempts: 3, DisableRetryOnNetworkError: true, Status: status}, "GET", "", false, []reply{refused}, 502, 1},
		{"by status", config.Retry{Attempts: 3, Status: status}, "GET", "", false, []reply{busy, busy, ok}, 200, 3},
		{"not that status", config.Retry{Attempts: 3, Status: status}, "GET", "", false, []reply{{500, ""}}, 500, 1},
		{"POST by status", config.Retry{Attempts: 3, Status: status}, "POST", "abc", false, []reply{busy, ok}, 503, 1},
		{"POST by status, allowed", config.Retry{Attempts: 3, Status: status, RetryNonIdempotentMethod: true}, "POST", "abc", false, []reply{busy, ok}, 200, 2},
		{"PROPFIND by status", config.Retry{Attempts: 3, Status: status}, "PROPFIND", "abc", false, []reply{busy, ok}, 200, 2},
		{"LOCK by status", config.Retry{Attempts: 3, Status: status}, "LOCK", "", false, []reply{busy, ok}, 503, 1},
		{"PATCH by status", config.Retry{Attempts: 3, Status: status}, "PATCH", "", false, []reply{busy, ok}, 503, 1},
		{"PUT with a small body", config.Retry{Attempts: 3, Status: status, MaxRequestBodyBytes: &four}, "PUT", "012", false, []reply{busy, ok}, 200, 2},
		{"PUT with a small chunked body", config.Retry{Attempts: 3, Status: status, MaxRequestBodyBytes: &four}, "PUT", "0123", true, []reply{busy, ok}, 200, 2},
		{"PUT with a large body", config.Retry{Attempts: 3, Status: status, MaxRequestBodyBytes: &four}, "PUT", "0123456789", false, []reply{busy, ok}, 503, 1},
		{"PUT with a large chunked body", config.Retry{Attempts: 3, Status: status, MaxRequestBodyBytes: &four}, "PUT", "0123456789", true, []reply{busy, ok}, 503, 1},
		{"a large body that was not read", config.Retry{Attempts: 3, Status: status, MaxRequestBodyBytes: &four}, "PUT", "0123456789", true, []reply{refused, ok}, 200, 2},
		{"TLS with the server", config.Retry{Attempts: 2}, "GET", "", false, []reply{{502, exchange.UpstreamTLS}, ok}, 200, 2},
		{"no server at all", config.Retry{Attempts: 3}, "GET", "", false, []reply{{503, exchange.NoServerUp}}, 503, 1},
	} {
		w, s, ex := ask(t, &c.cfg, c.method, c.body, c.chunked, c.script...)
		if w.Code != c.want || len(s.bodies) != c.tries || ex.Log.Retries != c.tries-1 || w.Body.String() != http.StatusText(c.want) || len(w.Header()["X-Attempt"]) != 1 {
			t.Errorf("%s: %d %q after %d attempts, %d logged, %v", c.name, w.Code, w.Body, len(s.bodies), ex.Log.Retries, w.Header())
		}
		if ex.OneServer != c.cfg.DisableRetryOnNetworkError {
			t.Errorf("%s: one server only: %v", c.name, ex.OneServer)
		}
		for _, b := range s.bodies {
			if b != "unread" && b != c.body {
				t.Errorf("%s: the server read %q", c.name, b)
			}
		}
	}
}

// released takes endpoints back.
type released struct{}

func (released) Release(*exchange.Exchange, *exchange.Endpoint, exchange.Outcome) {}

// A server that answers after another was down must not be asked again, whatever the reason says.
func TestRetryKnowsServersAnswers(t *testing.T) {
	for _, status := range []int{200, 502} {
		stage, _ := NewRetry(&config.Retry{Attempts: 3}, nil)
		ex := &exchange.Exchange{}
		tries := 0
		w := httptest.NewRecorder()
		stage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			tries++
			ex.Reason, ex.Backend.Owner = exchange.DialRefused, released{}
			w.WriteHeader(status)
		})).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x")).WithContext(exchange.NewContext(context.Background(), ex)))
		if tries != 1 || w.Code != status {
			t.Errorf("%d: asked %d times, answered %d", status, tries, w.Code)
		}
	}
}

func TestRetryPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ask(t, &config.Retry{Attempts: 3, Status: []string{"503"}, InitialInterval: config.Duration(300 * time.Millisecond)}, "GET", "", false, reply{503, ""})
		if d := time.Since(began); d < 300*time.Millisecond || d > 1200*time.Millisecond {
			t.Errorf("two pauses took %v", d)
		}
		began = time.Now()
		_, s, _ := ask(t, &config.Retry{Attempts: 100, Status: []string{"503"}, InitialInterval: config.Duration(100 * time.Millisecond), Timeout: config.Duration(time.Second)}, "GET", "", false, reply{503, ""})
		if d := time.Since(began); d > 1300*time.Millisecond || len(s.bodies) < 4 {
			t.Errorf("a time-out of 1 s took %v and %d attempts", d, len(s.bodies))
		}
	})
}

// The time that an attempt takes counts: its answer is the last where it is over.
func TestRetryTimeoutOfOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stage, err := NewRetry(&config.Retry{Attempts: 3, Status: []string{"503"}, Timeout: config.Duration(time.Second)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		tries := 0
		w := httptest.NewRecorder()
		stage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			tries++
			time.Sleep(700 * time.Millisecond)
			w.WriteHeader(http.StatusServiceUnavailable)
		})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if tries != 2 || w.Code != 503 {
			t.Errorf("%d attempts, %d", tries, w.Code)
		}
	})
}

func TestRetryStopsForAGoneClient(t *testing.T) {
	stage, err := NewRetry(&config.Retry{Attempts: 5, Status: []string{"503"}, InitialInterval: config.Duration(time.Hour)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ex := &exchange.Exchange{}
	tries := 0
	w := httptest.NewRecorder()
	stage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		tries++
		w.WriteHeader(http.StatusServiceUnavailable)
		time.AfterFunc(10*time.Millisecond, cancel)
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(exchange.NewContext(ctx, ex)))
	if tries != 1 || ex.Reason != exchange.ClientGone {
		t.Errorf("%d attempts, %s", tries, ex.Reason)
	}
}

// An endless answer that is not wanted must be cut off, and its handler's panic must end with the attempt.
func TestRetryCutsOffUnwantedAnswers(t *testing.T) {
	stage, _ := NewRetry(&config.Retry{Attempts: 2, Status: []string{"503"}}, nil)
	tries := 0
	w := httptest.NewRecorder()
	stage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if tries++; tries == 2 {
			_, _ = io.WriteString(w, "ok")
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		for {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				panic(http.ErrAbortHandler)
			}
		}
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != 200 || w.Body.String() != "ok" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	defer func() {
		if recover() == nil {
			t.Error("a panic of a wanted answer was swallowed")
		}
	}()
	stage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

func TestRetryOptions(t *testing.T) {
	for _, cfg := range []config.Retry{{}, {Attempts: -1}, {Attempts: 2, Status: []string{"abc"}}, {Attempts: 2, DisableRetryOnNetworkError: true}} {
		if _, err := NewRetry(&cfg, nil); err == nil {
			t.Errorf("%+v accepted", cfg)
		}
	}
	if _, err := NewRetry(&config.Retry{Attempts: 2, Status: []string{"599-500"}}, nil); err != nil {
		t.Error(err)
	}
	var warned []string
	stage, err := NewRetry(&config.Retry{Attempts: 2, Status: []string{"503"}, InitialInterval: -1, Timeout: -1}, func(field, _, _ string) { warned = append(warned, field) })
	if err != nil || strings.Join(warned, ",") != "initialInterval,timeout" {
		t.Fatalf("negative durations: %v, warned of %v", err, warned)
	}
	s, w := &server{script: []reply{{503, ""}, {200, ""}}}, httptest.NewRecorder()
	stage(s).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusOK {
		t.Errorf("negative durations: %d", w.Code)
	}
}
