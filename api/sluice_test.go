package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/config"
)

type ctx = context.Context

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStatusAndProblems(t *testing.T) {
	h := New(shopOptions())
	st := decode[Status](t, get(t, h, "/api/sluice/status"))
	if st.Generation != 7 || st.Problems != (problemTally{Errors: 1, Warnings: 1}) || st.Counters.Requests != 10 || st.AgeSeconds <= 0 {
		t.Errorf("%+v", st)
	}
	tests := []struct{ query, codes string }{
		{"", "unknown_service unknown_key"},
		{"?severity=WARNING", "unknown_key"},
		{"?code=unknown_service", "unknown_service"},
		{"?provider=docker", "unknown_key"},
		{"?search=GHOST", "unknown_service"},
		{"?search=ghost&provider=docker", ""},
	}
	for _, tt := range tests {
		var codes []string
		for _, p := range decode[[]config.Problem](t, get(t, h, "/api/sluice/problems"+tt.query)) {
			codes = append(codes, p.Code)
		}
		if got := strings.Join(codes, " "); got != tt.codes {
			t.Errorf("%s: %s", tt.query, got)
		}
	}
	if r := decode[map[string]int](t, get(t, h, "/api/sluice/reasons")); r["no_router"] != 2 {
		t.Errorf("%v", r)
	}
}

func TestExplain(t *testing.T) {
	o := shopOptions()
	o.Explain = func(_ ctx, q ExplainRequest) (any, error) {
		if strings.Contains(q.URL, "bad") {
			return nil, errors.New("url: bad")
		}
		return q, nil
	}
	h := New(o)
	tests := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/api/sluice/explain?url=a.test/x&header=X-A:+1&header=x-a:2&entryPoint=web", "", 200,
			`{"method":"GET","url":"http://a.test/x","headers":{"X-A":["1","2"]},"entryPoint":"web"}`},
		{"POST", "/api/sluice/explain", `{"url":"https://a.test/","method":"POST","client":"10.0.0.1"}`, 200,
			`{"method":"POST","url":"https://a.test/","client":"10.0.0.1"}`},
		{"GET", "/api/sluice/explain", "", 400, ""},
		{"GET", "/api/sluice/explain?url=bad.test", "", 400, ""},
		{"GET", "/api/sluice/explain?url=a.test&header=nocolon", "", 400, ""},
		{"POST", "/api/sluice/explain", `{"url":"https://a.test/","odd":1}`, 400, ""},
		{"POST", "/api/sluice/explain", `{"url":"https://a.test/"} {}`, 400, ""},
		{"POST", "/api/sluice/explain", `{"url":"` + strings.Repeat("x", maxExplainBody) + `"}`, 400, ""},
	}
	for _, tt := range tests {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		got := strings.TrimSpace(w.Body.String())
		if w.Code != tt.status || tt.want != "" && got != tt.want {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, w.Code, got)
		}
	}
}

// event reads the next server-sent event.
func event(t *testing.T, lines *bufio.Scanner) (name string, data map[string]any) {
	t.Helper()
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "event":
			name = value
		case "data":
			if err := json.Unmarshal([]byte(value), &data); err != nil {
				t.Fatal(err)
			}
		case "":
			return name, data
		}
	}
	t.Fatal("the stream ended: ", lines.Err())
	return
}

func TestEvents(t *testing.T) {
	o := shopOptions()
	var live atomic.Pointer[config.Runtime]
	live.Store(shop())
	o.Runtime = live.Load
	server := httptest.NewServer(New(o))
	defer server.Close()
	resp, err := http.Get(server.URL + "/api/sluice/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("type %s", got)
	}
	lines := bufio.NewScanner(resp.Body)
	name, data := event(t, lines)
	if name != "change" || data["generation"] != 7.0 {
		t.Errorf("first %s %v", name, data)
	}
	if name, data = event(t, lines); name != "counters" || data["requests"] != 10.0 || data["connections"] == nil {
		t.Errorf("second %s %v", name, data)
	}
	next := shop()
	next.Generation, next.Problems = 8, nil
	live.Store(next)
	start := time.Now()
	for name, data = event(t, lines); name != "change"; name, data = event(t, lines) {
	}
	problems, _ := data["problems"].(map[string]any)
	if data["generation"] != 8.0 || problems["errors"] != 0.0 || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", data, time.Since(start))
	}
}

// TestEventStreamsAreBounded opens as many as there may be and one more.
func TestEventStreamsAreBounded(t *testing.T) {
	server := httptest.NewServer(New(shopOptions()))
	defer server.Close()
	open := func() *http.Response {
		resp, err := http.Get(server.URL + "/api/sluice/events")
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	var all []*http.Response
	for range maxEventClients {
		all = append(all, open())
	}
	more := open()
	if more.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("stream %d: %d", maxEventClients+1, more.StatusCode)
	}
	for _, resp := range append(all, more) {
		resp.Body.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp := open()
		resp.Body.Close()
		if resp.StatusCode == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("places are not given back")
		}
	}
}

func TestPing(t *testing.T) {
	draining := false
	h := Ping(&config.Ping{TerminatingStatusCode: 204}, func() bool { return draining })
	tests := []struct {
		handler  http.Handler
		draining bool
		status   int
		body     string
	}{
		{h, false, 200, "OK"},
		{h, true, 204, "No Content"},
		{Ping(nil, nil), true, 200, "OK"},
		{Ping(&config.Ping{}, func() bool { return draining }), true, 503, "Service Unavailable"},
	}
	for i, tt := range tests {
		draining = tt.draining
		w := httptest.NewRecorder()
		tt.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/ping", nil))
		body, _ := io.ReadAll(w.Result().Body)
		if w.Code != tt.status || string(body) != tt.body {
			t.Errorf("%d: %d %q", i, w.Code, body)
		}
	}
}
