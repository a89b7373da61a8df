package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/proxy/wire/h2"
)

// startFrames runs an edge that serves HTTP/2 on its loops. Streams that are handed over are
// answered with what hand does; nil fails the test.
func startFrames(t *testing.T, route *fixed, hand func(Stream), set func(*EntryPoint)) *edge {
	t.Helper()
	return start(t, route, func(o *Options, c *EntryPoint) {
		o.Loops = 1
		c.HandStream = func(s Stream) {
			if hand == nil {
				t.Error("a stream was handed over")
				s.Cut()
				return
			}
			hand(s)
			s.Exchange().RunDone()
		}
		if set != nil {
			set(c)
		}
	})
}

// far is an HTTP/2 client that says what it likes.
type far struct {
	t   *testing.T
	c   net.Conn
	fr  *http2.Framer
	enc *hpack.Encoder
	hb  bytes.Buffer
}

func dialFar(t *testing.T, addr string, set ...http2.Setting) *far {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	f := &far{t: t, c: c, fr: http2.NewFramer(c, c)}
	f.fr.AllowIllegalWrites = true
	f.enc = hpack.NewEncoder(&f.hb)
	f.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_, _ = io.WriteString(c, wire.Preface)
	_ = f.fr.WriteSettings(set...)
	return f
}

func (f *far) block(kv ...string) []byte {
	f.hb.Reset()
	for i := 0; i < len(kv); i += 2 {
		_ = f.enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	return bytes.Clone(f.hb.Bytes())
}

func (f *far) ask(id uint32, end bool, method, path string, kv ...string) {
	kv = append([]string{":method", method, ":scheme", "http", ":authority", "a.test", ":path", path}, kv...)
	_ = f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.block(kv...), EndStream: end, EndHeaders: true})
}

// told is a frame as a test looks at it; until reads to one that holds text, and returns
// all but SETTINGS and WINDOW_UPDATE.
func (f *far) until(text string) []string {
	f.t.Helper()
	var all []string
	for {
		s := f.next()
		if s == "" {
			continue
		}
		all = append(all, s)
		if strings.Contains(s, text) {
			return all
		}
		if strings.HasPrefix(s, "end") {
			f.t.Fatalf("no %q among %q", text, all)
		}
	}
}

func (f *far) next() string {
	fr, err := f.fr.ReadFrame()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return "end"
		}
		return "end: " + err.Error()
	}
	switch fr := fr.(type) {
	case *http2.MetaHeadersFrame:
		s := fmt.Sprintf("head %d", fr.StreamID)
		for _, x := range fr.Fields {
			if x.Name != "date" {
				s += " " + x.Name + "=" + x.Value
			}
		}
		if fr.StreamEnded() {
			s += " END"
		}
		return s
	case *http2.DataFrame:
		s := fmt.Sprintf("data %d %q", fr.StreamID, fr.Data())
		if len(fr.Data()) > 64 {
			s = fmt.Sprintf("data %d %d bytes", fr.StreamID, len(fr.Data()))
		}
		if fr.StreamEnded() {
			s += " END"
		}
		return s
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("reset %d %v", fr.StreamID, fr.ErrCode)
	case *http2.GoAwayFrame:
		return fmt.Sprintf("goaway %d %v", fr.LastStreamID, fr.ErrCode)
	case *http2.PingFrame:
		return fmt.Sprintf("ping %v %x", fr.IsAck(), fr.Data)
	}
	return ""
}

// echo answers with what it saw, in the ways that the path asks for.
func echo(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	seen := fmt.Sprintf("%s %s %s %d %v %q", r.Method, r.RequestURI, r.Host, len(b), r.TransferEncoding, r.Trailer.Get("X-Sum"))
	w.Header().Set("X-Seen", seen)
	switch r.URL.Path {
	case "/304":
		w.Header().Set("Etag", "x")
		w.WriteHeader(304)
	case "/big":
		_, _ = w.Write(bytes.Repeat([]byte("0123456789"), 100_000))
	case "/wait":
		<-r.Context().Done()
	default:
		answer(w, r.URL.Path)
	}
}

func TestStreams(t *testing.T) {
	ep := backend(t, echo)
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil, nil)
	f := dialFar(t, ed.addr)
	const text = "content-type=text/plain; charset=utf-8"
	for i, tc := range []struct {
		name string
		do   func(id uint32)
		want []string
	}{
		{"get", func(id uint32) { f.ask(id, true, "GET", "/a?b") }, []string{"head $ :status=200 x-seen=GET /a?b a.test 0 [] \"\" " + text + " content-length=2", `data $ "ok" END`}},
		{"head", func(id uint32) { f.ask(id, true, "HEAD", "/") }, []string{"head $ :status=200 x-seen=HEAD / a.test 0 [] \"\" " + text + " content-length=2 END"}},
		{"stream", func(id uint32) { f.ask(id, true, "GET", "/stream") }, []string{"head $ :status=200 x-seen=GET /stream a.test 0 [] \"\" " + text, `data $ "abc"`, `data $ "abc"`, `data $ "abc"`, "data $ \"\" END"}},
		{"204", func(id uint32) { f.ask(id, true, "GET", "/204") }, []string{"head $ :status=204 x-seen=GET /204 a.test 0 [] \"\" END"}},
		{"304", func(id uint32) { f.ask(id, true, "GET", "/304") }, []string{"head $ :status=304 etag=x x-seen=GET /304 a.test 0 [] \"\" END"}},
		{"hints", func(id uint32) { f.ask(id, true, "GET", "/hints") }, []string{"head $ :status=103 link=</x> x-seen=GET /hints a.test 0 [] \"\"", "head $ :status=200 link=</x> x-seen=GET /hints a.test 0 [] \"\" " + text + " content-length=2", `data $ "ok" END`}},
		{"trailers", func(id uint32) { f.ask(id, true, "GET", "/trailers") }, []string{"head $ :status=200 trailer=X-Sum x-seen=GET /trailers a.test 0 [] \"\" " + text, `data $ "abc"`, "head $ x-sum=9 END"}},
		{"length", func(id uint32) {
			f.ask(id, false, "POST", "/", "content-length", "5")
			_ = f.fr.WriteData(id, false, []byte("he"))
			_ = f.fr.WriteDataPadded(id, true, []byte("llo"), make([]byte, 9))
		}, []string{"head $ :status=200 x-seen=POST / a.test 5 [] \"\" " + text + " content-length=2", `data $ "ok" END`}},
		{"no length", func(id uint32) {
			f.ask(id, false, "POST", "/")
			_ = f.fr.WriteData(id, false, []byte("he"))
			time.Sleep(20 * time.Millisecond)
			_ = f.fr.WriteData(id, false, []byte("llo"))
			_ = f.fr.WriteData(id, true, nil)
		}, []string{"head $ :status=200 x-seen=POST / a.test 5 [chunked] \"\" " + text + " content-length=2", `data $ "ok" END`}},
		{"request trailers", func(id uint32) {
			f.ask(id, false, "POST", "/", "trailer", "x-sum")
			_ = f.fr.WriteData(id, false, []byte("hello"))
			_ = f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.block("x-sum", "17", "x-other", "1"), EndStream: true, EndHeaders: true})
		}, []string{"head $ :status=200 x-seen=POST / a.test 5 [chunked] \"17\" " + text + " content-length=2", `data $ "ok" END`}},
		{"continuation", func(id uint32) {
			b := f.block(":method", "GET", ":scheme", "http", ":authority", "a.test", ":path", "/c")
			_ = f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: b[:3], EndStream: true})
			time.Sleep(10 * time.Millisecond)
			_ = f.fr.WriteContinuation(id, true, b[3:])
		}, []string{"head $ :status=200 x-seen=GET /c a.test 0 [] \"\" " + text + " content-length=2", `data $ "ok" END`}},
		{"expectation", func(id uint32) {
			f.ask(id, false, "POST", "/", "content-length", "5", "expect", "100-continue")
			time.Sleep(20 * time.Millisecond)
			_ = f.fr.WriteData(id, true, []byte("hello"))
		}, []string{"head $ :status=100", "head $ :status=200 x-seen=POST / a.test 5 [] \"\" " + text + " content-length=2", `data $ "ok" END`}},
		{"malformed", func(id uint32) { f.ask(id, true, "GET", "/", "X-Upper", "1") }, []string{"reset $ PROTOCOL_ERROR"}},
		{"connection field", func(id uint32) { f.ask(id, true, "GET", "/", "connection", "close") }, []string{"head $ :status=400 " + text + " content-length=15", `data $ "400 Bad Request" END`}},
		{"no route", func(id uint32) {
			_ = f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.block(":method", "GET", ":scheme", "http", ":authority", "none.test", ":path", "/"), EndStream: true, EndHeaders: true})
		}, []string{"head $ :status=404 " + text + " x-content-type-options=nosniff content-length=19", "data $ \"404 page not found\\n\" END"}},
		{"unwanted body", func(id uint32) {
			_ = f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.block(":method", "POST", ":scheme", "http", ":authority", "none.test", ":path", "/"), EndHeaders: true})
		}, []string{"head $ :status=404 " + text + " x-content-type-options=nosniff content-length=19", "data $ \"404 page not found\\n\" END", "reset $ NO_ERROR"}},
		{"too much", func(id uint32) {
			f.ask(id, false, "POST", "/", "content-length", "5")
			_ = f.fr.WriteData(id, true, []byte("hello!"))
		}, []string{"reset $ PROTOCOL_ERROR"}},
		{"too little", func(id uint32) {
			f.ask(id, false, "POST", "/", "content-length", "5")
			_ = f.fr.WriteData(id, false, []byte("hel"))
			time.Sleep(20 * time.Millisecond)
			_ = f.fr.WriteData(id, true, nil)
		}, []string{"reset $ PROTOCOL_ERROR"}},
		{"ping", func(uint32) { _ = f.fr.WritePing(false, [8]byte{1, 2}) }, []string{"ping true 0102000000000000"}},
	} {
		id := uint32(2*i + 1)
		tc.do(id)
		var want []string
		for _, s := range tc.want {
			want = append(want, strings.Replace(s, "$", fmt.Sprint(id), 1))
		}
		last := want[len(want)-1]
		if tc.name == "stream" { // its pieces may come together
			last, want = "END", []string{want[0], fmt.Sprintf("data %d %q END", id, "abcabcabc")}
		}
		got := f.until(last)
		if tc.name == "stream" {
			joined := ""
			for _, s := range got[1:] {
				p, _, _ := strings.Cut(s[strings.IndexByte(s, '"')+1:], `"`)
				joined += p
			}
			got = []string{got[0], fmt.Sprintf("data %d %q END", id, joined)}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", tc.name, got, want)
		}
	}
}

// TestStreamsEndConnections: what breaks the protocol ends the connection, with the reason.
func TestStreamsEndConnections(t *testing.T) {
	over := make(chan struct{})
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/deaf" {
			<-over
			return
		}
		echo(w, r)
	})
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil, func(c *EntryPoint) { c.Streams = 10 })
	t.Cleanup(func() { close(over) })
	for _, tc := range []struct {
		name string
		do   func(f *far)
		want string
	}{
		{"even stream", func(f *far) { f.ask(2, true, "GET", "/") }, "PROTOCOL_ERROR"},
		{"stream of old", func(f *far) { f.ask(5, true, "GET", "/wait"); f.ask(3, true, "GET", "/") }, "PROTOCOL_ERROR"},
		{"data on idle", func(f *far) { _ = f.fr.WriteData(1, true, nil) }, "PROTOCOL_ERROR"},
		{"reset of idle", func(f *far) { _ = f.fr.WriteRSTStream(1, http2.ErrCodeCancel) }, "PROTOCOL_ERROR"},
		{"window of idle", func(f *far) { _ = f.fr.WriteWindowUpdate(1, 1) }, "PROTOCOL_ERROR"},
		{"window too large", func(f *far) { _ = f.fr.WriteWindowUpdate(0, 1<<31-1) }, "FLOW_CONTROL_ERROR"},
		{"setting", func(f *far) { _ = f.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}) }, "FLOW_CONTROL_ERROR"},
		{"compression", func(f *far) {
			_ = f.fr.WriteRawFrame(http2.FrameHeaders, 5, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
		}, "COMPRESSION_ERROR"},
		{"pings", func(f *far) {
			go func() { _, _ = io.Copy(io.Discard, io.LimitReader(f.c, 0)) }()
			for range 20000 {
				if f.fr.WritePing(false, [8]byte{}) != nil {
					return
				}
			}
		}, "ENHANCE_YOUR_CALM"},
		{"settings", func(f *far) {
			for range 20000 {
				if f.fr.WriteSettings() != nil {
					return
				}
			}
		}, "ENHANCE_YOUR_CALM"},
		{"priorities", func(f *far) {
			for range 20000 {
				if f.fr.WritePriority(1, http2.PriorityParam{StreamDep: 3}) != nil {
					return
				}
			}
		}, "ENHANCE_YOUR_CALM"},
		{"empty continuations", func(f *far) {
			_ = f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.block(":method", "GET")})
			for range 20000 {
				if f.fr.WriteContinuation(1, false, nil) != nil {
					return
				}
			}
		}, "ENHANCE_YOUR_CALM"},
		{"rapid reset", func(f *far) {
			for i := range 20000 {
				f.ask(uint32(2*i+1), true, "GET", "/wait")
				if f.fr.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel) != nil {
					return
				}
			}
		}, "ENHANCE_YOUR_CALM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := dialFar(t, ed.addr)
			done := make(chan struct{})
			go func() { defer close(done); tc.do(f) }()
			for {
				s := f.next()
				if strings.HasPrefix(s, "goaway") {
					if !strings.HasSuffix(s, tc.want) {
						t.Errorf("%s, want %s", s, tc.want)
					}
					break
				}
				if strings.HasPrefix(s, "end") {
					if !strings.Contains(s, "reset") { // a flood meets a closed door
						t.Errorf("%s without GOAWAY", s)
					}
					break
				}
			}
			f.c.Close()
			<-done
		})
	}
	// Nothing of that has harmed the others.
	f := dialFar(t, ed.addr)
	f.ask(1, true, "GET", "/")
	f.until(`"ok" END`)
}

func TestStreamsBeyondTheLimitAreRefused(t *testing.T) {
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{backend(t, echo)}}, nil, func(c *EntryPoint) { c.Streams = 3 })
	f := dialFar(t, ed.addr)
	for i := range 4 {
		f.ask(uint32(2*i+1), true, "GET", "/wait")
	}
	if got := f.until("reset"); got[0] != "reset 7 REFUSED_STREAM" {
		t.Errorf("%q", got)
	}
	_ = f.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	f.ask(9, true, "GET", "/")
	f.until(`data 9 "ok" END`)
	if r := ed.recs.wait(t, 1); r.Status != exchange.StatusClientGone || r.Reason != string(exchange.ClientGone) || r.Proto != "HTTP/2.0" {
		t.Errorf("%+v", r)
	}
}

// TestStreamWindows: an answer goes as far as the windows of the client allow, and a body as
// far as the server takes it.
func TestStreamWindows(t *testing.T) {
	read := make(chan struct{})
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			<-read
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
			return
		}
		echo(w, r)
	})
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil, nil)
	f := dialFar(t, ed.addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	f.ask(1, true, "GET", "/big")
	f.until(`data 1 "0123456789"`)
	_ = f.fr.WritePing(false, [8]byte{1})
	f.until("ping")
	_ = f.fr.WriteWindowUpdate(1, 5)
	f.until(`data 1 "01234"`)
	_ = f.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 20})
	f.until(`data 1 "5678901234"`)
	_ = f.fr.WriteWindowUpdate(1, 1<<20)
	sum := 25
	for sum < 65535 { // the connection's
		if s := f.next(); strings.HasPrefix(s, "data 1") {
			var n int
			_, _ = fmt.Sscanf(s, "data 1 %d bytes", &n)
			if n == 0 {
				t.Fatal(s)
			}
			sum += n
		}
	}
	if sum != 65535 {
		t.Errorf("%d bytes within a window of 65535", sum)
	}
	_ = f.fr.WriteWindowUpdate(0, 1<<20)
	f.until("END")

	// More than one window's worth, to a server that does not read yet.
	const size = 32 << 20
	f.ask(3, false, "POST", "/", "content-length", fmt.Sprint(size))
	var mu sync.Mutex
	window, conn, stop := streamWindow, frameWindow, false
	cond := sync.NewCond(&mu)
	sent := make(chan int, 1)
	go func() {
		n := 0
		for n < size {
			mu.Lock()
			for min(window, conn) == 0 && !stop {
				cond.Wait()
			}
			k := min(window, conn, h2.MaxFrame, size-n)
			window -= k
			conn -= k
			halt := stop
			mu.Unlock()
			if halt || f.fr.WriteData(3, n+k == size, make([]byte, k)) != nil {
				break
			}
			n += k
		}
		sent <- n
	}()
	answer := make(chan string, 1)
	go func() {
		defer close(answer)
		for {
			fr, err := f.fr.ReadFrame()
			if err != nil {
				return
			}
			if w, is := fr.(*http2.WindowUpdateFrame); is {
				mu.Lock()
				if w.StreamID == 0 {
					conn += int(w.Increment)
				} else {
					window += int(w.Increment)
				}
				mu.Unlock()
				cond.Broadcast()
			}
			if d, is := fr.(*http2.DataFrame); is && len(d.Data()) > 0 {
				answer <- string(d.Data())
				return
			}
		}
	}()
	for still := 0; still < 20; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		if still++; window > 0 {
			still = 0
		}
		mu.Unlock()
	}
	close(read)
	if got := <-answer; got != fmt.Sprint(size) {
		t.Errorf("the server got %q bytes", got)
	}
	mu.Lock()
	stop = true
	mu.Unlock()
	cond.Broadcast()
	if n := <-sent; n != size {
		t.Errorf("%d bytes sent", n)
	}
}

// TestStreamOverrun: more than the window allows resets the stream.
func TestStreamOverrun(t *testing.T) {
	over := make(chan struct{})
	ep := backend(t, func(http.ResponseWriter, *http.Request) { <-over })
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil, nil)
	t.Cleanup(func() { close(over) })
	f := dialFar(t, ed.addr)
	f.ask(1, false, "POST", "/")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 4000 {
			if f.fr.WriteData(1, false, make([]byte, h2.MaxFrame)) != nil {
				return
			}
		}
	}()
	f.until("reset 1 FLOW_CONTROL_ERROR")
	f.c.Close()
	<-done
}

// TestHandedStreams: a stream whose route has a tail goes to the handler lane and back.
func TestHandedStreams(t *testing.T) {
	hand := func(s Stream) {
		ex := s.Exchange()
		b, err := io.ReadAll(readerOf{s})
		tr := ""
		if f := s.Trailers(); f != nil {
			tr = f.Get("x-sum")
		}
		ex.Resp.Status, ex.Resp.Framing = 200, exchange.Streamed
		ex.Resp.Fields.Add("X-Seen", fmt.Sprintf("%s %s %d %v %q", ex.Req.Method, ex.Req.Path, len(b), err, tr))
		if ex.Req.Path == "/hints" {
			_ = s.Head(&exchange.Response{Status: 103}, "", false)
		}
		_ = s.Head(&ex.Resp, "now", ex.Req.Method == "HEAD")
		switch ex.Req.Path {
		case "/wait":
			_, err := s.Write(make([]byte, 1<<20))
			<-s.Context().Done()
			if err == nil {
				t.Error("a window of 64 KiB took 1 MiB")
			}
			return
		case "/fault":
			panic("a fault of the test")
		case "/cut":
			_, _ = s.Write([]byte("half"))
			_ = s.Flush()
			s.Cut()
			return
		case "/big":
			for range 100 {
				_, _ = s.Write(bytes.Repeat([]byte("0123456789"), 1000))
			}
		}
		_, _ = s.Write([]byte("ok"))
		var f exchange.Fields
		if ex.Req.Path == "/trailers" {
			f.Add("X-Sum", "9")
		}
		_ = s.End(&f)
	}
	ed := startFrames(t, &fixed{tail: http.NotFoundHandler()}, hand, nil)
	f := dialFar(t, ed.addr)
	for i, tc := range []struct {
		do   func(id uint32)
		want []string
	}{
		{func(id uint32) { f.ask(id, true, "GET", "/") }, []string{`head $ :status=200 x-seen=GET / 0 <nil> ""`, `data $ "ok" END`}},
		{func(id uint32) { f.ask(id, true, "HEAD", "/") }, []string{`head $ :status=200 x-seen=HEAD / 0 <nil> "" END`}},
		{func(id uint32) { f.ask(id, true, "GET", "/trailers") }, []string{`head $ :status=200 x-seen=GET /trailers 0 <nil> ""`, `data $ "ok"`, "head $ x-sum=9 END"}},
		{func(id uint32) { f.ask(id, true, "GET", "/hints") }, []string{`head $ :status=103`, `head $ :status=200 x-seen=GET /hints 0 <nil> ""`, `data $ "ok" END`}},
		{func(id uint32) { f.ask(id, true, "GET", "/cut") }, []string{`head $ :status=200 x-seen=GET /cut 0 <nil> ""`, `data $ "half"`, `reset $ INTERNAL_ERROR`}},
		{func(id uint32) { f.ask(id, true, "GET", "/fault") }, []string{`head $ :status=200 x-seen=GET /fault 0 <nil> ""`, `reset $ INTERNAL_ERROR`}},
		{func(id uint32) {
			f.ask(id, false, "POST", "/", "content-length", "300000")
			for range 30 {
				_ = f.fr.WriteData(id, false, make([]byte, 10_000))
			}
			_ = f.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.block("x-sum", "1"), EndStream: true, EndHeaders: true})
		}, []string{`head $ :status=200 x-seen=POST / 300000 <nil> "1"`, `data $ "ok" END`}},
	} {
		id := uint32(2*i + 1)
		tc.do(id)
		var want []string
		for _, s := range tc.want {
			want = append(want, strings.Replace(s, "$", fmt.Sprint(id), 1))
		}
		if i == 6 { // more than the window at once: as the window opens, which Framer does not follow
			continue
		}
		if got := f.until(want[len(want)-1]); !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	g := dialFar(t, ed.addr)
	g.ask(1, true, "GET", "/wait")
	for sum := 0; sum < 65535; {
		if s := g.next(); strings.HasPrefix(s, "data 1") {
			var n int
			_, _ = fmt.Sscanf(s, "data 1 %d bytes", &n)
			sum += n
			if n == 0 {
				t.Fatal(s)
			}
		}
	}
	_ = g.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	_ = g.fr.WriteWindowUpdate(0, 2<<20)
	_ = g.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 2 << 20})
	g.ask(3, true, "GET", "/big")
	g.until(`END`)
}

type readerOf struct{ Stream }

func (r readerOf) Read(p []byte) (int, error) { return r.Stream.Read(p) }

// TestStreamsOverTLS has net/http's client ask for many things at once.
func TestStreamsOverTLS(t *testing.T) {
	cert := testnet.Pair(t, "a.test")
	ep := backend(t, echo)
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil, func(c *EntryPoint) {
		c.AltSvc = `h3=":443"`
		c.TLS = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"}}, nil
		}
	})
	tr := &http2.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	big := strings.Repeat("0123456789", 100_000)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 4 {
				body := strings.Repeat("x", (i+j)%5*70_000)
				path := []string{"/", "/big", "/stream", "/trailers"}[(i+j)%4]
				resp, err := client.Post("https://"+ed.addr+path, "text/plain", io.MultiReader(strings.NewReader(body)))
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				want := []string{"ok", big, "abcabcabc", "abc"}[(i+j)%4]
				if err != nil || string(b) != want || !strings.Contains(resp.Header.Get("X-Seen"), fmt.Sprintf(" %d ", len(body))) || resp.Header.Get("Alt-Svc") == "" {
					t.Errorf("%s: %v, %d bytes, %q", path, err, len(b), resp.Header)
				}
				if path == "/trailers" && resp.Trailer.Get("X-Sum") != "9" {
					t.Errorf("trailers %v", resp.Trailer)
				}
			}
		})
	}
	wg.Wait()
	if r := ed.recs.wait(t, 256); r.Proto != "HTTP/2.0" || r.TLSVersion == 0 || r.Status != 200 {
		t.Errorf("%+v", r)
	}
}

// TestStreamsDrain: a connection ends in order, with its streams.
func TestStreamsDrain(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-release
		}
		fmt.Fprint(w, "ok")
	})
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil, nil)
	f := dialFar(t, ed.addr)
	f.ask(1, true, "GET", "/slow")
	<-begun
	done := make(chan error, 1)
	go func() { done <- ed.e.Shutdown(t.Context()) }()
	f.until("goaway 1 NO_ERROR")
	f.ask(3, true, "GET", "/") // too late: not served, and the client knows
	close(release)
	got := f.until("end")
	if slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, " 3 ") }) || !strings.Contains(strings.Join(got, "\n"), `data 1 "ok" END`) {
		t.Errorf("%q", got)
	}
	f.c.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestStreamsKeepAliveLimits(t *testing.T) {
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{backend(t, echo)}}, nil, func(c *EntryPoint) {
		c.KeepAliveMaxRequests, c.IdleTimeout = 2, 200*time.Millisecond
	})
	f := dialFar(t, ed.addr)
	f.ask(1, true, "GET", "/")
	f.until("END")
	f.ask(3, true, "GET", "/")
	if got := f.until("end"); got[0] != "goaway 3 NO_ERROR" || !strings.Contains(strings.Join(got, "\n"), `data 3 "ok" END`) {
		t.Errorf("%q", got)
	}
	g := dialFar(t, ed.addr)
	g.ask(1, true, "GET", "/")
	if got := g.until("end"); !slices.Contains(got, "goaway 1 NO_ERROR") {
		t.Errorf("idle: %q", got)
	}
}
