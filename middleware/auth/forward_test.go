package auth

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authServer answers as its query says and remembers the last question.
func authServer(t *testing.T) (url string, last func() (*http.Request, string)) {
	t.Helper()
	var got *http.Request
	var body string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, body = r, string(b)
		for _, h := range r.URL.Query()["h"] {
			name, value, _ := strings.Cut(h, ":")
			w.Header().Add(name, value)
		}
		status := 200
		if v := r.URL.Query().Get("s"); v != "" {
			status, _ = strconv.Atoi(v)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "says auth")
	}))
	t.Cleanup(s.Close)
	return s.URL, func() (*http.Request, string) { r := got; got = nil; return r, body }
}

func newForwardOp(t *testing.T, cfg *config.ForwardAuth) exchange.Op {
	t.Helper()
	state := memory.New()
	t.Cleanup(func() { _ = state.Close() })
	op, stage, err := NewForward(cfg, state, nil)
	if err != nil || stage != nil {
		t.Fatal(err, stage != nil)
	}
	return op
}

func asked(fields ...string) *exchange.Exchange {
	ex := request(fields...)
	ex.Ctx = context.Background()
	ex.Req.Path, ex.Req.Query, ex.Req.HasQuery = "/here", "q=1", true
	ex.Req.Peer = netip.MustParseAddrPort("127.0.0.1:4711")
	return ex
}

func TestForwardBlocksOnALoop(t *testing.T) {
	url, last := authServer(t)
	ex := asked()
	ex.MayBlock = false
	if v := newForwardOp(t, &config.ForwardAuth{Address: url}).Request(ex); v != exchange.Block {
		t.Fatal(v)
	}
	if r, _ := last(); r != nil {
		t.Error("asked all the same")
	}
}

func TestForwardTrust(t *testing.T) {
	url, last := authServer(t)
	yes, no := true, false
	sent := []string{"X-Forwarded-Proto", "https", "X-Forwarded-Host", "pub.test", "X-Forwarded-Uri", "/pub", "X-Forwarded-Method", "PATCH",
		"X-Forwarded-For", "9.9.9.9", "X-Forwarded-Port", "99", "X-Forwarded-Server", "edge", "X-Real-Ip", "127.0.0.1", "X-Other", "o",
		"Connection", "X-Hop, keep-alive", "X-Hop", "1", "Te", "trailers", "Cookie", "a=b"}
	for name, c := range map[string]struct {
		trust *bool
		want  map[string]string
	}{
		"unset": {nil, map[string]string{"Proto": "http", "Host": "a.test", "Uri": "/here?q=1", "Method": "GET", "For": "127.0.0.1", "Port": "99", "Server": "edge"}},
		"no":    {&no, map[string]string{"Proto": "http", "Host": "a.test", "Uri": "/here?q=1", "Method": "GET", "For": "127.0.0.1", "Port": "80", "Server": ""}},
		"yes":   {&yes, map[string]string{"Proto": "https", "Host": "pub.test", "Uri": "/pub", "Method": "PATCH", "For": "9.9.9.9, 127.0.0.1", "Port": "99", "Server": "edge"}},
	} {
		ex := asked(sent...)
		if v := newForwardOp(t, &config.ForwardAuth{Address: url + "/check", TrustForwardHeader: c.trust}).Request(ex); v != exchange.Next {
			t.Fatalf("%s: %d", name, v)
		}
		r, _ := last()
		for k, want := range c.want {
			if got := strings.Join(r.Header["X-Forwarded-"+k], " || "); got != want {
				t.Errorf("%s: X-Forwarded-%s %q, want %q", name, k, got, want)
			}
		}
		realIP := "127.0.0.1"
		if name == "no" {
			realIP = ""
		}
		if r.Header.Get("X-Real-Ip") != realIP || r.Header.Get("X-Other") != "o" || r.Header.Get("Cookie") != "a=b" || r.Header.Get("X-Hop") != "" || r.Header.Get("Te") != "" ||
			r.Method != http.MethodGet || r.RequestURI != "/check" || len(r.Header["User-Agent"]) != 0 {
			t.Errorf("%s: %s %s %v", name, r.Method, r.RequestURI, r.Header)
		}
		if len(ex.Req.Fields.All()) != len(sent)/2 {
			t.Errorf("%s: the client's own request was changed: %v", name, ex.Req.Fields.All())
		}
	}
}

func TestForwardRequestOptions(t *testing.T) {
	url, last := authServer(t)
	ex := asked("Cookie", "a=b", "X-Keep", "1", "X-Drop", "2")
	ex.Req.Method, ex.Req.TLS, ex.Req.Host = "DELETE", &tls.ConnectionState{}, "a.test:8443"
	yes, no := true, false
	newForwardOp(t, &config.ForwardAuth{Address: url, PreserveRequestMethod: true, AuthRequestHeaders: []string{"x-keep"}, TrustForwardHeader: &no}).Request(ex)
	r, _ := last()
	if r.Method != http.MethodDelete || r.Header.Get("X-Keep") != "1" || r.Header.Get("X-Drop") != "" || r.Header.Get("Cookie") != "" ||
		r.Header.Get("X-Forwarded-Proto") != "https" || r.Header.Get("X-Forwarded-Port") != "8443" || r.Header.Get("X-Forwarded-Method") != "DELETE" {
		t.Errorf("%s %v", r.Method, r.Header)
	}
	// Where forwarded fields are trusted they are not for authRequestHeaders to leave out.
	for _, trust := range []*bool{&yes, nil} {
		ex = asked("X-Forwarded-Prefix", "/p", "X-Real-Ip", "9.9.9.9", "X-Forwarded-Proto", "wss", "X-Drop", "2")
		newForwardOp(t, &config.ForwardAuth{Address: url, AuthRequestHeaders: []string{"X-Keep"}, TrustForwardHeader: trust}).Request(ex)
		r, _ = last()
		prefix, port, proto := "", "", "http"
		if trust != nil {
			prefix, port, proto = "/p", "443", "wss"
		}
		if r.Header.Get("X-Forwarded-Prefix") != prefix || r.Header.Get("X-Forwarded-Port") != port || r.Header.Get("X-Forwarded-Proto") != proto || r.Header.Get("X-Drop") != "" {
			t.Errorf("trust %v: %v", trust, r.Header)
		}
	}
}

func TestForwardDeny(t *testing.T) {
	url, _ := authServer(t)
	for _, c := range []struct {
		cfg      config.ForwardAuth
		status   int
		body     string
		location string
		reason   exchange.Reason
	}{
		{config.ForwardAuth{Address: url + "/?s=401&h=WWW-Authenticate:Basic&h=X-Why:no&h=Set-Cookie:s=1&h=Connection:X-Hop&h=X-Hop:1"}, 401, "says auth", "", exchange.AuthRequired},
		{config.ForwardAuth{Address: url + "/?s=403"}, 403, "says auth", "", exchange.AuthDenied},
		{config.ForwardAuth{Address: url + "/?s=302&h=Location:http://login.test/?rd=1"}, 302, "says auth", "http://login.test/?rd=1", exchange.AuthDenied},
		{config.ForwardAuth{Address: url + "/?s=302&h=Location:/login"}, 302, "says auth", url + "/login", exchange.AuthDenied},
		{config.ForwardAuth{Address: url + "/check?s=307&h=Location:login"}, 307, "says auth", url + "/login", exchange.AuthDenied},
		{config.ForwardAuth{Address: url + "/?s=302&h=Location:/login", PreserveLocationHeader: true}, 302, "says auth", "/login", exchange.AuthDenied},
		{config.ForwardAuth{Address: url + "/?s=304"}, 304, "", "", exchange.AuthDenied},
		{config.ForwardAuth{Address: url + "/?s=500"}, 500, "says auth", "", exchange.AuthDenied},
		{config.ForwardAuth{Address: url + "/?s=401", AuthSigninURL: "http://login.test/?back=1"}, 302, "<a href=\"http://login.test/?back=1\">Found</a>.\n\n", "http://login.test/?back=1", exchange.AuthRequired},
		{config.ForwardAuth{Address: url + "/?s=401", AuthSigninURL: "login"}, 302, "<a href=\"/login\">Found</a>.\n\n", "/login", exchange.AuthRequired},
		{config.ForwardAuth{Address: url + "/?s=302&h=Location:http://%2558/"}, 500, "", "", exchange.AuthFailed},
		{config.ForwardAuth{Address: url + "/?s=302&h=Location:http://%2558/", PreserveLocationHeader: true}, 500, "", "", exchange.AuthFailed},
		{config.ForwardAuth{Address: url + "/?s=403", AuthSigninURL: "http://login.test/"}, 403, "says auth", "", exchange.AuthDenied},
	} {
		ex := asked()
		v := newForwardOp(t, &c.cfg).Request(ex)
		if v != exchange.Answer || ex.Resp.Status != c.status || string(ex.Body) != c.body || ex.Resp.Fields.Get("Location") != c.location || ex.Reason != c.reason ||
			ex.Resp.Framing != exchange.Sized || ex.Resp.Length != int64(len(c.body)) {
			t.Errorf("%s: %d %d %q %q %s", c.cfg.Address, v, ex.Resp.Status, ex.Body, ex.Resp.Fields.Get("Location"), ex.Reason)
		}
		if c.status == 401 && (ex.Resp.Fields.Get("X-Why") != "no" || ex.Resp.Fields.Get("Www-Authenticate") != "Basic" || ex.Resp.Fields.Get("Set-Cookie") != "s=1" ||
			ex.Resp.Fields.Has("X-Hop") || ex.Resp.Fields.Has("Content-Length")) {
			t.Errorf("fields: %v", ex.Resp.Fields.All())
		}
	}
}

func TestForwardAdmit(t *testing.T) {
	url, _ := authServer(t)
	op := newForwardOp(t, &config.ForwardAuth{
		Address:             url + "/?h=X-User:ann&h=Remote-Name:Ann&h=Remote-Groups:a&h=Remote-Groups:b&h=Set-Cookie:keep=1&h=Set-Cookie:other=2&h=X-Not-Named:1",
		AuthResponseHeaders: []string{"x-user", "X-Absent"}, AuthResponseHeadersRegex: "^Remote-", HeaderField: "X-User", AddAuthCookiesToResponse: []string{"keep"},
	})
	ex := asked("x-user", "root", "X_User", "root", "X.User", "root", "Remote.Email", "forged", "X-Absent", "forged", "Remote-Email", "forged", "remote-groups", "forged", "Remote_Email", "forged", "rEMOTE_nAME", "forged", "X-Keep", "k")
	if v := op.Request(ex); v != exchange.Next {
		t.Fatal(v)
	}
	want := map[string]string{"X-User": "ann", "X-Absent": "", "Remote-Email": "", "Remote-Name": "Ann", "Remote-Groups": "a", "X-Keep": "k", "X-Not-Named": "", "X_User": "", "X.User": "", "Remote.Email": ""}
	for k, v := range want {
		if got := ex.Req.Fields.Get(k); got != v {
			t.Errorf("%s: %q, want %q", k, got, v)
		}
	}
	denied := asked()
	newForwardOp(t, &config.ForwardAuth{Address: url + "/?s=403&h=X-User:ann", HeaderField: "X-User"}).Request(denied)
	if denied.Log.User != "ann" {
		t.Errorf("the user of a denied request: %q", denied.Log.User)
	}
	if ex.Log.User != "ann" || ex.Req.Fields.Len() != 5 {
		t.Errorf("user %q, %v", ex.Log.User, ex.Req.Fields.All())
	}
	ex.Resp.Fields.Add("Set-Cookie", "keep=old")
	ex.Resp.Fields.Add("Set-Cookie", "own=1")
	ex.RunResponse()
	var cookies []string
	for _, f := range ex.Resp.Fields.All() {
		cookies = append(cookies, f.Value)
	}
	if strings.Join(cookies, ",") != "own=1,keep=1" {
		t.Errorf("cookies %q", cookies)
	}
}

func TestForwardServerDown(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	ex := asked()
	if v := newForwardOp(t, &config.ForwardAuth{Address: s.URL}).Request(ex); v != exchange.Answer || ex.Resp.Status != 500 || ex.Reason != exchange.AuthFailed {
		t.Errorf("%d %d %s", v, ex.Resp.Status, ex.Reason)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ex = asked()
	ex.Ctx = ctx
	if newForwardOp(t, &config.ForwardAuth{Address: s.URL}).Request(ex); ex.Reason != exchange.ClientGone {
		t.Errorf("a client that went away: %s", ex.Reason)
	}
	url, _ := authServer(t)
	three, nine, any := int64(3), int64(9), int64(-1)
	for limit, status := range map[*int64]int{&three: 401, &nine: 0, &any: 0} {
		ex = asked()
		if newForwardOp(t, &config.ForwardAuth{Address: url, MaxResponseBodySize: limit}).Request(ex); ex.Resp.Status != status || (ex.Reason == exchange.AuthFailed) != (status != 0) || len(ex.Body) != 0 {
			t.Errorf("an answer of 9 bytes where %d are allowed: %d %s %q", *limit, ex.Resp.Status, ex.Reason, ex.Body)
		}
	}
	// As with the reference an address that leads nowhere is noticed by requests.
	for _, address := range []string{"", "auth:80", "ftp://x", "http://%58/"} {
		warned := ""
		op, _, err := NewForward(&config.ForwardAuth{Address: address}, nil, func(field, text, _ string) { warned = field + " " + text })
		if err != nil || !strings.HasPrefix(warned, "address ") {
			t.Errorf("%q: %v, warned %q", address, err, warned)
			continue
		}
		ex = asked()
		if v := op.Request(ex); v != exchange.Answer || ex.Resp.Status != 500 || len(ex.Body) != 0 {
			t.Errorf("%q: %d %d %q", address, v, ex.Resp.Status, ex.Body)
		}
	}
}

func TestForwardTLS(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = nil
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tls    *config.ClientTLS
		status int
	}{"unknown authority": {nil, 500}, "file": {&config.ClientTLS{CA: file}, 0}, "text": {&config.ClientTLS{CA: string(ca)}, 0}, "any": {&config.ClientTLS{InsecureSkipVerify: true}, 0}} {
		ex := asked()
		if newForwardOp(t, &config.ForwardAuth{Address: s.URL, TLS: c.tls}).Request(ex); ex.Resp.Status != c.status {
			t.Errorf("%s: %d", name, ex.Resp.Status)
		}
	}
}

func TestForwardBody(t *testing.T) {
	url, last := authServer(t)
	five, zero, any := int64(5), int64(0), int64(-1)
	for _, c := range []struct {
		name    string
		max     *int64
		body    string
		chunked bool
		keep    bool
		query   string
		status  int
		asked   bool
	}{
		{"any", &any, "0123456789", false, false, "", 200, true},
		{"chunked", nil, "abc", true, false, "", 200, true},
		{"just right", &five, "01234", false, true, "", 200, true},
		{"too large", &five, "012345", false, false, "", 401, false},
		{"too large, chunked", &five, "012345", true, false, "", 401, false},
		{"none allowed", &zero, "0", false, false, "", 401, false},
		{"none at all", &zero, "", false, false, "", 200, true},
		{"denied", nil, "abc", false, false, "?s=403", 403, true},
	} {
		op, stage, err := NewForward(&config.ForwardAuth{Address: url + "/" + c.query, ForwardBody: true, MaxBodySize: c.max, PreserveRequestMethod: c.keep,
			AuthResponseHeaders: []string{"X-User"}, AddAuthCookiesToResponse: []string{"s"}}, nil, nil)
		if err != nil || op != nil {
			t.Fatal(err)
		}
		served := ""
		h := stage(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			served = string(b) + r.Header.Get("X-User")
			w.Header().Add("Set-Cookie", "own=1")
			_, _ = io.WriteString(w, "ok")
		}))
		r := httptest.NewRequest(http.MethodPost, "http://a.test/here?q=1", strings.NewReader(c.body))
		r.Header.Set("X-User", "forged")
		if c.chunked {
			r.ContentLength = -1
		}
		if c.body == "" {
			r.Body = http.NoBody
		}
		ex := &exchange.Exchange{}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(exchange.NewContext(context.Background(), ex)))
		q, qbody := last()
		if w.Code != c.status || (q != nil) != c.asked {
			t.Errorf("%s: %d, asked %v", c.name, w.Code, q != nil)
			continue
		}
		if c.status == 200 && (served != c.body || qbody != c.body || q.Header.Get("X-Forwarded-Uri") != "/here?q=1" || w.Header().Get("Set-Cookie") != "own=1" || (q.Method == http.MethodPost) != c.keep) {
			t.Errorf("%s: the service saw %q, the auth server %s %q %v", c.name, served, q.Method, qbody, q.Header)
		}
		if c.status == 401 && (w.Body.Len() != 0 || ex.Reason != exchange.BodyTooLarge) || c.status == 403 && w.Body.String() != "says auth" {
			t.Errorf("%s: %q %s", c.name, w.Body, ex.Reason)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestForwardOptions(t *testing.T) {
	for want, cfg := range map[string]config.ForwardAuth{
		"authResponseHeadersRegex": {Address: "http://x", AuthResponseHeadersRegex: "^("},
		"tls.ca":                   {Address: "https://x", TLS: &config.ClientTLS{CA: "/nowhere"}}, "tls.cert": {Address: "https://x", TLS: &config.ClientTLS{Cert: "x"}},
		"authSigninURL": {Address: "http://x", AuthSigninURL: "http://x\r\nX: y"}, "authResponseHeaders: ": {Address: "http://x", AuthResponseHeaders: []string{"X Y"}},
	} {
		if _, _, err := NewForward(&cfg, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
}
