package wire

import (
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"crypto/tls"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// prepared parses a head and takes it to what a server would get, as "Name: value" lines.
func prepared(t *testing.T, head string, fw *Forwarding, set func(*exchange.Exchange)) (lines []string, ex *exchange.Exchange, err error) {
	t.Helper()
	ex = &exchange.Exchange{}
	if n, err := ParseRequest([]byte(crlf(head)), &ex.Req, nil); n == 0 || err != nil {
		t.Fatalf("%q: %d, %v", head, n, err)
	}
	ex.Req.Peer = netip.MustParseAddrPort("127.0.0.1:4000")
	ex.Req.PeerTrusted = fw.Trusts(ex.Req.Peer.Addr())
	if set != nil {
		set(ex)
	}
	if err := PrepareRequest(ex, fw); err != nil {
		return nil, ex, err
	}
	OutgoingRequest(ex)
	for _, f := range ex.Req.Fields.All() {
		lines = append(lines, f.Name+": "+f.Value)
	}
	return lines, ex, nil
}

const evil = `X-Forwarded-For: 9.9.9.9
X-Forwarded-Host: evil.test
X-Forwarded-Port: 99
X-Forwarded-Proto: https
X-Forwarded-Server: evil
X-Real-Ip: 8.8.8.8
X-Forwarded-Method: PUT
X-Forwarded-Uri: /evil
X-Forwarded-Prefix: /evil
X-Forwarded-Tls-Client-Cert: e
X-Forwarded-Tls-Client-Cert-Info: e
X_FORWARDED-for: 2.2.2.2
X_Real_Ip: 3.3.3.3
X.Forwarded.For: 4.4.4.4
x~real!ip: 5.5.5.5
X-Forwarded-Scheme: https
Forwarded: for=9.9.9.9
X-Forwarded-User: root
X-Forwarded-Ssl: on
True-Client-Ip: 7.7.7.7
`

func TestForwarded(t *testing.T) {
	own := func(host, port, proto string) []string {
		return []string{"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: " + host, "X-Forwarded-Port: " + port, "X-Forwarded-Proto: " + proto, "X-Forwarded-Server: edge", "X-Real-Ip: 127.0.0.1"}
	}
	identity := "Accept-Encoding: identity"
	trusted := &Forwarding{Hostname: "edge", Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	secure := func(ex *exchange.Exchange) { ex.Req.TLS = &tls.ConnectionState{} }
	tests := map[string]struct {
		head string
		fw   *Forwarding
		set  func(*exchange.Exchange)
		want []string
	}{
		"plain": {"GET / HTTP/1.1\nHost: a.test\n\n", &Forwarding{Hostname: "edge"}, nil, append(own("a.test", "80", "http"), identity)},
		"names kept, coding kept": {"GET / HTTP/1.1\nHost: a.test\nx-lOw: 1\naccept-encoding: br\n\n", &Forwarding{Hostname: "edge"}, nil,
			append([]string{"x-lOw: 1", "accept-encoding: br"}, own("a.test", "80", "http")...)},
		"tls": {"GET / HTTP/1.1\nHost: a.test\n\n", &Forwarding{Hostname: "edge"}, secure, append(own("a.test", "443", "https"), identity)},
		"untrusted": {"GET / HTTP/1.1\nHost: a.test:81\n" + evil + "\n", &Forwarding{Hostname: "edge"}, nil,
			slices.Concat([]string{"Forwarded: for=9.9.9.9", "X-Forwarded-User: root", "X-Forwarded-Ssl: on", "True-Client-Ip: 7.7.7.7"}, own("a.test:81", "81", "http"), []string{identity})},
		"trusted": {"GET / HTTP/1.1\nHost: a.test\nX-Forwarded-For: 9.9.9.9\nX-Forwarded-Host: evil.test\nX-Forwarded-Port: 99\nX-Forwarded-Proto: https\nX-Forwarded-Server: evil\nX-Real-Ip: 8.8.8.8\n\n", trusted, nil,
			[]string{"X-Forwarded-For: 9.9.9.9, 127.0.0.1", "X-Forwarded-Host: evil.test", "X-Forwarded-Port: 99", "X-Forwarded-Proto: https", "X-Forwarded-Server: edge", "X-Real-Ip: 8.8.8.8", identity}},
		"trusted, several, empty": {"GET / HTTP/1.1\nHost: a.test\nX-Forwarded-For: 1.1.1.1\nX-Forwarded-For: 2.2.2.2\nX-Forwarded-Host:\n\n", trusted, nil,
			[]string{"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 127.0.0.1", "X-Forwarded-Host: a.test", "X-Forwarded-Port: 80", "X-Forwarded-Proto: http", "X-Forwarded-Server: edge", "X-Real-Ip: 127.0.0.1", identity}},
		"trusted, empty for": {"HEAD / HTTP/1.1\nHost: a.test\nX-Forwarded-For:\n\n", trusted, nil,
			[]string{"X-Forwarded-For: , 127.0.0.1", "X-Forwarded-Host: a.test", "X-Forwarded-Port: 80", "X-Forwarded-Proto: http", "X-Forwarded-Server: edge", "X-Real-Ip: 127.0.0.1"}},
		"trusted proto decides the port": {"HEAD / HTTP/1.1\nHost: a.test\nX-Forwarded-Proto: https\n\n", trusted, nil,
			[]string{"X-Forwarded-Proto: https", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: a.test", "X-Forwarded-Port: 443", "X-Forwarded-Server: edge", "X-Real-Ip: 127.0.0.1"}},
		"not appended": {"HEAD / HTTP/1.1\nHost: a.test\nX-Forwarded-For: 9.9.9.9\n\n", &Forwarding{Hostname: "edge", Insecure: true, NotAppend: true}, nil,
			[]string{"X-Forwarded-For: 9.9.9.9", "X-Forwarded-Host: a.test", "X-Forwarded-Port: 80", "X-Forwarded-Proto: http", "X-Forwarded-Server: edge", "X-Real-Ip: 127.0.0.1"}},
		"scheme fields": {"HEAD / HTTP/1.1\nHost: a.test\nX-Scheme: https\n\n", &Forwarding{Hostname: "edge", SchemeFields: true}, nil,
			append(own("a.test", "80", "http"), "X-Forwarded-Scheme: http", "X-Scheme: http")},
		"scheme fields of a websocket": {"GET / HTTP/1.1\nHost: a.test\nConnection: Upgrade\nUpgrade: foo, WebSocket\nRange: x\n\n", &Forwarding{Hostname: "edge", SchemeFields: true}, secure,
			slices.Concat([]string{"Range: x"}, own("a.test", "443", "wss"), []string{"X-Forwarded-Scheme: wss", "X-Scheme: wss", "Connection: Upgrade", "Upgrade: foo, WebSocket"})},
		"scheme fields follow a trusted proto": {"HEAD / HTTP/1.1\nHost: a.test\nX-Forwarded-Proto: https\nX-Scheme: a\nX-Forwarded-Scheme: b\n\n", &Forwarding{Insecure: true, SchemeFields: true}, nil,
			[]string{"X-Forwarded-Proto: https", "X-Scheme: https", "X-Forwarded-Scheme: https", "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: a.test", "X-Forwarded-Port: 443", "X-Real-Ip: 127.0.0.1"}},
		"attack by Connection": {"HEAD / HTTP/1.1\nHost: a.test\nConnection: close, X-Forwarded-For, X-Real-Ip, X-Forwarded-Proto, X-Own, Host\nX-Own: 1\nConnection: X-Forwarded-Server\n\n", &Forwarding{Hostname: "edge"}, nil, own("a.test", "80", "http")},
		"hop by hop": {"HEAD / HTTP/1.1\nHost: a.test\nKeep-Alive: 1\nProxy-Connection: x\nProxy-Authorization: x\nProxy-Authenticate: x\nUpgrade: x\nTE: gzip, trailers\n\n", &Forwarding{Hostname: "edge"}, nil,
			append(own("a.test", "80", "http"), "Te: trailers")},
		"websocket": {"GET / HTTP/1.1\nHost: a.test\nConnection: keep-alive, Upgrade\nUpgrade: websocket\nRange: x\n\n", &Forwarding{Hostname: "edge"}, secure,
			slices.Concat([]string{"Range: x"}, own("a.test", "443", "wss"), []string{"Connection: Upgrade", "Upgrade: websocket"})},
		"spelling of a websocket's fields": {"GET / HTTP/1.1\nHost: a.test\nconnection: upgrade\nupgrade: websocket\nsec-websocket-key: k\nSec-Websocket-Version: 13\nSEC-WEBSOCKET-PROTOCOL: p\nsec-websocket-extensions: e\nsec-websocket-other: o\nRange: x\n\n", &Forwarding{Hostname: "edge"}, nil,
			slices.Concat([]string{"Sec-WebSocket-Key: k", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: p", "Sec-WebSocket-Extensions: e", "sec-websocket-other: o", "Range: x"}, own("a.test", "80", "ws"), []string{"Connection: Upgrade", "Upgrade: websocket"})},
		"another upgrade": {"HEAD / HTTP/1.1\nHost: a.test\nConnection: Upgrade\nUpgrade: tcp\n\n", &Forwarding{Hostname: "edge"}, nil,
			append(own("a.test", "80", "http"), "Connection: Upgrade", "Upgrade: tcp")},
		"h2c dropped": {"HEAD / HTTP/1.1\nHost: a.test\nConnection: Upgrade, HTTP2-Settings\nHTTP2-Settings: x\nUpgrade: h2c\n\n", &Forwarding{Hostname: "edge"}, nil, own("a.test", "80", "http")},
		"zone": {"HEAD / HTTP/1.1\nHost: a.test\n\n", &Forwarding{}, func(ex *exchange.Exchange) { ex.Req.Peer = netip.MustParseAddrPort("[fe80::1%eth0]:1") },
			[]string{"X-Forwarded-For: fe80::1", "X-Forwarded-Host: a.test", "X-Forwarded-Port: 80", "X-Forwarded-Proto: http", "X-Real-Ip: fe80::1"}},
		"what middlewares say": {"HEAD / HTTP/1.1\nHost: a.test\nX-Replaced-Path: /admin\nx_replaced-path: /admin\nX-Forwarded-Prefix: /admin\n\n", &Forwarding{Hostname: "edge"}, nil, own("a.test", "80", "http")},
		"aliases deleted":      {"HEAD / HTTP/1.1\nHost: a.test\nX.A: 1\nX_A: 1\nX~A: 1\nx!a: 1\nX-B2: 2\n\n", &Forwarding{Hostname: "edge", Alias: DeleteUnderscore}, nil, append([]string{"X-B2: 2"}, own("a.test", "80", "http")...)},
		"underscores deleted":  {"HEAD / HTTP/1.1\nHost: a.test\nX_A: 1\nX-B: 2\n\n", &Forwarding{Hostname: "edge", Underscore: DeleteUnderscore}, nil, append([]string{"X-B: 2"}, own("a.test", "80", "http")...)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, _, err := prepared(t, tt.head, tt.fw, tt.set)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Errorf("error %v, fields\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestPrepareKeepsListedConnectionFields(t *testing.T) {
	fw := &Forwarding{Connection: []string{"x-kept"}}
	ex := &exchange.Exchange{}
	if n, err := ParseRequest([]byte(crlf("GET / HTTP/1.1\nHost: a\nConnection: X-Kept, X-Gone\nX-Kept: 1\nX-Gone: 1\n\n")), &ex.Req, nil); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	if err := PrepareRequest(ex, fw); err != nil {
		t.Fatal(err)
	}
	if !ex.Req.Fields.Has("X-Kept") || ex.Req.Fields.Has("X-Gone") || ex.Req.Fields.Get("Connection") != "X-Kept" {
		t.Errorf("middlewares see %v", ex.Req.Fields.All())
	}
	OutgoingRequest(ex)
	if ex.Req.Fields.Has("X-Kept") || ex.Req.Fields.Has("Connection") {
		t.Errorf("the server sees %v", ex.Req.Fields.All())
	}
}

func TestPrepareRefuses(t *testing.T) {
	for _, name := range []string{"X_A", "X.A", "X`A", "X|A"} {
		if _, _, err := prepared(t, "GET / HTTP/1.1\nHost: a\n"+name+": 1\n\n", &Forwarding{Alias: RejectUnderscore}, nil); err != ErrUnderscore {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := prepared(t, "GET / HTTP/1.1\nHost: a\nX.A: 1\nX-1: 2\n\n", &Forwarding{Underscore: RejectUnderscore}, nil); err != nil {
		t.Error(err)
	}
	if _, _, err := prepared(t, "GET / HTTP/1.1\nHost: a\nX_A: 1\n\n", &Forwarding{Underscore: RejectUnderscore}, nil); err != ErrUnderscore {
		t.Errorf("underscore: %v", err)
	}
	if _, _, err := prepared(t, "GET /a%2fb HTTP/1.1\nHost: a\n\n", &Forwarding{Deny: EncodedSlash}, nil); err != ErrEncodedChar {
		t.Errorf("encoded slash: %v", err)
	}
	_, ex, err := prepared(t, "GET /a/../%62?x;y;z HTTP/1.1\nHost: a\n\n", &Forwarding{KeepDots: true, EncodeSemicolons: true}, nil)
	if err != nil || ex.Req.Path != "/a/../b" || ex.Req.Query != "x%3By%3Bz" {
		t.Errorf("%v, %q ? %q", err, ex.Req.Path, ex.Req.Query)
	}
	_, ex, err = prepared(t, "GET /a;b?x=1;y;&z HTTP/1.1\nHost: a\n\n", &Forwarding{}, nil)
	if err != nil || ex.Req.Path != "/a;b" || ex.Req.Query != "x=1&y&&z" || ex.Req.Target != "/a;b?x=1;y;&z" {
		t.Errorf("%v, %q ? %q of %q", err, ex.Req.Path, ex.Req.Query, ex.Req.Target)
	}
}

func TestOutgoingResponse(t *testing.T) {
	ex := &exchange.Exchange{}
	in := crlf("HTTP/1.1 200 X\nConnection: X-A\nX-A: 1\nX-B: 2\nKeep-Alive: 1\nProxy-Connection: x\nUpgrade: h2c\nconnection: close, Content-Length\nTE: x\nProxy-Authenticate: x\nContent-Length: 2\n\n")
	if n, err := ParseResponse([]byte(in), &ex.Resp, "GET", nil); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	OutgoingResponse(ex)
	if got := string(AppendResponse(nil, &ex.Resp, ResponseOptions{})); got != crlf("HTTP/1.1 200 X\nX-B: 2\nContent-Length: 2\n\n") {
		t.Errorf("%q", got)
	}
}

func TestAppendRequest(t *testing.T) {
	for in, want := range map[string]string{
		"GET /x? HTTP/1.0\n\n":                                     "GET /x? HTTP/1.1\nHost: \n\n",
		"POST / HTTP/1.1\nHost: a\n\n":                             "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
		"GET / HTTP/1.1\nHost: a\nContent-Length: 0\nX: y\n\n":     "GET / HTTP/1.1\nHost: a\nX: y\n\n",
		"DELETE / HTTP/1.1\nHost: a\nX: y\ncontent-length: 3\n\n":  "DELETE / HTTP/1.1\nHost: a\nContent-Length: 3\nX: y\n\n",
		"GET / HTTP/1.1\nTransfer-Encoding: chunked\nHost: a\n\n":  "GET / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n",
		"GET http://b/p?q HTTP/1.1\nHost: a\nx-MiXed: a, b  c\n\n": "GET /p?q HTTP/1.1\nHost: b\nx-MiXed: a, b  c\n\n",
	} {
		var r exchange.Request
		if n, err := ParseRequest([]byte(crlf(in)), &r, nil); n == 0 || err != nil {
			t.Fatal(in, n, err)
		}
		if got := string(AppendRequest(nil, &r, RequestOptions{})); got != crlf(want) {
			t.Errorf("%q: %q, want %q", in, got, crlf(want))
		}
	}
	ex := &exchange.Exchange{}
	ex.Req.Method, ex.Req.Path, ex.Req.Host = "GET", "/x", "a"
	ex.Backend.Endpoint = &exchange.Endpoint{Host: "ep:1", Path: "/base"}
	ex.Backend.DropHost = true
	o := OptionsFor(ex)
	o.Close = true
	if got := string(AppendRequest(nil, &ex.Req, o)); got != crlf("GET /base/x HTTP/1.1\nHost: ep:1\nConnection: close\n\n") {
		t.Errorf("%q", got)
	}
}

func TestNewForwarding(t *testing.T) {
	ep := &config.EntryPoint{}
	ep.SetDefaults()
	no := false
	ep.HTTP.EncodedCharacters = &config.EntryPointEncodedChars{AllowEncodedSlash: &no}
	ep.HTTP.UnderscoreHeadersStrategy = "delete"
	ep.ForwardedHeaders.TrustedIPs = []string{"10.0.0.0/8", "::1", "192.0.2.7"}
	fw, err := NewForwarding(ep, "edge")
	if err != nil {
		t.Fatal(err)
	}
	if fw.Deny != EncodedSlash || fw.KeepDots || fw.Underscore != DeleteUnderscore || fw.Hostname != "edge" {
		t.Errorf("%+v", fw)
	}
	for a, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "::1": true, "192.0.2.7": true, "192.0.2.8": false, "fe80::1%e": false} {
		if fw.Trusts(netip.MustParseAddr(a)) != want {
			t.Errorf("trusts %s: %v", a, !want)
		}
	}
	ep.ForwardedHeaders.TrustedIPs = []string{"ten"}
	if _, err := NewForwarding(ep, ""); err == nil {
		t.Error("a bad range passes")
	}
	ep.ForwardedHeaders.TrustedIPs = nil
	ep.HTTP.AliasHeadersStrategy = "Reject"
	if fw, err := NewForwarding(ep, ""); err != nil || fw.Alias != RejectUnderscore {
		t.Errorf("%+v, %v", fw, err)
	}
	ep.HTTP.UnderscoreHeadersStrategy = "burn"
	if _, err := NewForwarding(ep, ""); err == nil {
		t.Error("a bad strategy passes")
	}
}

func TestHostPort(t *testing.T) {
	for in, want := range map[string]string{"a": "", "a:1": "1", "a:": "", "[::1]": "", "[::1]:8": "8", "::1": "", "": "", ":5": "5"} {
		if got := HostPort(in); got != want {
			t.Errorf("HostPort(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestForwardingDoesNotAllocate(t *testing.T) {
	in := []byte(crlf("GET /api/things?id=1 HTTP/1.1\nHost: app.example.test\nUser-Agent: Mozilla/5.0\nAccept: */*\nAccept-Encoding: gzip\nConnection: keep-alive\nX-Forwarded-For: 9.9.9.9\nCookie: a=b\n\n"))
	var ex exchange.Exchange
	fw := &Forwarding{Hostname: "edge"}
	peer := netip.MustParseAddrPort("192.0.2.77:4000")
	out := make([]byte, 0, 4096)
	run := func() {
		ex.Reset()
		ParseRequest(in, &ex.Req, nil)
		ex.Req.Peer = peer
		if err := PrepareRequest(&ex, fw); err != nil {
			t.Fatal(err)
		}
		OutgoingRequest(&ex)
		out = AppendRequest(out[:0], &ex.Req, OptionsFor(&ex))
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func BenchmarkRequestToUpstreamHead(b *testing.B) {
	in := []byte(crlf("GET /api/things?id=1 HTTP/1.1\nHost: app.example.test\nUser-Agent: Mozilla/5.0\nAccept: */*\nAccept-Encoding: gzip\nConnection: keep-alive\nCookie: a=b\n\n"))
	var ex exchange.Exchange
	fw := &Forwarding{Hostname: "edge"}
	peer := netip.MustParseAddrPort("192.0.2.77:4000")
	out := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		ex.Reset()
		ParseRequest(in, &ex.Req, nil)
		ex.Req.Peer = peer
		PrepareRequest(&ex, fw)
		OutgoingRequest(&ex)
		out = AppendRequest(out[:0], &ex.Req, OptionsFor(&ex))
	}
}

// A thousand fields of a kilobyte each are joined once, not each to all before it.
func TestJoiningFieldsCostsWhatTheyHold(t *testing.T) {
	long := strings.Repeat("a", 1000)
	grown := func(name string, join func(*exchange.Exchange)) int {
		ex := new(exchange.Exchange)
		ex.Req.Method, ex.Req.Target, ex.Req.Host = "GET", "/", "a.test"
		for range 1000 {
			ex.Req.Fields.Add(name, long)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		join(ex)
		runtime.ReadMemStats(&after)
		if v := ex.Req.Fields.Get(name); len(v) < 1000*1000 || len(ex.Req.Fields.All()) > 3 {
			t.Errorf("%s: %d bytes, %d fields", name, len(v), ex.Req.Fields.Len())
		}
		return int(after.TotalAlloc - before.TotalAlloc)
	}
	for name, join := range map[string]func(*exchange.Exchange){
		"X-Forwarded-For": OutgoingRequest,
		"cookie": func(ex *exchange.Exchange) {
			if _, err := FramedHead(ex); err != nil {
				t.Error(err)
			}
		},
	} {
		if n := grown(name, join); n > 16<<20 {
			t.Errorf("joining 1 MB of %s allocated %d MB", name, n>>20)
		}
	}
}

// What the edge sends to itself it refuses after some rounds, also where a middleware has
// removed the count; others' requests are left alone.
func TestRequestsThatGoInCircles(t *testing.T) {
	fw := &Forwarding{Hostname: "edge"}
	head := "GET / HTTP/1.1\nHost: a.test\n\n"
	for round := range 20 {
		ex := new(exchange.Exchange)
		if n, err := ParseRequest([]byte(crlf(head)), &ex.Req, nil); err != nil || n == 0 {
			t.Fatalf("%q: %d %v", head, n, err)
		}
		ex.Req.Peer = netip.MustParseAddrPort("127.0.0.1:9")
		if err := PrepareRequest(ex, fw); err != nil {
			if err != ErrLoop || round != maxHops+1 {
				t.Errorf("round %d: %v", round, err)
			}
			break
		}
		if round > maxHops {
			t.Fatalf("round %d is taken", round)
		}
		ex.Req.Fields.Del(HopsField)
		OutgoingRequest(ex)
		if ex.Req.Fields.Has(HopsField) != (round > 0) {
			t.Errorf("round %d: %v", round, ex.Req.Fields.All())
		}
		head = strings.ReplaceAll(string(AppendRequest(nil, &ex.Req, RequestOptions{})), "\r\n", "\n")
	}
	got, _, err := prepared(t, "GET / HTTP/1.1\nHost: a.test\nX-Forwarded-Server: another\n\n", fw, nil)
	if err != nil || slices.ContainsFunc(got, func(f string) bool { return strings.HasPrefix(f, HopsField) }) {
		t.Errorf("from another edge: %v %v", got, err)
	}
}
