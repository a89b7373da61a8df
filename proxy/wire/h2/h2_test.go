package h2

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// client writes frames as x/net/http2 does, an implementation of its own.
type client struct {
	bytes.Buffer
	fr  *http2.Framer
	enc *hpack.Encoder
	hb  bytes.Buffer
}

func newClient() *client {
	c := &client{}
	c.WriteString(wire.Preface)
	c.fr = http2.NewFramer(&c.Buffer, nil)
	c.fr.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.hb)
	_ = c.fr.WriteSettings()
	return c
}

func (c *client) block(kv ...string) []byte {
	c.hb.Reset()
	for i := 0; i < len(kv); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	return bytes.Clone(c.hb.Bytes())
}

func (c *client) head(id uint32, end bool, kv ...string) {
	_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(kv...), EndStream: end, EndHeaders: true})
}

var get = []string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "/"}

// story is what a Reader tells of its input, pieces of DATA joined.
func story(feed func(r *Reader, tell func(Event)) *Error) string {
	var sb strings.Builder
	data, flow, last := "", 0, uint32(0)
	r := NewReader(DefaultTable, &wire.Limits{MaxHead: 4096, MaxFields: 20})
	err := feed(r, func(ev Event) {
		switch ev.Kind {
		case Nothing:
			return
		case Data:
			data += string(ev.Payload)
			flow += ev.Flow
			if !ev.End {
				last = ev.Stream
				return
			}
		}
		if data != "" || flow > 0 || ev.Kind == Data {
			if ev.Kind == Data {
				last = ev.Stream
			}
			fmt.Fprintf(&sb, "data %d %q flow %d end %v\n", last, data, flow, ev.Kind == Data)
			data, flow = "", 0
		}
		switch ev.Kind {
		case Data:
		case Head:
			h := &r.Head
			fmt.Fprintf(&sb, "head %d end %v bad %v large %v %q %q %q %q", ev.Stream, ev.End, h.Bad, h.TooLarge, h.Method, h.Scheme, h.Authority, h.Path)
			for _, f := range h.Fields.All() {
				fmt.Fprintf(&sb, " %s=%q", f.Name, f.Value)
			}
			sb.WriteByte('\n')
		default:
			fmt.Fprintf(&sb, "kind %d stream %d payload %x code %d inc %d\n", ev.Kind, ev.Stream, ev.Payload, ev.Code, ev.Increment)
		}
	})
	fmt.Fprintf(&sb, "rest %q %d %v", data, flow, err)
	return sb.String()
}

// whole gives a Reader all of b at once; pieces gives it at most step bytes more at a time.
func whole(b []byte) string { return pieces(b, len(b)+1) }

func pieces(b []byte, step int) string {
	return story(func(r *Reader, tell func(Event)) *Error {
		at, have := 0, 0
		for {
			ev, n, err := r.Next(b[at:have])
			if err != nil {
				return err
			}
			at += n
			tell(ev)
			if n == 0 || at == have {
				if have == len(b) && n == 0 {
					return nil
				}
				have = min(len(b), have+step)
			}
		}
	})
}

func TestReaderTellsWhatAClientSaid(t *testing.T) {
	c := newClient()
	c.head(1, true, get...)
	c.head(3, false, append(slices.Clone(get), "cookie", "a=1", "content-length", "5")...)
	_ = c.fr.WriteDataPadded(3, false, []byte("hel"), make([]byte, 7))
	_ = c.fr.WriteData(3, true, []byte("lo"))
	_ = c.fr.WritePing(false, [8]byte{1})
	_ = c.fr.WriteWindowUpdate(0, 77)
	_ = c.fr.WriteWindowUpdate(3, 0)
	_ = c.fr.WriteRSTStream(3, http2.ErrCodeCancel)
	_ = c.fr.WriteRawFrame(0x77, 3, 9, []byte("unknown"))
	_ = c.fr.WriteGoAway(0, 0, nil)
	b := c.block(append(slices.Clone(get), "x-long", strings.Repeat("v", 300))...)
	_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, BlockFragment: b[:20], EndStream: true, Priority: http2.PriorityParam{Weight: 3, StreamDep: 1}})
	_ = c.fr.WriteContinuation(5, false, b[20:100])
	_ = c.fr.WriteContinuation(5, true, b[100:])
	want := strings.Join([]string{
		"kind 4 stream 0 payload  code 0 inc 0",
		`head 1 end true bad false large false "GET" "https" "a.example" "/"`,
		`head 3 end false bad false large false "GET" "https" "a.example" "/" cookie="a=1" content-length="5"`,
		`data 3 "hello" flow 13 end true`,
		"kind 6 stream 0 payload 0100000000000000 code 0 inc 0",
		"kind 8 stream 0 payload  code 0 inc 77",
		"kind 9 stream 3 payload  code 1 inc 0",
		"kind 3 stream 3 payload  code 8 inc 0",
		"kind 7 stream 0 payload  code 0 inc 0",
		`head 5 end true bad false large false "GET" "https" "a.example" "/" x-long="` + strings.Repeat("v", 300) + `"`,
		`rest "" 0 <nil>`,
	}, "\n")
	if got := whole(c.Bytes()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, step := range []int{1, 2, 7, 64} {
		if got := pieces(c.Bytes(), step); got != want {
			t.Errorf("in pieces of %d:\n%s\nwant\n%s", step, got, want)
		}
	}
}

func TestReaderEndsConnections(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(c *client)
		want *Error
	}{
		{"preface", func(c *client) { c.Reset(); c.WriteString("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n") }, ErrPreface},
		{"no settings", func(c *client) { c.Truncate(len(wire.Preface)); _ = c.fr.WritePing(false, [8]byte{}) }, ErrFirst},
		{"large frame", func(c *client) { _ = c.fr.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, maxTaken+1)) }, ErrSize},
		{"large ping", func(c *client) { _ = c.fr.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, MaxFrame+1)) }, ErrSize},
		{"large head", func(c *client) { _ = c.fr.WriteRawFrame(http2.FrameHeaders, 5, 1, make([]byte, 30<<10)) }, ErrBlock},
		{"interleaved", func(c *client) {
			_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get...)})
			_ = c.fr.WritePing(false, [8]byte{})
		}, ErrInterleaved},
		{"other stream continued", func(c *client) {
			_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get...)})
			_ = c.fr.WriteContinuation(3, true, nil)
		}, ErrInterleaved},
		{"lone continuation", func(c *client) { _ = c.fr.WriteContinuation(1, true, nil) }, ErrContinuation},
		{"endless continuation", func(c *client) {
			_ = c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get...)})
			for range 40 {
				_ = c.fr.WriteContinuation(1, false, bytes.Repeat(c.block("a", "b"), 1000))
			}
		}, ErrBlock},
		{"data on 0", func(c *client) { _ = c.fr.WriteData(0, true, []byte("x")) }, ErrStream},
		{"head on 0", func(c *client) { c.head(0, true, get...) }, ErrStream},
		{"settings on 1", func(c *client) { _ = c.fr.WriteRawFrame(http2.FrameSettings, 0, 1, nil) }, ErrStream},
		{"settings of 5", func(c *client) { _ = c.fr.WriteRawFrame(http2.FrameSettings, 0, 0, make([]byte, 5)) }, ErrSize},
		{"ack with payload", func(c *client) { _ = c.fr.WriteRawFrame(http2.FrameSettings, 1, 0, make([]byte, 6)) }, ErrSize},
		{"ping of 7", func(c *client) { _ = c.fr.WriteRawFrame(http2.FramePing, 0, 0, make([]byte, 7)) }, ErrSize},
		{"padding", func(c *client) { _ = c.fr.WriteRawFrame(http2.FrameData, http2.FlagDataPadded, 1, []byte{3, 0, 0}) }, ErrPadding},
		{"padded head", func(c *client) { _ = c.fr.WriteRawFrame(http2.FrameHeaders, 0xc, 1, []byte{9, 0x82}) }, ErrPadding},
		{"push", func(c *client) { _ = c.fr.WriteRawFrame(http2.FramePushPromise, 4, 1, make([]byte, 8)) }, ErrPush},
		{"compression", func(c *client) {
			_ = c.fr.WriteRawFrame(http2.FrameHeaders, 5, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
		}, ErrCompression},
		{"table too large", func(c *client) { _ = c.fr.WriteRawFrame(http2.FrameHeaders, 5, 1, []byte{0x3f, 0xe1, 0x7f, 0x82}) }, ErrCompression},
		{"window 0", func(c *client) { _ = c.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, 0, make([]byte, 4)) }, ErrWindow},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClient()
			tc.do(c)
			for _, step := range []int{1 << 20, 13} {
				if got := pieces(c.Bytes(), step); !strings.HasSuffix(got, tc.want.Text) {
					t.Errorf("step %d: got\n%s\nwant %v", step, got, tc.want)
				}
			}
		})
	}
}

// request reads one head as Request does.
func request(t *testing.T, end bool, kv ...string) (*exchange.Exchange, *wire.Error, bool) {
	t.Helper()
	c := newClient()
	c.head(1, end, kv...)
	r := NewReader(DefaultTable, &wire.Limits{MaxHead: 4096, MaxFields: 20})
	for b := c.Bytes(); ; {
		ev, n, err := r.Next(b)
		if err != nil || n == 0 {
			t.Fatal("no head", err)
		}
		b = b[n:]
		if ev.Kind == Head {
			ex := new(exchange.Exchange)
			e, ok := r.Head.Request(ex, ev.End)
			return ex, e, ok
		}
	}
}

func TestRequest(t *testing.T) {
	with := func(kv ...string) []string { return append(slices.Clone(get), kv...) }
	for _, tc := range []struct {
		name string
		end  bool
		kv   []string
		err  *wire.Error
		bad  bool
		want string
	}{
		{"plain", true, get, nil, false, "GET a.example / NoBody"},
		{"names", true, with("x-forwarded-for", "1", "dnt", "1"), nil, false, "GET a.example / NoBody X-Forwarded-For=1 Dnt=1"},
		{"cookies", true, with("cookie", "a=1", "x-b", "2", "cookie", "c=3"), nil, false, "GET a.example / NoBody Cookie=a=1; c=3 X-B=2"},
		{"query", true, with()[:6:6], nil, true, ""},
		{"length", false, with("content-length", "7"), nil, false, "GET a.example / Sized7 Content-Length=7"},
		{"no length", false, get, nil, false, "GET a.example / Streamed"},
		{"length but no data", true, with("content-length", "7"), nil, true, ""},
		{"length 0", false, with("content-length", "0"), nil, false, "GET a.example / NoBody Content-Length=0"},
		{"two lengths", false, with("content-length", "7", "content-length", "7"), wire.ErrLengths, false, ""},
		{"odd length", false, with("content-length", "+7"), wire.ErrLength, true, ""},
		{"host for authority", true, []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "b.example"}, nil, false, "GET b.example / NoBody"},
		{"equal host", true, with("host", "A.example"), nil, false, "GET A.example / NoBody"},
		{"other host", true, with("host", "b.example"), wire.ErrHosts, true, ""},
		{"two hosts", true, with("host", "a.example", "host", "a.example"), wire.ErrHosts, true, ""},
		{"connection", true, with("connection", "close"), wire.ErrConnectionField, false, ""},
		{"keep-alive", true, with("keep-alive", "1"), wire.ErrConnectionField, false, ""},
		{"proxy-connection", true, with("proxy-connection", "1"), wire.ErrConnectionField, false, ""},
		{"transfer-encoding", true, with("transfer-encoding", "chunked"), wire.ErrConnectionField, false, ""},
		{"upgrade", true, with("upgrade", "websocket"), wire.ErrConnectionField, false, ""},
		{"te trailers", true, with("te", "trailers"), nil, false, "GET a.example / NoBody Te=trailers"},
		{"te gzip", true, with("te", "gzip"), wire.ErrConnectionField, false, ""},
		{"upper case", true, with("X-A", "1"), nil, true, ""},
		{"line end in value", true, with("x-a", "1\r\nx-b: 2"), nil, true, ""},
		{"nul", true, with("x-a", "\x00"), nil, true, ""},
		{"blank in name", true, with("x a", "1"), nil, true, ""},
		{"empty name", true, with("", "1"), nil, true, ""},
		{"unknown pseudo", true, append([]string{":x", "1"}, get...), nil, true, ""},
		{"twice", true, append([]string{":path", "/"}, get...), nil, true, ""},
		{"late pseudo", true, []string{":method", "GET", ":scheme", "https", "x-a", "1", ":path", "/"}, nil, true, ""},
		{"answer's pseudo", true, append([]string{":status", "200"}, get...), nil, true, ""},
		{"empty path", true, []string{":method", "GET", ":scheme", "https", ":path", ""}, nil, true, ""},
		{"no method", true, get[2:], nil, true, ""},
		{"other scheme", true, []string{":method", "GET", ":scheme", "ftp", ":authority", "a", ":path", "/"}, nil, true, ""},
		{"method of two words", true, []string{":method", "GET /x", ":scheme", "https", ":authority", "a", ":path", "/"}, wire.ErrMethod, false, ""},
		{"blank in path", true, []string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/a b"}, wire.ErrTarget, false, ""},
		{"fragment", true, []string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/a#b"}, wire.ErrTarget, false, ""},
		{"escape", true, []string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "/%g0"}, wire.ErrEscape, false, ""},
		{"absolute path", true, []string{":method", "GET", ":scheme", "https", ":authority", "a", ":path", "http://b/"}, wire.ErrTarget, true, ""},
		{"blank in authority", true, []string{":method", "GET", ":scheme", "https", ":authority", "a b", ":path", "/"}, wire.ErrHost, true, ""},
		{"options", true, []string{":method", "OPTIONS", ":scheme", "https", ":authority", "a", ":path", "*"}, nil, false, "OPTIONS a * NoBody"},
		{"connect", true, []string{":method", "CONNECT", ":authority", "a:443"}, wire.ErrConnect, false, ""},
		{"connect with path", true, []string{":method", "CONNECT", ":authority", "a:443", ":path", "/"}, nil, true, ""},
		{"expect", false, with("expect", "100-continue"), nil, false, "GET a.example / Streamed"},
		{"other expectation", false, with("expect", "x"), wire.ErrExpect, false, ""},
		{"large", true, with("x-a", strings.Repeat("v", 4096)), errLarge, false, ""},
		{"many", true, with(slices.Repeat([]string{"x-a", "1"}, 21)...), errLarge, false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ex, err, ok := request(t, tc.end, tc.kv...)
			if ok == tc.bad || err != tc.err {
				t.Fatalf("ok %v, error %v; want bad %v, error %v", ok, err, tc.bad, tc.err)
			}
			if tc.want == "" {
				return
			}
			r := &ex.Req
			got := fmt.Sprintf("%s %s %s %s", r.Method, r.Host, r.Path, map[exchange.Framing]string{
				exchange.NoBody: "NoBody", exchange.Sized: fmt.Sprint("Sized", r.Length), exchange.Streamed: "Streamed"}[r.Framing])
			for _, f := range r.Fields.All() {
				got += " " + f.Name + "=" + f.Value
			}
			if got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestBlocksGoOnAfterOneThatWasTooLarge(t *testing.T) {
	c := newClient()
	c.head(1, true, append(slices.Clone(get), "x-a", strings.Repeat("v", 2000), "x-b", strings.Repeat("w", 3000))...)
	c.head(3, true, append(slices.Clone(get), "x-c", "1")...)
	got := whole(c.Bytes())
	if !strings.Contains(got, "head 1 end true bad false large true") || !strings.Contains(got, `head 3 end true bad false large false "GET" "https" "a.example" "/" x-c="1"`) {
		t.Error(got)
	}
}

// decode reads a block as an HPACK decoder of its own does.
func decode(t *testing.T, d *hpack.Decoder, b []byte) []string {
	t.Helper()
	hf, err := d.DecodeFull(b)
	if err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	var out []string
	for _, f := range hf {
		out = append(out, f.Name+"="+f.Value)
	}
	return out
}

func TestEncoder(t *testing.T) {
	var e Encoder
	d := hpack.NewDecoder(4096, nil)
	e.SetTable(4096, 4096)
	heads := func(i int) []string {
		return []string{"Content-Type", "text/html", "Date", fmt.Sprint("day ", i/3), "Content-Length", fmt.Sprint(i), "Server", "x", "X-Frame-Options", "DENY",
			"Set-Cookie", fmt.Sprint("a=", i), "X-Own", "v", "Vary", fmt.Sprint(i % 7), "Cache-Control", strings.Repeat("c", i*3), strings.Repeat("n", 80), "long"}
	}
	for i := range 100 {
		switch i {
		case 30:
			e.SetTable(4096, 0)
			e.SetTable(4096, 100) // both between two blocks: the smaller must be told first
			d.SetMaxDynamicTableSize(0)
			d.SetAllowedMaxDynamicTableSize(100)
		case 60:
			e.SetTable(4096, 65536)
			d.SetAllowedMaxDynamicTableSize(65536)
		}
		kv := heads(i)
		b := e.Begin(nil, 100+i)
		want := []string{fmt.Sprint(":status=", 100+i)}
		for j := 0; j < len(kv); j += 2 {
			b = e.Field(b, kv[j], kv[j+1])
			want = append(want, strings.ToLower(kv[j])+"="+kv[j+1])
		}
		if got := decode(t, d, b); !slices.Equal(got, want) {
			t.Fatalf("head %d:\ngot  %q\nwant %q", i, got, want)
		}
	}
}

func TestEncoderDoesNotAllocate(t *testing.T) {
	var e Encoder
	e.SetTable(4096, 4096)
	b := make([]byte, 0, 4096)
	n := testing.AllocsPerRun(100, func() {
		b = e.Begin(b[:0], 200)
		b = e.Field(b, "Content-Type", "text/plain")
		b = e.Field(b, "Content-Length", "1024")
		b = e.Field(b, "X-Own", "value")
		b = e.Field(b, "Date", "Sun, 22 Nov 2026 05:00:00 GMT")
	})
	if n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLongHeadIsContinued(t *testing.T) {
	var e Encoder
	e.SetTable(4096, 4096)
	b := BeginHead([]byte("before"), 5, true)
	b = e.Begin(b, 200)
	for i := range 3 {
		b = e.Field(b, fmt.Sprint("x-", i), strings.Repeat("v", 15000))
	}
	b = EndHead(b, len("before"))
	fr := http2.NewFramer(nil, bytes.NewReader(b[len("before"):]))
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f, err := fr.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	mh := f.(*http2.MetaHeadersFrame)
	if !mh.StreamEnded() || len(mh.Fields) != 4 || len(mh.Fields[3].Value) != 15000 || mh.StreamID != 5 {
		t.Errorf("got %v", mh)
	}
}

func TestWriter(t *testing.T) {
	var b []byte
	b = (&Own{Table: 8192, Streams: 100, Window: 1 << 18, HeadSize: 1 << 20}).Append(b)
	b = AppendSettingsAck(b)
	b = AppendWindow(b, 0, 1<<20)
	b = AppendPong(b, []byte("12345678"))
	b = AppendData(b, 7, bytes.Repeat([]byte("x"), MaxFrame+1), true)
	b = AppendReset(b, 9, Cancel)
	b = AppendGoAway(b, 11, EnhanceYourCalm)
	fr := http2.NewFramer(nil, bytes.NewReader(b))
	var got []string
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			break
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			_ = f.ForeachSetting(func(s http2.Setting) error { got = append(got, s.String()); return nil })
			got = append(got, fmt.Sprint("ack ", f.IsAck()))
		case *http2.DataFrame:
			got = append(got, fmt.Sprint("data ", len(f.Data()), f.StreamEnded()))
		case *http2.WindowUpdateFrame:
			got = append(got, fmt.Sprint("window ", f.StreamID, f.Increment))
		case *http2.PingFrame:
			got = append(got, fmt.Sprint("ping ", f.IsAck(), string(f.Data[:])))
		case *http2.RSTStreamFrame:
			got = append(got, fmt.Sprint("reset ", f.StreamID, f.ErrCode))
		case *http2.GoAwayFrame:
			got = append(got, fmt.Sprint("goaway ", f.LastStreamID, f.ErrCode))
		}
	}
	want := []string{"[HEADER_TABLE_SIZE = 8192]", "[MAX_CONCURRENT_STREAMS = 100]", "[INITIAL_WINDOW_SIZE = 262144]", "[MAX_FRAME_SIZE = 1048576]", "[MAX_HEADER_LIST_SIZE = 1048576]",
		"ack false", "ack true", "window 0 1048576", "ping true12345678", "data 16384 false", "data 1 true", "reset 9 CANCEL", "goaway 11 ENHANCE_YOUR_CALM"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestPeer(t *testing.T) {
	var buf bytes.Buffer
	for _, tc := range []struct {
		set  http2.Setting
		want *Error
	}{
		{http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31}, ErrSettingFlow},
		{http2.Setting{ID: http2.SettingEnablePush, Val: 2}, ErrSetting},
		{http2.Setting{ID: http2.SettingMaxFrameSize, Val: 100}, ErrSetting},
		{http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 24}, ErrSetting},
		{http2.Setting{ID: 0x99, Val: 1 << 31}, nil},
		{http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5}, nil},
		{http2.Setting{ID: http2.SettingHeaderTableSize, Val: 6}, nil},
	} {
		buf.Reset()
		_ = http2.NewFramer(&buf, nil).WriteSettings(tc.set)
		p := Peer{}
		if err := p.Apply(buf.Bytes()[9:]); err != tc.want {
			t.Errorf("%v: %v, want %v", tc.set, err, tc.want)
		}
		if tc.set.ID == http2.SettingInitialWindowSize && tc.want == nil && p.Window != 5 || tc.set.ID == http2.SettingHeaderTableSize && p.Table != 6 {
			t.Errorf("%v: %+v", tc.set, p)
		}
	}
}

func TestPatience(t *testing.T) {
	var p Patience
	n := 0
	for ; p.Cheap(100); n++ {
	}
	if n != maxCheap {
		t.Errorf("%d cheap frames in a second", n)
	}
	p = Patience{}
	for i := range int64(100000) {
		if !p.Cheap(100 + i/1000) {
			t.Fatalf("1000 a second are too many after %d", i)
		}
	}
	p = Patience{}
	for i := range 100000 {
		if p.Moved(); !p.Cheap(100) {
			t.Fatalf("frames among data are too many after %d", i)
		}
	}
	p = Patience{}
	for n = 0; p.Reset(100, 250); n++ {
	}
	if n != 500 {
		t.Errorf("%d resets in a second", n)
	}
}

func FuzzReader(f *testing.F) {
	c := newClient()
	c.head(1, false, get...)
	_ = c.fr.WriteDataPadded(1, true, []byte("hello"), make([]byte, 3))
	c.head(3, true, append(slices.Clone(get), "x-a", "1", "cookie", "c")...)
	_ = c.fr.WritePing(false, [8]byte{})
	_ = c.fr.WriteWindowUpdate(1, 5)
	f.Add(c.Bytes()[len(wire.Preface):], 3)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		b := append([]byte(wire.Preface), in...)
		one := whole(b)
		if got := pieces(b, min(max(step, 1), 100)); got != one {
			t.Errorf("in pieces:\n%s\nat once:\n%s", got, one)
		}
	})
}

func FuzzEncoder(f *testing.F) {
	f.Add("Content-Type", "text/html", "x-a", "b", uint32(4096), uint32(0))
	f.Add("Date", "now", "Date", "now", uint32(64), uint32(200))
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2 string, size1, size2 uint32) {
		ascii := func(s string) string { return strings.Map(func(r rune) rune { return r & 0x7f }, s) }
		n1, n2 = ascii(n1), ascii(n2)
		var e Encoder
		e.SetTable(4096, 4096)
		d := hpack.NewDecoder(4096, nil)
		for i, size := range []uint32{4096, size1, size1, size2, 4096} {
			e.SetTable(4096, size)
			d.SetAllowedMaxDynamicTableSize(size)
			b := e.Begin(nil, 200+i)
			want := []string{fmt.Sprint(":status=", 200+i)}
			for _, f := range [][2]string{{n1, v1}, {n2, v2}, {n1, v2}, {n1, v1}} {
				b = e.Field(b, f[0], f[1])
				want = append(want, strings.ToLower(f[0])+"="+f[1])
			}
			if got := decode(t, d, b); !slices.Equal(got, want) {
				t.Fatalf("got  %q\nwant %q", got, want)
			}
		}
	})
}
