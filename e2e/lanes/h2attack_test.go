package lanes

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// prey is an edge and the server behind it, for clients who mean ill.
type prey struct {
	*edge
	under atomic.Int64 // requests the server has at work
	wrote atomic.Int64 // bytes it has got rid of
}

func newPrey(t *testing.T, lane string) *prey {
	t.Helper()
	p := new(prey)
	srv := httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(srv.Close)
	p.edge = startEdge(t, lane, fmt.Sprintf(`http:
  routers:
    probe: {rule: "Host(`+"`probe.test`"+`)", service: s}
    plain: {rule: "Host(`+"`plain.test`"+`)", service: s}
    staged: {rule: "Host(`+"`staged.test`"+`)", service: s, middlewares: [zip]}
    whole: {rule: "Host(`+"`whole.test`"+`)", service: s, middlewares: [hold]}
    away: {rule: "Host(`+"`away.test`"+`)", service: s, middlewares: [fill, away]}
  middlewares:
    zip: {compress: {}}
    hold: {buffering: {memRequestBodyBytes: 100000}}
    fill: {headers: {customResponseHeaders: {X-Fill: "%s"}}}
    away: {redirectRegex: {regex: ".*", replacement: "http://elsewhere.test/%s"}}
  services:
    s: {loadBalancer: {servers: [{url: "%s"}]}}
`, strings.Repeat("x", 3000), strings.Repeat("y", 2000), srv.URL))
	return p
}

func (p *prey) serve(w http.ResponseWriter, r *http.Request) {
	p.under.Add(1)
	defer p.under.Add(-1)
	w.Header().Set("Content-Type", "text/plain")
	switch r.URL.Path {
	case "/for-ever":
		b := make([]byte, 8<<10)
		for r.Context().Err() == nil {
			n, err := w.Write(b)
			if err != nil {
				return
			}
			p.wrote.Add(int64(n))
			_ = http.NewResponseController(w).Flush()
		}
	case "/unread":
		select {
		case <-r.Context().Done():
		case <-time.After(time.Second): // net/http does not see who leaves while a body waits
		}
	case "/break":
		_, _ = w.Write(make([]byte, 8<<10))
		_ = http.NewResponseController(w).Flush()
		time.Sleep(20 * time.Millisecond)
		panic(http.ErrAbortHandler)
	case "/body":
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n)
	}
}

// foe is a client of HTTP/2 that says what it likes.
type foe struct {
	net.Conn
	fr   *http2.Framer
	w    *bufio.Writer
	hb   bytes.Buffer
	enc  *hpack.Encoder
	next uint32
}

func (p *prey) foe(t *testing.T, entry string, set ...http2.Setting) *foe {
	t.Helper()
	nc := p.dial(t, entry)
	if entry == "secure" {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	t.Cleanup(func() { _ = nc.Close() })
	f := &foe{Conn: nc, w: bufio.NewWriterSize(nc, 32<<10), next: 1}
	f.fr = http2.NewFramer(f.w, bufio.NewReader(nc))
	f.fr.AllowIllegalWrites = true
	f.enc = hpack.NewEncoder(&f.hb)
	_, _ = f.w.WriteString(http2.ClientPreface)
	_ = f.fr.WriteSettings(set...)
	return f
}

// ask opens a stream and returns its number.
func (f *foe) ask(method, host, path string, end bool, more ...string) uint32 {
	f.hb.Reset()
	for i, kv := 0, append([]string{":method", method, ":scheme", "http", ":authority", host, ":path", path}, more...); i < len(kv); i += 2 {
		_ = f.enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	id := f.next
	f.next += 2
	_ = f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.hb.Bytes(), EndStream: end, EndHeaders: true})
	return id
}

// raw says a frame of any shape.
func (f *foe) raw(typ http2.FrameType, flags http2.Flags, id uint32, p string) {
	_ = f.fr.WriteRawFrame(typ, flags, id, []byte(p))
}

// ended reads until the connection ends, and returns the code of its GOAWAY if it has one.
func (f *foe) ended() string {
	for {
		fr, err := f.fr.ReadFrame()
		if g, is := fr.(*http2.GoAwayFrame); is {
			return g.ErrCode.String()
		}
		if err != nil {
			if ne, is := err.(net.Error); is && ne.Timeout() { //nolint:errorlint // it comes as it is
				return "never"
			}
			return "no GOAWAY"
		}
	}
}

// until reads to a frame that is meets.
func (f *foe) until(t *testing.T, what string, is func(http2.Frame) bool) {
	t.Helper()
	for {
		fr, err := f.fr.ReadFrame()
		if err != nil {
			t.Fatalf("no %s: %v", what, err)
		}
		if is(fr) {
			return
		}
	}
}

func u32(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// settles waits until what attacks have begun is over.
func (p *prey) settles(t *testing.T, goroutines, files int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		g, f, n := runtime.NumGoroutine(), descriptors(), p.under.Load()
		if n == 0 && g <= goroutines+12 && f <= files+12 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests at work, %d goroutines (%d before), %d descriptors (%d before)", n, g, goroutines, f, files)
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		time.Sleep(20 * time.Millisecond)
	}
}

func descriptors() int {
	list, _ := os.ReadDir("/proc/self/fd")
	return len(list)
}

func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc >> 20)
}

// TestFloodsOfFrames: what only makes work ends the connection.
func TestFloodsOfFrames(t *testing.T) {
	open := func(f *foe) uint32 { return f.ask("GET", "plain.test", "/unread", true) }
	body := func(f *foe, more ...string) uint32 { return f.ask("POST", "plain.test", "/body", false, more...) }
	p := newPrey(t, names[0])
	goroutines, files := runtime.NumGoroutine(), descriptors()
	type row struct {
		name string
		do   func(f *foe)
		once func(f *foe)
		want string // "" for ENHANCE_YOUR_CALM
	}
	rows := []row{
		{name: "reset", do: func(f *foe) { _ = f.fr.WriteRSTStream(open(f), http2.ErrCodeCancel) }},
		{name: "reset of answers from here", do: func(f *foe) { f.raw(http2.FrameRSTStream, 0, f.ask("GET", "away.test", "/", true), u32(8)) }},
		{name: "window overflow", do: func(f *foe) { _ = f.fr.WriteWindowUpdate(open(f), 1<<31-1) }},
		{name: "window by nothing", do: func(f *foe) { f.raw(http2.FrameWindowUpdate, 0, open(f), u32(0)) }},
		{name: "data behind the end", do: func(f *foe) { _ = f.fr.WriteData(open(f), false, []byte("x")) }},
		{name: "head behind the end", do: func(f *foe) { id := open(f); f.raw(http2.FrameHeaders, 5, id, "") }},
		{name: "priority on itself", do: func(f *foe) { id := open(f); f.raw(http2.FramePriority, 0, id, u32(id)+"\x01") }},
		{name: "priority of another length", do: func(f *foe) { f.raw(http2.FramePriority, 0, open(f), "xxxx") }},
		{name: "more than announced", do: func(f *foe) { _ = f.fr.WriteData(body(f, "content-length", "1"), false, []byte("xx")) }},
		{name: "trailers without an end", do: func(f *foe) { f.raw(http2.FrameHeaders, 4, body(f), "") }},
		{name: "pseudo-header in trailers", do: func(f *foe) { f.raw(http2.FrameHeaders, 5, body(f), "\x82") }},
		{name: "malformed heads", do: func(f *foe) { f.ask("GET", "plain.test", "/", true, "X-Upper", "1") }},
		{name: "ping", do: func(f *foe) { _ = f.fr.WritePing(false, [8]byte{}) }},
		{name: "settings", do: func(f *foe) { _ = f.fr.WriteSettings() }},
		{name: "settings of windows", do: func(f *foe) { _ = f.fr.WriteSettings(http2.Setting{ID: 4, Val: 0}, http2.Setting{ID: 4, Val: 9}) }},
		{name: "priority", do: func(f *foe) { f.raw(http2.FramePriority, 0, 1, u32(0)+"\x01") }},
		{name: "unknown frames", do: func(f *foe) { f.raw(0x42, 0, 0, "") }},
		{name: "windows", do: func(f *foe) { _ = f.fr.WriteWindowUpdate(0, 1) }},
		{name: "empty data", once: func(f *foe) { body(f) }, do: func(f *foe) { _ = f.fr.WriteData(1, false, nil) }},
		{name: "data of padding", once: func(f *foe) { body(f) }, do: func(f *foe) { f.raw(http2.FrameData, 8, 1, "\x02\x00\x00") }, want: "any"},
		{name: "empty continuation", once: func(f *foe) { f.raw(http2.FrameHeaders, 0, 1, "") }, do: func(f *foe) { f.raw(http2.FrameContinuation, 0, 1, "") }},
		{name: "continuation", once: func(f *foe) { f.raw(http2.FrameHeaders, 0, 1, "") }, do: func(f *foe) {
			f.raw(http2.FrameContinuation, 0, 1, "\x00\x01a\x7f\x81\x1f"+strings.Repeat("b", 4096+160))
		}, want: "any"},
		{name: "integer without an end", do: func(f *foe) {
			f.raw(http2.FrameHeaders, 5, 1, "\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
		}, want: "COMPRESSION_ERROR"},
		{name: "string beyond the block", do: func(f *foe) { f.raw(http2.FrameHeaders, 5, 1, "\x00\x7f\xff\xff\xff\xff\x0fa") }, want: "COMPRESSION_ERROR"},
		{name: "reference to nothing", do: func(f *foe) { f.raw(http2.FrameHeaders, 5, 1, "\xff\xff\xff\xff\x07") }, want: "COMPRESSION_ERROR"},
		{name: "table too large", do: func(f *foe) { f.raw(http2.FrameHeaders, 5, 1, "\x3f\xff\xff\xff\x07") }, want: "COMPRESSION_ERROR"},
		{name: "padding beyond the frame", do: func(f *foe) { f.raw(http2.FrameData, 8, 1, "\xff") }, want: "PROTOCOL_ERROR"},
		{name: "data on stream 0", do: func(f *foe) { f.raw(http2.FrameData, 0, 0, "x") }, want: "PROTOCOL_ERROR"},
		{name: "stream of an even number", do: func(f *foe) { f.next = 2; open(f) }, want: "PROTOCOL_ERROR"},
		{name: "window of all", do: func(f *foe) { _ = f.fr.WriteWindowUpdate(0, 1<<31-1) }, want: "FLOW_CONTROL_ERROR"},
	}
	t.Run("rows", func(t *testing.T) {
		for _, tc := range rows {
			t.Run(tc.name, func(t *testing.T) {
				t.Parallel()
				entry := "web"
				if len(tc.name)%2 == 0 {
					entry = "secure"
				}
				f := p.foe(t, entry)
				over := make(chan string, 1)
				_ = f.w.Flush()
				go func() { over <- f.ended() }()
				if tc.once != nil {
					tc.once(f)
				}
				for range 20_000 {
					tc.do(f)
					if _, err := f.w.Write(nil); err != nil {
						break
					}
				}
				_ = f.w.Flush()
				got := <-over
				if want := tc.want; want != "any" && got != want && (want != "" || got != "ENHANCE_YOUR_CALM") || got == "never" {
					t.Errorf("the connection ended with %s, not %q", got, want)
				}
				_ = f.Close()
			})
		}
	})
	p.settles(t, goroutines, files)
}

// TestClientsThatNeverRead: what waits for a client is bounded, whatever it asks.
func TestClientsThatNeverRead(t *testing.T) {
	p := newPrey(t, names[0])
	goroutines, files := runtime.NumGoroutine(), descriptors()
	big := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}}
	for _, tc := range []struct {
		name string
		n    int
		set  []http2.Setting
		do   func(f *foe)
	}{
		{"answers without a body", 25_000, big, func(f *foe) { f.ask("HEAD", "away.test", "/", true) }},
		{"answers with a body", 25_000, big, func(f *foe) { f.ask("GET", "away.test", "/", true) }},
		{"pings", 100_000, nil, func(f *foe) { _ = f.fr.WritePing(false, [8]byte{}) }},
		{"large answers", 100, big, func(f *foe) { f.ask("GET", "plain.test", "/for-ever", true) }},
		{"large answers through a stage", 100, big, func(f *foe) { f.ask("GET", "staged.test", "/for-ever", true, "accept-encoding", "identity") }},
		{"tiny windows", 100, []http2.Setting{{ID: 4, Val: 1}}, func(f *foe) { f.ask("GET", "plain.test", "/for-ever", true) }},
		{"uploads that nobody reads", 100, nil, func(f *foe) {
			_ = f.fr.WriteData(f.ask("POST", "plain.test", "/unread", false), false, make([]byte, 10_000))
		}},
		{"uploads to a stage", 100, nil, func(f *foe) {
			_ = f.fr.WriteData(f.ask("POST", "whole.test", "/body", false), false, make([]byte, 10_000))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := heap()
			f := p.foe(t, "web", tc.set...)
			_ = f.Conn.(*net.TCPConn).SetReadBuffer(16 << 10)
			if tc.set != nil && tc.set[0].Val > 1 {
				_ = f.fr.WriteWindowUpdate(0, 1<<30)
			}
			for i := range tc.n {
				if i%100 == 99 { // more at once are refused
					_ = f.w.Flush()
					time.Sleep(2 * time.Millisecond)
				}
				_ = f.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
				tc.do(f)
				if _, err := f.w.Write(nil); err != nil {
					break // it is not read from any more, as it should be
				}
			}
			_ = f.w.Flush()
			time.Sleep(100 * time.Millisecond)
			n := heap() - before
			t.Logf("%d MiB, %d streams", n, f.next/2)
			if n > 60 {
				t.Errorf("a client that does not read holds %d MiB", n)
			}
			_ = f.Close()
			p.settles(t, goroutines, files)
		})
	}
}

// TestClientsThatGoAway: streams whose client leaves amid a body leave nothing behind.
func TestClientsThatGoAway(t *testing.T) {
	p := newPrey(t, names[0])
	goroutines, files := runtime.NumGoroutine(), descriptors()
	for _, host := range []string{"plain.test", "staged.test", "whole.test"} {
		for _, path := range []string{"/for-ever", "/body"} {
			if host == "whole.test" && path == "/for-ever" {
				continue
			}
			for _, how := range []string{"reset", "close", "half"} {
				f := p.foe(t, []string{"web", "secure"}[len(how)%2])
				var ids []uint32
				for range 30 {
					id := f.ask("POST", host, path, false, "accept-encoding", "gzip")
					_ = f.fr.WriteData(id, false, make([]byte, 1000))
					ids = append(ids, id)
				}
				_ = f.w.Flush()
				if host != "whole.test" {
					for end := time.Now().Add(5 * time.Second); p.under.Load() < 30 && time.Now().Before(end); {
						time.Sleep(time.Millisecond)
					}
				}
				switch how {
				case "reset":
					for _, id := range ids {
						_ = f.fr.WriteRSTStream(id, http2.ErrCodeCancel)
					}
					_ = f.w.Flush()
				case "half":
					_ = f.Conn.(interface{ CloseWrite() error }).CloseWrite()
				default:
					_ = f.Close()
				}
				p.settles(t, goroutines+4, files+4)
				_ = f.Close()
			}
		}
	}
}

// TestWindowOfAllIsNotUsedUp: streams that a handler reads to the last byte give the
// connection's window back, although each has had little of it.
func TestWindowOfAllIsNotUsedUp(t *testing.T) {
	p := newPrey(t, names[0])
	f := p.foe(t, "web")
	for range 100 {
		_ = f.fr.WriteData(f.ask("POST", "staged.test", "/body", false), false, make([]byte, 1000))
	}
	_ = f.w.Flush()
	for end := time.Now().Add(10 * time.Second); p.under.Load() < 100 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	for id := uint32(1); id < 200; id += 2 {
		_ = f.fr.WriteData(id, false, make([]byte, 9400))
	}
	_ = f.w.Flush()
	first := true
	f.until(t, "window", func(fr http2.Frame) bool {
		w, is := fr.(*http2.WindowUpdateFrame)
		if is && w.StreamID == 0 && first {
			first = false // the greeting
			return false
		}
		return is && w.StreamID == 0
	})
	for id := uint32(1); id < 200; id += 2 {
		_ = f.fr.WriteData(id, true, nil)
	}
	_ = f.w.Flush()
	n := 0
	f.until(t, "end of all", func(fr http2.Frame) bool {
		if d, is := fr.(*http2.DataFrame); is && d.StreamEnded() {
			n++
		}
		return n == 100
	})
}

// TestBrokenAnswersInFrames: half an answer never looks like a whole one.
func TestBrokenAnswersInFrames(t *testing.T) {
	p := newPrey(t, names[0])
	f := p.foe(t, "secure")
	for _, host := range []string{"plain.test", "staged.test"} {
		id := f.ask("GET", host, "/break", true, "accept-encoding", "gzip")
		_ = f.w.Flush()
		f.until(t, "reset", func(fr http2.Frame) bool {
			if d, is := fr.(*http2.DataFrame); is && d.StreamEnded() {
				t.Errorf("%s: a clean end", host)
				return true
			}
			r, is := fr.(*http2.RSTStreamFrame)
			return is && r.StreamID == id
		})
	}
}

// TestSlowFrames: heads and bodies that do not come end in time.
func TestSlowFrames(t *testing.T) {
	p := newPrey(t, names[0])
	for name, do := range map[string]func(f *foe){
		"nothing":      func(*foe) {},
		"half a head":  func(f *foe) { f.raw(http2.FrameHeaders, 1, 1, "\x82") },
		"half a frame": func(f *foe) { _, _ = f.w.WriteString("\x00\x00\x20\x01\x05\x00\x00") },
		"half a frame more": func(f *foe) {
			f.ask("GET", "plain.test", "/unread", true)
			_, _ = f.w.WriteString("\x00\x00\x20\x01\x05\x00\x00")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := p.foe(t, "slow")
			do(f)
			_ = f.w.Flush()
			if got := f.ended(); got == "never" {
				t.Error("the connection is still there")
			}
		})
	}
	for _, host := range []string{"plain.test", "staged.test", "whole.test"} {
		t.Run("half a body to "+host, func(t *testing.T) {
			t.Parallel()
			f := p.foe(t, "slow")
			id := f.ask("POST", host, "/body", false)
			_ = f.fr.WriteData(id, false, []byte("x"))
			_ = f.w.Flush()
			f.until(t, "answer", func(fr http2.Frame) bool {
				switch fr.(type) {
				case *http2.HeadersFrame, *http2.RSTStreamFrame:
					return true
				}
				return false
			})
		})
	}
}
