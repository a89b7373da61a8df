package telemetry

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
)

// line returns what one request makes under a configuration.
func line(t *testing.T, c *config.AccessLog, r Record) string {
	t.Helper()
	h, err := New(Options{Static: &config.Static{AccessLog: c}, Stdout: discard{}, Location: time.FixedZone("", 2*3600)})
	if err != nil {
		t.Fatal(err)
	}
	s := h.Shard()
	s.Request(&r)
	return string(s.take(batch{}).lines)
}

func defaults() *config.AccessLog {
	c := &config.AccessLog{}
	c.SetDefaults()
	return c
}

func TestCommonLines(t *testing.T) {
	const stamp = "[14/Nov/2023:22:13:20 +0000]"
	tests := []struct {
		name   string
		config func(*config.AccessLog)
		record func(*Record)
		want   string
	}{
		{"plain", nil, nil,
			`127.0.0.1 - - ` + stamp + ` "GET /x?q=1 HTTP/1.1" 200 5 "-" "-" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"no router", nil, func(r *Record) {
			r.Router, r.Service, r.ServerURL, r.Status, r.ResponseBytes = "", "", "", 404, 19
		}, `127.0.0.1 - - ` + stamp + ` "GET /x?q=1 HTTP/1.1" 404 19 "-" "-" 1 "-" "-" 7ms`},
		{"user and forwarded client", nil, func(r *Record) { r.User, r.ForwardedFor = "ann", "9.9.9.9" },
			`9.9.9.9 - ann ` + stamp + ` "GET /x?q=1 HTTP/1.1" 200 5 "-" "-" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"user with a line break", nil, func(r *Record) { r.User = "an\"\nx\x1b" },
			`127.0.0.1 - an\x22\x0ax\x1b ` + stamp + ` "GET /x?q=1 HTTP/1.1" 200 5 "-" "-" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"IPv6 and mapped", nil, func(r *Record) { r.Peer = netip.MustParseAddrPort("[2001:db8::1]:1") },
			`2001:db8::1 - - ` + stamp + ` "GET /x?q=1 HTTP/1.1" 200 5 "-" "-" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"headers are dropped by default", nil, func(r *Record) { r.RequestHeaders = []Header{{"User-Agent", "ua"}} },
			`127.0.0.1 - - ` + stamp + ` "GET /x?q=1 HTTP/1.1" 200 5 "-" "-" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"headers kept", func(c *config.AccessLog) {
			c.Fields.Headers.Names = map[string]string{"User-Agent": "keep", "Referer": "keep"}
		}, func(r *Record) {
			r.RequestHeaders = []Header{{"user-agent", "x\" 200\tb\\s\r\nY"}, {"referer", "http://from.test/p?q"}}
		}, `127.0.0.1 - - ` + stamp + ` "GET /x?q=1 HTTP/1.1" 200 5 "http://from.test/p?q" "x\" 200` + "\t" + `b\s\x0d\x0aY" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"header redacted", func(c *config.AccessLog) { c.Fields.Headers.DefaultMode = "redact" },
			func(r *Record) { r.RequestHeaders = []Header{{"User-Agent", "ua"}} },
			`127.0.0.1 - - ` + stamp + ` "GET /x?q=1 HTTP/1.1" 200 5 "-" "REDACTED" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"generic", func(c *config.AccessLog) { c.Format = "genericCLF" }, nil,
			`127.0.0.1 - - ` + stamp + ` "GET /x?q=1 HTTP/1.1" 200 5 "-" "-"`},
		{"local time", func(c *config.AccessLog) { c.Fields.Names = map[string]string{"startutc": "drop"} }, nil,
			`127.0.0.1 - - [15/Nov/2023:00:13:20 +0200] "GET /x?q=1 HTTP/1.1" 200 5 "-" "-" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"fields dropped and redacted", func(c *config.AccessLog) {
			c.Fields.Names = map[string]string{"ClientHost": "redact", "RouterName": "drop", "DownstreamStatus": "drop"}
		}, nil, `127.0.0.1 - - ` + stamp + ` "GET /x?q=1 HTTP/1.1" - 5 "-" "-" 1 "-" "http://127.0.0.1:8081" 7ms`},
		{"query redacted", func(c *config.AccessLog) { c.Fields.QueryParameters.DefaultMode = "redact" },
			func(r *Record) { r.Target = "/x?token=t&b=2&flag" },
			`127.0.0.1 - - ` + stamp + ` "GET /x?token=REDACTED&b=REDACTED&REDACTED HTTP/1.1" 200 5 "-" "-" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"one parameter dropped by an escaped name", func(c *config.AccessLog) {
			c.Fields.QueryParameters.Names = map[string]string{"api key": "drop"}
		}, func(r *Record) { r.Target = "http://a.test/x?api%20key=t&b=2" },
			`127.0.0.1 - - ` + stamp + ` "GET /x?b=2 HTTP/1.1" 200 5 "-" "-" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"fields dropped by default, redact keeps nothing", func(c *config.AccessLog) {
			c.Fields.DefaultMode = "drop"
			c.Fields.Names = map[string]string{"RouterName": "keep", "ClientHost": "redact"}
		}, nil, `- - - [-] "- - -" - - "-" "-" - "a@file" "-" 0ms`},
		{"WebSocket", nil, func(r *Record) { r.Status, r.Protocol, r.ResponseBytes = 101, WebSocket, 99 },
			`127.0.0.1 - - ` + stamp + ` "GET /x?q=1 HTTP/1.1" 101 0 "-" "-" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
		{"quote in the target", nil, func(r *Record) { r.Target = "/\"x" },
			`127.0.0.1 - - ` + stamp + ` "GET /%22x HTTP/1.1" 200 5 "-" "-" 1 "a@file" "http://127.0.0.1:8081" 7ms`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, r := defaults(), sample()
			if tt.config != nil {
				tt.config(c)
			}
			if tt.record != nil {
				tt.record(&r)
			}
			if got := line(t, c, r); got != tt.want+"\n" {
				t.Errorf("got  %swant %s", got, tt.want)
			}
		})
	}
}

func jsonLine(t *testing.T, c *config.AccessLog, r Record) map[string]any {
	t.Helper()
	text := line(t, c, r)
	if strings.Count(text, "\n") != 1 {
		t.Fatalf("not one line: %q", text)
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return m
}

func TestJSONLine(t *testing.T) {
	c, r := defaults(), sample()
	c.Format = "json"
	c.Fields.Headers.DefaultMode = "keep"
	c.Fields.Headers.Names = map[string]string{"Authorization": "redact", "Cookie": "drop"}
	r.RequestHeaders = []Header{{"x-a", "1\n"}, {"authorization", "Basic x"}, {"Cookie", "c=d"}, {"X-A", "2"}, {"X-Bin", "\xff\u00e9"}}
	r.OriginHeaders = []Header{{"Content-Type", "text/plain"}}
	r.ResponseHeaders = []Header{{"Content-Type", "text/html"}}
	r.TLSVersion, r.TLSCipher, r.TLSClientSubject = tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, "CN=client one"
	r.Retries, r.ResponseBytes, r.Host = 2, 4, "[::1]:8443"
	r.TraceID, r.SpanID = "t1", "s1"
	want := map[string]any{
		"ClientAddr": "127.0.0.1:40000", "ClientHost": "127.0.0.1", "ClientPort": "40000", "ClientUsername": "-",
		"DownstreamContentSize": 4.0, "DownstreamStatus": 200.0, "Duration": 7654321.0, "GzipRatio": 1.25,
		"OriginContentSize": 5.0, "OriginDuration": 7000000.0, "OriginStatus": 200.0, "Overhead": 654321.0,
		"RequestAddr": "[::1]:8443", "RequestContentSize": 0.0, "RequestCount": 1.0, "RequestHost": "::1",
		"RequestMethod": "GET", "RequestPath": "/x?q=1", "RequestPort": "8443", "RequestProtocol": "HTTP/1.1",
		"RequestScheme": "https", "RetryAttempts": 2.0, "RouterName": "a@file", "ServiceAddr": "127.0.0.1:8081",
		"ServiceName": "s@file", "ServiceURL": "http://127.0.0.1:8081", "SpanId": "s1", "span_id": "s1",
		"StartLocal": "2023-11-15T00:13:20.123456789+02:00", "StartUTC": "2023-11-14T22:13:20.123456789Z",
		"TLSCipher": "TLS_AES_128_GCM_SHA256", "TLSClientSubject": "CN=client one", "TLSVersion": "1.3",
		"TraceId": "t1", "trace_id": "t1", "downstream_Content-Type": "text/html", "origin_Content-Type": "text/plain",
		"entryPointName": "web", "level": "info", "msg": "", "time": "2023-11-15T00:13:20+02:00",
		"request_X-A": "1\n,2", "request_Authorization": "REDACTED", "request_X-Bin": "\ufffd\u00e9",
	}
	got := jsonLine(t, c, r)
	for key, w := range want {
		if got[key] != w {
			t.Errorf("%s: got %#v, want %#v", key, got[key], w)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("unexpected %s: %v", key, got[key])
		}
	}
}

// TestJSONOfTheEdgesAnswers checks what a line has where no server was asked: the fields of
// the origin are zero, those of a server are left out.
func TestJSONOfTheEdgesAnswers(t *testing.T) {
	c, r := defaults(), sample()
	c.Format = "json"
	c.Fields.Names = map[string]string{"ClientAddr": "drop", "RequestPath": "drop", "Duration": "redact"}
	r.Router, r.Service, r.ServerURL, r.ServerAddr, r.OriginStatus = "a@file", "s@file", "", "", 0
	r.Reason, r.Status, r.Host, r.OriginDuration, r.RequestBytes = "no_server", 503, "", 5, 7
	got := jsonLine(t, c, r)
	for _, key := range []string{"ClientAddr", "RequestPath", "ServiceName", "ServiceURL", "ServiceAddr",
		"RequestAddr", "RequestHost", "RequestPort", "TLSVersion", "trace_id"} {
		if v, ok := got[key]; ok {
			t.Errorf("%s is there: %v", key, v)
		}
	}
	for key, want := range map[string]any{"RouterName": "a@file", "Reason": "no_server", "Duration": 7654321.0, "Overhead": 7654321.0,
		"OriginStatus": 0.0, "OriginContentSize": 0.0, "OriginDuration": 0.0, "GzipRatio": 0.0, "RequestContentSize": 0.0} {
		if got[key] != want {
			t.Errorf("%s: got %v, want %v", key, got[key], want)
		}
	}
	r.ResponseBytes = 0
	c.Fields.Names = map[string]string{"reason": "keep"}
	got = jsonLine(t, c, r)
	if _, ok := got["GzipRatio"]; ok || got["Reason"] != "no_server" {
		t.Errorf("GzipRatio %v without a body, Reason %v", got["GzipRatio"], got["Reason"])
	}
	for _, tt := range []struct {
		status int
		mode   string
		want   any
	}{{404, "", "x"}, {502, "", "x"}, {200, "", nil}, {401, "", nil}, {401, "keep", "x"}, {404, "drop", nil}} {
		c.Fields.Names, r.Status, r.Reason = map[string]string{"Reason": tt.mode}, tt.status, "x"
		if tt.mode == "" {
			c.Fields.Names = nil
		}
		if got := jsonLine(t, c, r)["Reason"]; got != tt.want {
			t.Errorf("%d, Reason %q: %v", tt.status, tt.mode, got)
		}
	}
	// A dial that failed is an answer of the service.
	r.ServerURL, r.Status, r.ResponseBytes, r.Reason = "http://10.0.0.1", 502, 11, "dial_refused"
	got = jsonLine(t, c, r)
	for key, want := range map[string]any{"OriginStatus": 502.0, "OriginContentSize": 11.0, "ServiceName": "s@file", "GzipRatio": nil, "RequestContentSize": 0.0} {
		if got[key] != want {
			t.Errorf("%s: got %v, want %v", key, got[key], want)
		}
	}
}

// FuzzHostPort compares with the standard library, whose answers the reference logs.
func FuzzHostPort(f *testing.F) {
	for _, s := range []string{"", "a.test", "a.test:80", "a.test:", ":80", ":", "[::1]", "[::1]:80", "::1", "[a]b:1", "[[a]:1", "a]:1", "a:[1", "[a:1", "a:1:2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		wantHost, wantPort, err := net.SplitHostPort(s)
		if err != nil {
			wantHost, wantPort = s, "-"
		}
		if host, port := hostPort(s); host != wantHost || port != wantPort {
			t.Errorf("%q: %q, %q; want %q, %q", s, host, port, wantHost, wantPort)
		}
	})
}

func TestFilters(t *testing.T) {
	tests := []struct {
		filters config.AccessLogFilters
		record  Record
		kept    bool
	}{
		{config.AccessLogFilters{}, Record{Status: 200}, true},
		{config.AccessLogFilters{StatusCodes: []string{"404,500-599"}}, Record{Status: 404}, true},
		{config.AccessLogFilters{StatusCodes: []string{"404", "500-599"}}, Record{Status: 502}, true},
		{config.AccessLogFilters{StatusCodes: []string{"404", "500-599"}}, Record{Status: 301}, false},
		{config.AccessLogFilters{RetryAttempts: true, StatusCodes: []string{"599"}}, Record{Status: 200, Retries: 1}, true},
		{config.AccessLogFilters{RetryAttempts: true, StatusCodes: []string{"599"}}, Record{Status: 200}, false},
		{config.AccessLogFilters{StatusCodes: []string{"5xx", "404"}}, Record{Status: 404}, true},
		{config.AccessLogFilters{StatusCodes: []string{"5xx", "404"}}, Record{Status: 500}, false},
		{config.AccessLogFilters{StatusCodes: []string{"5xx", "599-500"}}, Record{Status: 200}, true}, // nothing is left
		{config.AccessLogFilters{MinDuration: 200e6}, Record{Duration: 200e6}, false},
		{config.AccessLogFilters{MinDuration: 200e6}, Record{Duration: 201e6}, true},
	}
	for i, tt := range tests {
		f := newFilter(&tt.filters)
		if got := f.keeps(&tt.record); got != tt.kept {
			t.Errorf("%d: kept %v, want %v", i, got, tt.kept)
		}
	}
}

// TestUnknownWordsAreDefaults: the reference logs on with its defaults, and so do we.
func TestUnknownWordsAreDefaults(t *testing.T) {
	line := func(change func(*config.AccessLog)) string {
		c := defaults()
		change(c)
		var b []byte
		r := sample()
		return string(newFormat(c).append(b, &r, 1, &memo{}))
	}
	plain, asJSON := line(func(*config.AccessLog) {}), line(func(c *config.AccessLog) { c.Format = "json" })
	for name, change := range map[string]func(*config.AccessLog){
		"format": func(c *config.AccessLog) { c.Format = "xml" },
		"mode":   func(c *config.AccessLog) { c.Fields.DefaultMode = "hide" },
	} {
		if got := line(change); got != plain {
			t.Errorf("%s: %s, want %s", name, got, plain)
		}
	}
	for name, change := range map[string]func(*config.AccessLog){
		"mode":        func(c *config.AccessLog) { c.Fields.DefaultMode = "hide" },
		"name":        func(c *config.AccessLog) { c.Fields.Names = map[string]string{"ClientHost": "no"} },
		"header mode": func(c *config.AccessLog) { c.Fields.Headers.DefaultMode = "x" },
	} {
		got := line(func(c *config.AccessLog) { c.Format = "json"; change(c) })
		if got != asJSON {
			t.Errorf("%s: %s, want %s", name, got, asJSON)
		}
	}
}

// A file that cannot be opened costs the log at the start, and a reload later.
func TestFileThatCannotBe(t *testing.T) {
	c, said := defaults(), &bytes.Buffer{}
	c.FilePath = "/dev/null/x/access.log"
	static := &config.Static{AccessLog: c}
	h, err := New(Options{Static: static, Log: zerolog.New(said)})
	if err != nil {
		t.Fatal(err)
	}
	r := sample()
	h.Request(&r)
	h.flush()
	if !strings.Contains(said.String(), c.FilePath) {
		t.Errorf("said %q", said)
	}
	if _, _, err := h.Prepare(static); err == nil {
		t.Error("a reload took it")
	}
}

// TestWhoIsLogged checks internals, routes and entry points with the log off.
func TestWhoIsLogged(t *testing.T) {
	off := false
	static := accessLog(nil)
	static.EntryPoints = map[string]*config.EntryPoint{"quiet": {Observability: &config.EntryPointObservability{AccessLogs: &off}}}
	h := newHub(t, static)
	tests := []struct {
		name   string
		change func(*Record)
		logged bool
	}{
		{"plain", func(*Record) {}, true},
		{"internal", func(r *Record) { r.Internal = true }, false},
		{"route off", func(r *Record) { r.NoAccessLog = true }, false},
		{"no router on a quiet entry point", func(r *Record) { r.Router, r.EntryPoint = "", "quiet" }, false},
		{"router on a quiet entry point decides itself", func(r *Record) { r.EntryPoint = "quiet" }, true},
		{"never understood", func(r *Record) { r.Method, r.Reason = "", "bad_request" }, false},
	}
	for _, tt := range tests {
		s, r := h.Shard(), sample()
		tt.change(&r)
		s.Request(&r)
		if got := len(s.take(batch{}).lines) > 0; got != tt.logged {
			t.Errorf("%s: logged %v", tt.name, got)
		}
	}
	if n := h.Counters().Reasons["bad_request"]; n != 1 {
		t.Errorf("bad_request counted %d times", n)
	}
}

// TestReopen rotates the file as logrotate does, with the writer running.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "access.log")
	h := newHub(t, accessLog(func(c *config.AccessLog) { c.FilePath = path }))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- h.Run(ctx) }()

	request := func(target string) {
		r := sample()
		r.Target = target
		h.Request(&r)
	}
	waitFor := func(path, text string) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			b, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(b), text) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has no %s: %q, %v", path, text, b, err)
			}
		}
	}
	request("/before")
	waitFor(path, "/before")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	request("/between")
	if err := h.Reopen(); err != nil {
		t.Fatal(err)
	}
	waitFor(path+".1", "/between")
	request("/after")
	waitFor(path, "/after")
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	request("/last")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(path, "/last")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o022 != 0 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// FuzzAccessLog checks that whatever a client sends makes exactly one line, without
// control characters, and that JSON stays JSON.
func FuzzAccessLog(f *testing.F) {
	f.Add("ann", "/x?a=b", "agent", "a.test:80")
	f.Add("a\nb", "http://h/\x00?%zz&=&\"", "\x1b[2J\xff", "[::1")
	f.Fuzz(func(t *testing.T, user, target, agent, host string) {
		for _, format := range []string{"common", "json"} {
			c := defaults()
			c.Format = format
			c.Fields.Headers.DefaultMode = "keep"
			c.Fields.QueryParameters.Names = map[string]string{"a": "redact", "b": "drop"}
			r := sample()
			r.User, r.Target, r.Host, r.ForwardedFor = user, target, host, agent
			r.RequestHeaders = []Header{{"User-Agent", agent}}
			text := line(t, c, r)
			for i := range len(text) - 1 {
				if b := text[i]; b < 0x20 && b != '\t' || b == 0x7f {
					t.Fatalf("control character %#x in %q", b, text)
				}
			}
			if !strings.HasSuffix(text, "\n") {
				t.Fatalf("no line end in %q", text)
			}
			if format == "json" && !json.Valid([]byte(text)) {
				t.Fatalf("not JSON: %q", text)
			}
		}
	})
}

// TestIsPlain compares with a look at each byte, for every byte at every place.
func TestIsPlain(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			b := []byte("abcdefghij ~}{[]!09z")
			b[at] = byte(c)
			want := c >= 0x20 && c < 0x7f && c != '"' && c != '\\'
			if got := isPlain(string(b)); got != want {
				t.Fatalf("byte %#x at %d: %v", c, at, got)
			}
		}
	}
}
