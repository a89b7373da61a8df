package body

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve starts a server in which h stands behind stage, with an Exchange per request as
// the handler lane gives it; the last one is in *last.
func serve(t testing.TB, stage exchange.Stage, h http.HandlerFunc) (url string, last **exchange.Exchange) {
	t.Helper()
	last = new(*exchange.Exchange)
	wrapped := stage(h)
	// A handler that aborts does not tell the client when it has ended: the lock orders it
	// before the next one.
	var mu sync.Mutex
	served := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ex := &exchange.Exchange{MayBlock: true}
		ex.Req.Method, ex.Req.Host, ex.Req.Path = r.Method, r.Host, r.URL.EscapedPath()
		for k, vals := range r.Header {
			for _, v := range vals {
				ex.Req.Fields.Add(k, v)
			}
		}
		mu.Lock()
		*last = ex
		mu.Unlock()
		defer func() {
			mu.Lock()
			served++
			mu.Unlock()
		}()
		wrapped.ServeHTTP(w, r.WithContext(exchange.NewContext(r.Context(), ex)))
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL, last
}

// client neither decompresses nor follows redirects, and keeps nothing open.
func client(t testing.TB) *http.Client {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func do(t testing.TB, method, url, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, url, rd)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "Transfer-Encoding" {
			req.ContentLength, req.Body = -1, io.NopCloser(rd)
			continue
		}
		if fields[i] == "Host" {
			req.Host = fields[i+1]
			continue
		}
		req.Header.Add(fields[i], fields[i+1])
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v after %q", method, url, err, b)
	}
	return resp, string(b)
}

// unpack decompresses by the answer's own word.
func unpack(t testing.TB, coding, body string) string {
	t.Helper()
	var rd io.Reader = strings.NewReader(body)
	switch coding {
	case "gzip":
		z, err := gzip.NewReader(rd)
		if err != nil {
			t.Fatal(err)
		}
		rd = z
	case "br":
		rd = brotli.NewReader(rd)
	case "zstd":
		z, err := zstd.NewReader(rd)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		rd = z
	}
	b, err := io.ReadAll(rd)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseStatuses(t *testing.T) {
	warned := 0
	s, err := parseStatuses("status", []string{"404", "500-503", "599-510"}, func(string, string, string) { warned++ })
	if err != nil || warned != 1 {
		t.Fatal(err, warned)
	}
	for status, want := range map[int]bool{404: true, 403: false, 500: true, 503: true, 504: false, 510: false, 550: false} {
		if s.has(status) != want {
			t.Errorf("%d: %v", status, !want)
		}
	}
	for _, bad := range []string{"abc", "", "5xx", "500-", "-500"} {
		if _, err := parseStatuses("status", []string{bad}, nil); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

// upgrade answers 101 and echoes one line, as the handler lane's end of a tail does.
func upgrade(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "echo")
	w.Header().Set("X-From", "server")
	w.WriteHeader(http.StatusSwitchingProtocols)
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	line, _ := rw.ReadString('\n')
	_, _ = c.Write([]byte(line))
}

// TestUpgradesPass holds for every stage: none may stand in the way of a WebSocket.
func TestUpgradesPass(t *testing.T) {
	for name, stage := range everyStage(t) {
		url, _ := serve(t, stage, func(w http.ResponseWriter, r *http.Request) {
			// net/http lets a handler write 101 only over a hijacked connection.
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			defer c.Close()
			fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			_ = rw.Flush()
			line, _ := rw.ReadString('\n')
			_, _ = c.Write([]byte(line))
		})
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\nAccept-Encoding: gzip\r\n\r\nhello\n")
		rd := bufio.NewReader(c)
		resp, err := http.ReadResponse(rd, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%s: %v %v", name, resp, err)
		}
		if line, _ := rd.ReadString('\n'); line != "hello\n" {
			t.Errorf("%s: %q", name, line)
		}
		c.Close()
	}
}

// TestSwitchingHeadPasses is the same for handlers that write the head before they take the connection.
func TestSwitchingHeadPasses(t *testing.T) {
	for name, stage := range everyStage(t) {
		w := httptest.NewRecorder()
		stage(http.HandlerFunc(upgrade)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != 101 || w.Header().Get("X-From") != "server" {
			t.Errorf("%s: %d %v", name, w.Code, w.Header())
		}
	}
}

func everyStage(t testing.TB) map[string]exchange.Stage {
	t.Helper()
	must := func(s exchange.Stage, err error) exchange.Stage {
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	page := func(string) (http.Handler, error) { return http.NotFoundHandler(), nil }
	return map[string]exchange.Stage{
		"buffering":   must(NewBuffering(&config.Buffering{MaxRequestBodyBytes: 100})),
		"compress":    must(NewCompress(&config.Compress{}, nil)),
		"contentType": NewContentType(&config.ContentType{}, nil),
		"errors":      must(NewErrors(&config.ErrorPage{Status: []string{"400-599"}, Service: "p"}, page, nil)),
		"grpcWeb":     must(NewGRPCWeb(&config.GRPCWeb{AllowOrigins: []string{"*"}})),
		"retry":       must(NewRetry(&config.Retry{Attempts: 3, Status: []string{"500-599"}}, nil)),
	}
}

// TestAnswersPass holds for every stage: an ordinary answer passes with its fields, its
// interim answers and its trailers.
func TestAnswersPass(t *testing.T) {
	for name, stage := range everyStage(t) {
		url, _ := serve(t, stage, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/early" {
				w.Header().Set("Link", "</x>; rel=preload")
				w.WriteHeader(http.StatusEarlyHints)
				w.Header().Del("Link")
			}
			b, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "text/x-echo")
			w.Header().Add("X-Two", "1")
			w.Header().Add("X-Two", "2")
			w.WriteHeader(http.StatusAccepted)
			_, _ = w.Write(b)
			_ = http.NewResponseController(w).Flush()
			w.Header().Set(http.TrailerPrefix+"X-Sum", "7")
		})
		resp, body := do(t, "POST", url+"/early", "the body", "X-A", "1")
		if resp.StatusCode != http.StatusAccepted || body != "the body" || strings.Join(resp.Header["X-Two"], ",") != "1,2" || resp.Header.Get("Content-Type") != "text/x-echo" || resp.Header.Get("Link") != "" {
			t.Errorf("%s: %d %q %v", name, resp.StatusCode, body, resp.Header)
		}
		if resp.Trailer.Get("X-Sum") != "7" {
			t.Errorf("%s: trailers %v", name, resp.Trailer)
		}
		resp, body = do(t, "POST", url, "chunked", "Transfer-Encoding", "chunked")
		if resp.StatusCode != http.StatusAccepted || body != "chunked" {
			t.Errorf("%s: %d %q", name, resp.StatusCode, body)
		}
	}
}

func TestRequestTrailersPass(t *testing.T) {
	for name, stage := range everyStage(t) {
		url, _ := serve(t, stage, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			_, _ = fmt.Fprintf(w, "%s %s", b, r.Trailer.Get("X-Sum"))
		})
		req, err := http.NewRequest(http.MethodPut, url, io.NopCloser(strings.NewReader("abc")))
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength, req.Trailer = -1, http.Header{"X-Sum": {"7"}}
		resp, err := client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(got) != "abc 7" {
			t.Errorf("%s: the server saw %q", name, got)
		}
	}
}

func TestBuffering(t *testing.T) {
	stage, err := NewBuffering(&config.Buffering{MaxRequestBodyBytes: 10, MaxResponseBodyBytes: 5000, MemResponseBodyBytes: 16})
	if err != nil {
		t.Fatal(err)
	}
	var length int64
	asked := 0
	url, last := serve(t, stage, func(w http.ResponseWriter, r *http.Request) {
		asked++
		length = r.ContentLength
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append(b, bytes.Repeat([]byte("x"), n)...))
		_ = http.NewResponseController(w).Flush()
	})
	for _, c := range []struct {
		body, te string
		status   int
	}{{"0123456789", "", 200}, {"0123456789a", "", 413}, {"abc", "chunked", 200}, {"01234567890123456789", "chunked", 413}, {"", "", 200}} {
		fields := []string{}
		if c.te != "" {
			fields = append(fields, "Transfer-Encoding", c.te)
		}
		before := asked
		resp, body := do(t, "POST", url+"/", c.body, fields...)
		if resp.StatusCode != c.status || c.status == 200 && (body != c.body || length != int64(len(c.body))) {
			t.Errorf("%q %s: %d %q, the server saw a length of %d", c.body, c.te, resp.StatusCode, body, length)
		}
		if c.status == 413 && (body != "Request Entity Too Large" || asked != before || (*last).Reason != exchange.BodyTooLarge) {
			t.Errorf("413: %q, asked %v, %s", body, asked != before, (*last).Reason)
		}
	}
	resp, body := do(t, "GET", url+"/?n=5000", "")
	if resp.StatusCode != http.StatusOK || len(body) != 5000 || resp.ContentLength != 5000 {
		t.Errorf("spooled: %d %d %d", resp.StatusCode, len(body), resp.ContentLength)
	}
	if resp, body = do(t, "GET", url+"/?n=5001", ""); resp.StatusCode != http.StatusInternalServerError || body != "Internal Server Error" {
		t.Errorf("too large an answer: %d %q", resp.StatusCode, body)
	}
}

func TestBufferingRetry(t *testing.T) {
	stage, err := NewBuffering(&config.Buffering{RetryExpression: "ResponseCode() == 503 && Attempts() <= 2", MemRequestBodyBytes: 3})
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	url, last := serve(t, stage, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(b))
		w.Header().Set("X-Attempt", strconv.Itoa(len(bodies)))
		if len(bodies) < 3 || r.URL.Path == "/always" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "no")
			return
		}
		_, _ = io.WriteString(w, "ok")
	})
	resp, body := do(t, "POST", url+"/", "keep me")
	if resp.StatusCode != http.StatusOK || body != "ok" || strings.Join(bodies, ",") != "keep me,keep me,keep me" || strings.Join(resp.Header["X-Attempt"], ",") != "3" || (*last).Log.Retries != 2 {
		t.Errorf("%d %q %q %v %d", resp.StatusCode, body, bodies, resp.Header["X-Attempt"], (*last).Log.Retries)
	}
	bodies = nil
	if resp, body = do(t, "POST", url+"/always", "x"); resp.StatusCode != http.StatusServiceUnavailable || body != "no" || len(bodies) != 3 {
		t.Errorf("exhausted: %d %q after %d", resp.StatusCode, body, len(bodies))
	}
	for want, cfg := range map[string]config.Buffering{"retryExpression": {RetryExpression: "Bogus() > 1"}, "memRequestBodyBytes": {MemRequestBodyBytes: -1}} {
		if _, err := NewBuffering(&cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func TestSpoolLeavesNothingBehind(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := &spool{memory: 4}
	for _, p := range []string{"ab", "cdef", "", "ghij"} {
		if n, err := s.Write([]byte(p)); err != nil || n != len(p) {
			t.Fatal(n, err)
		}
	}
	for range 2 {
		if b, err := io.ReadAll(s.reader()); err != nil || string(b) != "abcdefghij" || s.size != 10 {
			t.Fatalf("%q %v", b, err)
		}
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) != 0 {
		t.Errorf("%v", left)
	}
	s.reset()
	if b, _ := io.ReadAll(s.reader()); len(b) != 0 || s.size != 0 {
		t.Errorf("%q", b)
	}
	s.limit = 3
	if _, err := s.Write([]byte("abcd")); !errors.Is(err, errTooLarge) {
		t.Error(err)
	}
	s.close()
}

func TestContentType(t *testing.T) {
	off := false
	if NewContentType(&config.ContentType{AutoDetect: &off}, nil) != nil {
		t.Error("switched off, yet there")
	}
	stage := NewContentType(&config.ContentType{}, nil)
	for _, c := range []struct{ typed, coding, body, want string }{
		{"", "", "<html><body>hi</body></html>", "text/html; charset=utf-8"}, {"a/b", "", "<html></html>", "a/b"}, {"", "gzip", "\x1f\x8b", ""}, {"", "", "", ""},
	} {
		w := httptest.NewRecorder()
		stage(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.typed != "" {
				w.Header().Set("Content-Type", c.typed)
			}
			if c.coding != "" {
				w.Header().Set("Content-Encoding", c.coding)
			}
			w.WriteHeader(http.StatusOK)
			if w.Header().Get("Content-Type") == "" && c.body != "" {
				_, _ = io.WriteString(w, c.body)
			}
		})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if c.coding == "" && w.Header().Get("Content-Type") != c.want {
			t.Errorf("%+v: %q", c, w.Header().Get("Content-Type"))
		}
	}
}

func TestBufferingRetryByMethod(t *testing.T) {
	stage, err := NewBuffering(&config.Buffering{RetryExpression: `RequestMethod() != "POST" && ResponseCode() == 503 && Attempts() < 3`})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	url, _ := serve(t, stage, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	for method, want := range map[string]int{"GET": 3, "POST": 1} {
		asked = 0
		if do(t, method, url+"/", "x"); asked != want {
			t.Errorf("%s: asked %d times, want %d", method, asked, want)
		}
	}
}
