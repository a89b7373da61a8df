package lanes

import (
	"bufio"
	"bytes"
	"cmp"
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
)

// framed is a conversation of one stream.
type framed struct {
	name  string
	entry string
	head  []string // fields, pseudo-header fields first; "$H" is the host
	// parts are of the body; the last ends the stream unless open is set.
	parts    []string
	trailers []string
	open     bool
	say      []string
	// want is what the client's view must hold, where it matters.
	want string
	// seen is how many requests reach the server, -1 for any number.
	seen int
	// differs says why the lanes may give different views.
	differs string
}

// differences are conversations of the corpus which the lanes show differently in frames.
var differences = map[string]string{
	"answer chunked":                         shortAnswer,
	"answer chunks with extensions":          shortAnswer,
	"answer chunk size padded":               shortAnswer,
	"answer with trailers":                   shortAnswer,
	"answer with trailers unannounced":       shortAnswer,
	"trailer of framing unannounced":         "whether the answer is out before the bad trailers are there is a matter of time",
	"answer shorter than said":               heldBack,
	"host with a comma":                      "an authority that the edge refuses and net/http does not: malformed on the loop, 400 in the handler lane",
	"head over the limit":                    "x/net/http2 allows some more for what each field costs",
	"head within the slack of a small limit": "the slack is for HTTP/1, and see below",
	"head over the slack of a small limit":   "x/net/http2 ends the connection for one long field, the loop answers 431",
	"head over a small limit":                "x/net/http2 ends the connection for one long field, the loop answers 431",
	"answer reset in its body":               heldBack,
}

const (
	shortAnswer = "x/net/http2 knows the length of a short answer when it sends the head"
	heldBack    = "x/net/http2 has not sent what it holds when the stream is reset"
)

// reframed makes a conversation of the corpus one in frames: the request as a client of
// HTTP/2 would say it. False where there is no such thing.
func reframed(c *case_) (framed, bool) {
	text := ""
	for _, s := range c.send {
		if strings.HasPrefix(s, "@") && s != "@split" && !strings.HasPrefix(s, "@wait") {
			return framed{}, false
		}
		if !strings.HasPrefix(s, "@") {
			text += s
		}
	}
	if c.entry == "behind" || c.entry == "beside" || c.entry == "patient" || c.entry == "slow" || c.entry == "two" {
		return framed{}, false
	}
	br := bufio.NewReader(strings.NewReader(text))
	r, err := http.ReadRequest(br)
	if err != nil || r.ProtoMinor != 1 || r.Header.Get("Upgrade") != "" || r.Header.Get("Expect") != "" || len(r.Host) == 0 || r.URL.IsAbs() {
		return framed{}, false
	}
	body, err := io.ReadAll(r.Body)
	if _, more := br.Peek(1); err != nil || more == nil {
		return framed{}, false
	}
	f := framed{name: c.name, entry: c.entry, say: c.say, seen: -1, differs: differences[c.name]}
	f.head = []string{":method", r.Method, ":scheme", "http", ":authority", r.Host, ":path", r.RequestURI}
	var names []string
	for k := range r.Header {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		switch k {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Te":
			continue
		}
		for _, v := range r.Header[k] {
			f.head = append(f.head, strings.ToLower(k), v)
		}
	}
	if len(body) > 0 {
		f.parts = []string{string(body)}
		if len(body) > 1000 {
			f.parts = []string{string(body[:500]), string(body[500:])}
		}
	}
	for k, vals := range r.Trailer {
		for _, v := range vals {
			f.trailers = append(f.trailers, strings.ToLower(k), v)
		}
		f.head = append(f.head, "trailer", k)
	}
	return f, true
}

// framedCases are those that make sense in frames only.
func framedCases() []framed {
	get := func(kv ...string) []string {
		return append([]string{":method", "GET", ":scheme", "http", ":authority", "$H", ":path", "/"}, kv...)
	}
	post := func(kv ...string) []string {
		return append([]string{":method", "POST", ":scheme", "http", ":authority", "$H", ":path", "/"}, kv...)
	}
	at := func(method, path string) []string {
		return []string{":method", method, ":scheme", "http", ":authority", "$H", ":path", path}
	}
	const refused, malformed = "  :status 400\n", "reset PROTOCOL_ERROR"
	return []framed{
		{name: "h2 get", head: get("x-a", "1", "cookie", "a=1", "cookie", "b=2", "accept-encoding", "br"), want: "  :status 200\n", seen: 1},
		{name: "h2 forwarded fields", head: get("x-forwarded-for", "1.2.3.4", "x-forwarded-proto", "x", "x-real-ip", "1"), want: "  :status 200\n", seen: 1},
		{name: "h2 forwarded fields, trusted", entry: "trust", head: get("x-forwarded-for", "1.2.3.4", "x-forwarded-proto", "https"), want: "  :status 200\n", seen: 1},
		{name: "h2 te", head: get("te", "trailers"), want: "  :status 200\n", seen: 1},
		{name: "h2 te gzip", head: get("te", "gzip"), want: refused, differs: "whose the text is"},
		{name: "h2 connection", head: get("connection", "x-a", "x-a", "1"), want: refused, differs: "whose the text is"},
		{name: "h2 keep-alive", head: get("keep-alive", "1"), want: refused, differs: "whose the text is"},
		{name: "h2 upgrade", head: get("upgrade", "websocket"), want: refused, differs: "whose the text is"},
		{name: "h2 transfer-encoding", head: post("transfer-encoding", "chunked"), parts: []string{"x"}, want: refused, differs: "whose the text is"},
		{name: "h2 host for authority", head: []string{":method", "GET", ":scheme", "http", ":path", "/", "host", "$H"}, want: "  :status 200\n", seen: 1},
		{name: "h2 equal host", head: get("host", "$H"), want: "  :status 200\n", seen: 1},
		{name: "h2 other host", head: get("host", "evil.test"), want: malformed},
		{name: "h2 two hosts", head: get("host", "$H", "host", "$H"), want: malformed},
		{name: "h2 no path", head: []string{":method", "GET", ":scheme", "http", ":authority", "$H"}, want: malformed},
		{name: "h2 empty path", head: at("GET", ""), want: malformed},
		{name: "h2 no scheme", head: []string{":method", "GET", ":authority", "$H", ":path", "/"}, want: malformed},
		{name: "h2 odd scheme", head: []string{":method", "GET", ":scheme", "ftp", ":authority", "$H", ":path", "/"}, want: malformed},
		{name: "h2 two paths", head: []string{":method", "GET", ":scheme", "http", ":authority", "$H", ":path", "/", ":path", "/"}, want: malformed},
		{name: "h2 late pseudo", head: []string{":method", "GET", ":scheme", "http", "x-a", "1", ":authority", "$H", ":path", "/"}, want: malformed},
		{name: "h2 unknown pseudo", head: []string{":method", "GET", ":scheme", "http", ":authority", "$H", ":path", "/", ":x", "1"}, want: malformed},
		{name: "h2 upper case", head: get("X-A", "1"), want: malformed},
		{name: "h2 blank in name", head: get("x a", "1"), want: malformed},
		{name: "h2 line end in value", head: get("x-a", "1\r\nx-b: 2"), want: malformed},
		{name: "h2 nul in value", head: get("x-a", "\x00"), want: malformed},
		{name: "h2 method of two words", head: at("GET /evil HTTP/1.1", "/"), want: refused},
		{name: "h2 blank in path", head: at("GET", "/a b"), want: refused, differs: "x/net/http2 resets where net/url cannot read the path"},
		{name: "h2 bad escape", head: at("GET", "/%zz"), differs: "x/net/http2 resets where net/url cannot read the path"},
		{name: "h2 no slash", head: at("GET", "a"), differs: "x/net/http2 resets where net/url cannot read the path"},
		{name: "h2 absolute path", head: at("GET", "http://evil.test/"), want: malformed},
		{name: "h2 fragment", head: at("GET", "/a#b"), want: refused},
		{name: "h2 dots", head: at("GET", "/a/../b/./c//d?x=../y"), want: "  :status 200\n", seen: 1},
		{name: "h2 dots kept", entry: "dots", head: at("GET", "/a/../b"), want: "  :status 200\n", seen: 1},
		{name: "h2 encoded slash", entry: "strict", head: at("GET", "/a%2fb"), want: refused},
		{name: "h2 underscore refused", entry: "under", head: get("x_a", "1"), want: refused},
		{name: "h2 underscore dropped", entry: "drop", head: get("x_a", "1"), want: "  :status 200\n", seen: 1},
		{name: "h2 options", head: at("OPTIONS", "*"), want: "  :status 200\n"},
		{name: "h2 connect", head: []string{":method", "CONNECT", ":authority", "$H:443"}, want: "  :status 501\n"},
		{name: "h2 connect with path", head: []string{":method", "CONNECT", ":scheme", "http", ":authority", "$H:443", ":path", "/"}, want: malformed},
		{name: "h2 unknown method", head: at("BREW", "/"), want: "  :status 200\n", seen: 1},
		{name: "h2 large head", entry: "small", head: get("x-a", strings.Repeat("a", 6000)), differs: "x/net/http2 ends the connection for one long field, the loop answers 431"},
		{name: "h2 sized", head: post("content-length", "5"), parts: []string{"he", "llo"}, want: "  :status 200\n", seen: 1},
		{name: "h2 sized in frames of one", head: post("content-length", "5"), parts: []string{"h", "e", "l", "l", "o"}, want: "  :status 200\n", seen: 1},
		{name: "h2 unsized", head: post(), parts: []string{"hello"}, want: "  :status 200\n", seen: 1},
		{name: "h2 unsized and empty", head: post(), parts: []string{""}, want: "  :status 200\n", seen: 1},
		{name: "h2 post without a body", head: post(), want: "  :status 200\n", seen: 1},
		{name: "h2 sized zero", head: post("content-length", "0"), parts: []string{""}, want: "  :status 200\n", seen: 1},
		{name: "h2 large body", head: post("content-length", "200000"), parts: []string{strings.Repeat("a", 100_000), strings.Repeat("b", 100_000)}, want: "  :status 200\n", seen: 1},
		{name: "h2 large body unsized", head: post(), parts: []string{strings.Repeat("a", 100_000), strings.Repeat("b", 100_000)}, want: "  :status 200\n", seen: 1},
		{name: "h2 too much", head: post("content-length", "3"), parts: []string{"hello"}, want: malformed, seen: -1, differs: "what the server sees before"},
		{name: "h2 too little", head: post("content-length", "9"), parts: []string{"hello"}, seen: -1, differs: "the handler lane takes it for a client that went away"},
		{name: "h2 two lengths", head: post("content-length", "5", "content-length", "5"), parts: []string{"hello"}, want: refused},
		{name: "h2 odd length", head: post("content-length", "0x5"), parts: []string{"hello"}, want: malformed},
		{name: "h2 trailers", head: post("trailer", "X-T"), parts: []string{"hello"}, trailers: []string{"x-t", "1", "x-u", "2"}, want: "  :status 200\n", seen: 1},
		{name: "h2 trailers unannounced", head: post(), parts: []string{"hello"}, trailers: []string{"x-t", "1"}, want: "  :status 200\n", seen: 1},
		{name: "h2 expectation", head: post("content-length", "5", "expect", "100-continue"), parts: []string{"hello"}, want: "  :status 200\n", seen: 1, differs: "the body may be there before 100 is said"},
		{name: "h2 early answer", head: post("content-length", "100000"), parts: []string{"hello"}, open: true, say: []string{"@early", "HTTP/1.1 413 Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", "@close"}, want: "  :status 413\n", seen: 1},
		{name: "h2 dead server", head: get(), say: []string{"@reset"}, want: "  :status 502\n", seen: -1, differs: "how often it is tried"},
		{name: "h2 answer cut", head: get(), say: []string{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", "@wait 50ms", "@close"}, want: "reset INTERNAL_ERROR", seen: 1, differs: heldBack},
		{name: "h2 answer cut in chunks", head: get(), say: []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n", "@wait 50ms", "@close"}, want: "reset INTERNAL_ERROR", seen: 1},
	}
}

// play asks and returns what came of it.
func (c *framed) play(t *testing.T, nc net.Conn, host string) string {
	fr := http2.NewFramer(nc, bufio.NewReader(nc))
	fr.AllowIllegalWrites = true
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var hb bytes.Buffer
	enc := hpack.NewEncoder(&hb)
	block := func(kv []string) []byte {
		hb.Reset()
		for i := 0; i < len(kv); i += 2 {
			v := kv[i+1]
			if i < 10 || kv[i] == "host" {
				v = strings.ReplaceAll(v, "$H", host)
			}
			_ = enc.WriteField(hpack.HeaderField{Name: kv[i], Value: v})
		}
		return bytes.Clone(hb.Bytes())
	}
	_, _ = io.WriteString(nc, http2.ClientPreface)
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 24})
	_ = fr.WriteWindowUpdate(0, 1<<24)
	_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(c.head), EndHeaders: true, EndStream: len(c.parts) == 0 && !c.open})
	for i, p := range c.parts {
		last := i == len(c.parts)-1
		for len(p) > 16000 {
			_ = fr.WriteData(1, false, []byte(p[:16000]))
			p = p[16000:]
		}
		_ = fr.WriteData(1, last && !c.open && len(c.trailers) == 0, []byte(p))
	}
	if len(c.trailers) > 0 {
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(c.trailers), EndHeaders: true, EndStream: true})
	}
	var out strings.Builder
	var body []byte
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			fmt.Fprintf(&out, "  body %s\n  end %v\n", short(body), err)
			return out.String()
		}
		ended := false
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			var lines []string
			for _, x := range f.Fields {
				if x.Name != "date" {
					lines = append(lines, fmt.Sprintf("  %s %s\n", x.Name, strings.Trim(fmt.Sprintf("%+q", x.Value), `"`)))
				}
			}
			slices.Sort(lines)
			out.WriteString(strings.Join(lines, "") + "\n")
			ended = f.StreamEnded()
		case *http2.DataFrame:
			body = append(body, f.Data()...)
			ended = f.StreamEnded()
		case *http2.RSTStreamFrame:
			fmt.Fprintf(&out, "  body %s\n  reset %v\n", short(body), f.ErrCode)
			return out.String()
		case *http2.GoAwayFrame:
			fmt.Fprintf(&out, "  goaway %v\n", f.ErrCode)
		}
		if ended {
			fmt.Fprintf(&out, "  body %s\n", short(body))
			return out.String()
		}
	}
}

func sortedLines(s string) string {
	lines := strings.SplitAfter(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// TestCorpusOfFrames sends over HTTP/2 what the corpus has for HTTP/1.1, and more.
func TestCorpusOfFrames(t *testing.T) {
	cases := framedCases()
	for _, table := range corpus {
		for _, c := range table() {
			if f, is := reframed(&c); is {
				cases = append(cases, f)
			}
		}
	}
	well := newBackend(t, []string{"HTTP/1.1 200 OK\r\nX-Probe: yes\r\nContent-Length: 0\r\n\r\n"}, nil)
	var edges [2]*edge
	backends := make([][2]*backend, len(cases))
	for lane := range names {
		var y strings.Builder
		y.WriteString("http:\n  routers:\n    probe: {rule: \"Host(`probe.test`)\", service: probe}\n")
		for i := range cases {
			fmt.Fprintf(&y, "    c%d: {rule: \"Host(`%s`)\", service: c%d}\n", i, hostOf(clear_, i), i)
		}
		fmt.Fprintf(&y, "  services:\n    probe: {loadBalancer: {servers: [{url: \"http://%s\"}]}}\n", well.addr())
		for i, c := range cases {
			backends[i][lane] = newBackend(t, c.say, nil)
			fmt.Fprintf(&y, "    c%d: {loadBalancer: {servers: [{url: \"http://%s\"}]}}\n", i, backends[i][lane].addr())
		}
		edges[lane] = startEdge(t, names[lane], y.String())
	}
	type view struct{ client, server string }
	got := make([][2]view, len(cases))
	var wg sync.WaitGroup
	room := make(chan struct{}, 16)
	for i := range cases {
		for lane := range names {
			room <- struct{}{}
			wg.Go(func() {
				defer func() { <-room }()
				c := &cases[i]
				nc := edges[lane].dial(t, cmp.Or(c.entry, "web"))
				_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
				client := c.play(t, nc, hostOf(clear_, i))
				_ = nc.Close()
				got[i][lane] = view{client, sortedLines(backends[i][lane].view())}
			})
		}
	}
	wg.Wait()
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for lane, v := range got[i] {
				if !strings.Contains(v.client, c.want) {
					t.Errorf("%s: no %q\nclient:\n%sserver:\n%s", names[lane], c.want, v.client, v.server)
				}
				if n := backends[i][lane].count(); c.seen >= 0 && n != c.seen {
					t.Errorf("%s: the server met %d requests, not %d\nclient:\n%sserver:\n%s", names[lane], n, c.seen, v.client, v.server)
				}
			}
			if a, b := got[i][0], got[i][1]; c.differs == "" && a != b {
				t.Errorf("the lanes differ:\n-- %s\n%s->\n%s-- %s\n%s->\n%s", names[0], a.client, a.server, names[1], b.client, b.server)
			}
		})
	}
	for lane := range names {
		edges[lane].stop()
	}
	t.Logf("%d conversations", len(cases))
}
