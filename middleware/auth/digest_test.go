package auth

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

const doraTraefik = "dora:traefik:8200c76d372777f68499c9932d17ae94"

var challengeForm = regexp.MustCompile(`^Digest realm="(.*)", opaque="([0-9a-f]+)", algorithm=MD5, qop="auth", nonce="([0-9a-f]+)"(, stale=true)?$`)

// challenge asks once and returns opaque and nonce.
func challenge(t *testing.T, op exchange.Op, realm string, now int64) (opaque, nonce string) {
	t.Helper()
	ex := request()
	ex.Now = now
	if v := op.Request(ex); v != exchange.Answer || ex.Resp.Status != 401 || string(ex.Body) != "401 Unauthorized\n" {
		t.Fatalf("challenge: %d %d %q", v, ex.Resp.Status, ex.Body)
	}
	m := challengeForm.FindStringSubmatch(ex.Resp.Fields.Get("WWW-Authenticate"))
	if m == nil || m[1] != realm {
		t.Fatalf("challenge %q", ex.Resp.Fields.Get("WWW-Authenticate"))
	}
	return m[2], m[3]
}

type try struct {
	user, password, realm, uri, nonce, opaque, nc, method, qop, algorithm string
}

func (c try) header() string {
	ha1 := md5hex(c.user + ":" + c.realm + ":" + c.password)
	resp := md5hex(ha1 + ":" + c.nonce + ":" + c.nc + ":0a4f113b:" + c.qop + ":" + md5hex(c.method+":"+c.uri))
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=%s, qop=%s, nc=%s, cnonce="0a4f113b", response="%s", opaque="%s"`,
		c.user, c.realm, c.nonce, c.uri, c.algorithm, c.qop, c.nc, resp, c.opaque)
}

func newDigest(t *testing.T, cfg *config.DigestAuth) exchange.Op {
	t.Helper()
	op, err := NewDigest("m", cfg, memory.New(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func TestDigest(t *testing.T) {
	op := newDigest(t, &config.DigestAuth{Users: []string{doraTraefik}})
	now := time.Now().UnixNano()
	for _, c := range []struct {
		name string
		edit func(*try)
		want exchange.Verdict
	}{
		{"right", func(*try) {}, exchange.Next},
		{"wrong password", func(c *try) { c.password = "window" }, exchange.Answer},
		{"unknown user", func(c *try) { c.user = "eve" }, exchange.Answer},
		{"other uri", func(c *try) { c.uri = "/other" }, exchange.Answer},
		{"prefix of the uri", func(c *try) { c.uri = "/x" }, exchange.Answer},
		{"absolute uri", func(c *try) { c.uri = "http://a.test/x?y=1" }, exchange.Next},
		{"absolute uri of another host", func(c *try) { c.uri = "http://b.test/x?y=1" }, exchange.Answer},
		{"other method", func(c *try) { c.method = "POST" }, exchange.Answer},
		{"own nonce", func(c *try) { c.nonce = "abcdef" }, exchange.Answer},
		{"forged nonce", func(c *try) { c.nonce = strings.Repeat("0", 64) }, exchange.Answer},
		{"other opaque", func(c *try) { c.opaque = "x" }, exchange.Answer},
		{"no count", func(c *try) { c.nc = "x" }, exchange.Answer},
		{"count zero", func(c *try) { c.nc = "00000000" }, exchange.Answer},
		{"auth-int", func(c *try) { c.qop = "auth-int" }, exchange.Answer},
		{"SHA-256", func(c *try) { c.algorithm = "SHA-256" }, exchange.Answer},
	} {
		opaque, nonce := challenge(t, op, "traefik", now)
		a := try{"dora", "door", "traefik", "/x?y=1", nonce, opaque, "00000001", "GET", "auth", "MD5"}
		c.edit(&a)
		ex := request("Authorization", a.header())
		ex.Now, ex.Req.Target, ex.Req.Path, ex.Req.Query, ex.Req.HasQuery = now, "/x?y=1", "/x", "y=1", true
		if v := op.Request(ex); v != c.want || ex.Log.User != a.user {
			t.Errorf("%s: verdict %d user %q", c.name, v, ex.Log.User)
		}
	}
}

func TestDigestReplayAndLife(t *testing.T) {
	op := newDigest(t, &config.DigestAuth{Users: []string{doraTraefik}})
	now := time.Now().UnixNano()
	opaque, nonce := challenge(t, op, "traefik", now)
	ask := func(nc string, now int64) (exchange.Verdict, string) {
		a := try{"dora", "door", "traefik", "/", nonce, opaque, nc, "GET", "auth", "MD5"}
		ex := request("Authorization", a.header())
		ex.Now = now
		return op.Request(ex), ex.Resp.Fields.Get("WWW-Authenticate")
	}
	for _, c := range []struct {
		nc   string
		want exchange.Verdict
	}{
		{"00000001", exchange.Next}, {"00000003", exchange.Next}, {"00000002", exchange.Next}, {"00000002", exchange.Answer}, {"00000003", exchange.Answer},
		{"00000050", exchange.Next}, {"00000004", exchange.Answer}, {"0000004f", exchange.Next}, {"000000ff", exchange.Next},
	} {
		v, www := ask(c.nc, now)
		if v != c.want || v == exchange.Answer && !strings.HasSuffix(www, ", stale=true") {
			t.Errorf("count %s: %d %q", c.nc, v, www)
		}
	}
	if v, www := ask("00000100", now+int64(nonceLife)+1); v != exchange.Answer || !strings.HasSuffix(www, ", stale=true") {
		t.Errorf("an old nonce: %d %q", v, www)
	}
}

func TestDigestFieldsAndOptions(t *testing.T) {
	op := newDigest(t, &config.DigestAuth{Users: []string{doraTraefik}, RemoveHeader: true, HeaderField: "X-User"})
	now := time.Now().UnixNano()
	opaque, nonce := challenge(t, op, "traefik", now)
	a := try{"dora", "door", "traefik", "/", nonce, opaque, "00000001", "GET", "auth", "MD5"}
	ex := request("Authorization", a.header(), "X-User", "root", "x_user", "root")
	ex.Now = now
	if v := op.Request(ex); v != exchange.Next || ex.Req.Fields.Len() != 1 || ex.Req.Fields.Get("X-User") != "dora" {
		t.Errorf("%d %v", v, ex.Req.Fields.All())
	}
	challenge(t, newDigest(t, &config.DigestAuth{Users: []string{"dora:vault:f785a362ed729914e8dc09fad17f7e0a"}, Realm: "vault"}), "vault", now)
	for want, cfg := range map[string]config.DigestAuth{
		"there is no user": {}, `"dora"`: {Users: []string{"dora:x"}}, "usersFile": {UsersFile: "/nowhere"}, "realm": {Users: []string{doraTraefik}, Realm: "\n"},
	} {
		if _, err := NewDigest("m", &cfg, nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	warned := ""
	if _, err := NewDigest("m", &config.DigestAuth{Users: []string{doraTraefik}, Realm: "other"}, nil, func(_, text, _ string) { warned = text }); err != nil || !strings.Contains(warned, "realm") {
		t.Errorf("%v %q", err, warned)
	}
}

func TestNoncesAreBounded(t *testing.T) {
	n := newNonces()
	for i := range 2*noncesMax + 10 {
		if u := n.use(n.issue(int64(i)), 1, int64(i)); u != nonceGood {
			t.Fatal(u)
		}
	}
	if len(n.seen) > noncesMax {
		t.Errorf("%d nonces", len(n.seen))
	}
}

// FuzzDigestParams holds: what parses, written anew, parses to the same.
func FuzzDigestParams(f *testing.F) {
	f.Add(`username="dora", realm="x\"y", nonce=abc, uri="/", qop=auth, nc=00000001`)
	f.Add(`username=a,,nc=`)
	f.Fuzz(func(t *testing.T, s string) {
		var p, q digestParams
		if !p.parse(s) {
			return
		}
		quote := func(v string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"` }
		again := "username=" + quote(p.username) + ", realm=" + quote(p.realm) + ", nonce=" + quote(p.nonce) + ",uri=" + quote(p.uri) +
			" , response=" + quote(p.response) + ", algorithm=" + quote(p.algorithm) + ", cnonce=" + quote(p.cnonce) + ", opaque=" + quote(p.opaque) +
			", qop=" + quote(p.qop) + ", nc=" + quote(p.nc)
		if !q.parse(again) || p != q {
			t.Fatalf("%q: %+v, again %+v", s, p, q)
		}
	})
}
