package auth

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func request(fields ...string) *exchange.Exchange {
	ex := &exchange.Exchange{Route: &exchange.Route{}, MayBlock: true}
	ex.Req.Method, ex.Req.Host, ex.Req.Path, ex.Req.Target = "GET", "a.test", "/", "/"
	for i := 0; i < len(fields); i += 2 {
		ex.Req.Fields.Add(fields[i], fields[i+1])
	}
	return ex
}

func header(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func newBasic(t testing.TB, cfg *config.BasicAuth) *basic {
	t.Helper()
	op, err := NewBasic("m", cfg, memory.New(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return op.(*basic)
}

var everyHash = []string{
	"bc:$2y$05$abcdefghijklmnopqrstuuPYQxSKPJH.D07Cu1TeU6DK/NHGbZbeG",
	"apr:$apr1$saltsalt$qzyMUABkhk4Zs4ut9UATr1",
	"sha:{SHA}1qDKM8A7am0gz9Drl5EK3ozSvsA=",
	"md5c:$1$abcdefgh$tEfBZrSobh97e6VXIwhQF.",
	"s6:$6$abcdefgh$35pp0zZ7cmkIjrj.wfXP90zWhSGvaI/J/8m3rRFUxi4LDjcivEboeWM0o7sbCj0ktLx2qL9xS3RqvOhciNUlw1",
	"plain:secret",
	"dd:$$apr1$$saltsalt$$qzyMUABkhk4Zs4ut9UATr1",
}

func TestBasicHashes(t *testing.T) {
	b := newBasic(t, &config.BasicAuth{Users: everyHash})
	for _, c := range []struct {
		auth, user string
		want       exchange.Verdict
	}{
		{header("bc", "apple"), "bc", exchange.Next},
		{header("apr", "pear"), "apr", exchange.Next},
		{header("sha", "plum"), "sha", exchange.Next},
		{header("md5c", "fig"), "md5c", exchange.Next},
		{header("dd", "pear"), "dd", exchange.Next},
		{"basic " + header("sha", "plum")[6:], "sha", exchange.Next},
		{header("s6", "kiwi"), "s6", exchange.Answer},
		{header("plain", "secret"), "plain", exchange.Answer},
		{header("bc", "wrong"), "bc", exchange.Answer},
		{header("bc", ""), "bc", exchange.Answer},
		{header("nobody", "apple"), "nobody", exchange.Answer},
		{header("", ""), "", exchange.Answer},
		{"Basic !!!", "", exchange.Answer},
		{"Basic", "", exchange.Answer},
		{"Bearer x", "", exchange.Answer},
		{"Basic bm9jb2xvbg==", "", exchange.Answer},
		{"", "", exchange.Answer},
		{header("sha", strings.Repeat("x", 4096)), "sha", exchange.Answer},
	} {
		for range 2 { // the second time may come from the cache
			ex := request("Authorization", c.auth)
			if v := b.Request(ex); v != c.want || ex.Log.User != c.user {
				t.Fatalf("%q: verdict %d user %q, want %d %q", c.auth, v, ex.Log.User, c.want, c.user)
			}
			if c.want == exchange.Answer && (ex.Resp.Status != 401 || string(ex.Body) != "401 Unauthorized\n" ||
				ex.Resp.Fields.Get("Content-Type") != "text/plain" || ex.Resp.Fields.Get("WWW-Authenticate") != `Basic realm="traefik"`) {
				t.Fatalf("%q: answer %d %q %+v", c.auth, ex.Resp.Status, ex.Body, ex.Resp.Fields.All())
			}
		}
	}
}

func TestBasicBlocksOnlyForSlowHashes(t *testing.T) {
	slow := newBasic(t, &config.BasicAuth{Users: everyHash[:1]})
	ex := request("Authorization", header("bc", "apple"))
	ex.MayBlock = false
	if v := slow.Request(ex); v != exchange.Block || ex.Log.User != "" {
		t.Fatalf("a miss on a loop: verdict %d", v)
	}
	ex.MayBlock = true
	if v := slow.Request(ex); v != exchange.Next {
		t.Fatalf("in a goroutine: verdict %d", v)
	}
	ex = request("Authorization", header("bc", "apple"))
	ex.MayBlock = false
	if v := slow.Request(ex); v != exchange.Next {
		t.Fatalf("a hit on a loop: verdict %d", v)
	}
	fast := newBasic(t, &config.BasicAuth{Users: everyHash[2:3]})
	for auth, want := range map[string]exchange.Verdict{header("sha", "plum"): exchange.Next, header("sha", "x"): exchange.Answer, header("x", "x"): exchange.Answer} {
		ex = request("Authorization", auth)
		ex.MayBlock = false
		if v := fast.Request(ex); v != want {
			t.Errorf("%s with a fast hash on a loop: verdict %d, want %d", auth, v, want)
		}
	}
}

func TestBasicFields(t *testing.T) {
	b := newBasic(t, &config.BasicAuth{Users: everyHash[2:3], RemoveHeader: true, HeaderField: "X-WebAuth-User", Realm: `my "own" \ realm`})
	ex := request("Authorization", header("sha", "plum"), "x-webauth-user", "root", "X_WebAuth_User", "root", "X-Other", "1")
	if v := b.Request(ex); v != exchange.Next {
		t.Fatal(v)
	}
	want := []exchange.Field{{Name: "X-Other", Value: "1"}, {Name: "X-WebAuth-User", Value: "sha"}}
	if got := ex.Req.Fields.All(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("fields %+v, want %+v", got, want)
	}
	ex = request()
	b.Request(ex)
	if got := ex.Resp.Fields.Get("WWW-Authenticate"); got != `Basic realm="my \"own\" \\ realm"` {
		t.Error(got)
	}
}

func TestBasicSources(t *testing.T) {
	file := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(file, []byte("# staff\n\n"+everyHash[2]+"\r\nann:{SHA}x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BASIC_TEST_USERS", everyHash[1]+"\n"+everyHash[2])
	b := newBasic(t, &config.BasicAuth{UsersFile: file, Users: []string{"ann:{SHA}1qDKM8A7am0gz9Drl5EK3ozSvsA="}})
	for _, u := range []string{"sha", "ann"} { // the list wins over the file
		if v := b.Request(request("Authorization", header(u, "plum"))); v != exchange.Next {
			t.Errorf("%s: %d", u, v)
		}
	}
	b = newBasic(t, &config.BasicAuth{UsersFile: "env:BASIC_TEST_USERS"})
	if v := b.Request(request("Authorization", header("apr", "pear"))); v != exchange.Next {
		t.Errorf("from the environment: %d", v)
	}
}

func TestBasicErrorsAndWarnings(t *testing.T) {
	for _, c := range []struct {
		cfg  config.BasicAuth
		want string
	}{
		{config.BasicAuth{Realm: "x"}, "users: there is no user"},
		{config.BasicAuth{UsersFile: "/nowhere/at/all"}, "usersFile"},
		{config.BasicAuth{UsersFile: "env:NOT_SET_AT_ALL"}, "NOT_SET_AT_ALL"},
		{config.BasicAuth{UsersFile: os.TempDir()}, "directory"},
		{config.BasicAuth{Users: []string{"onlyname"}}, `"onlyname"`},
		{config.BasicAuth{Users: []string{everyHash[2], "onlyname"}}, `"onlyname"`},
		{config.BasicAuth{Users: []string{"a:{SHA}x:more"}}, `"a"`},
		{config.BasicAuth{Users: []string{":{SHA}x"}}, `""`},
		{config.BasicAuth{Users: everyHash[:1], Realm: "a\nb"}, "realm"},
		{config.BasicAuth{Users: everyHash[:1], HeaderField: "X User"}, "headerField"},
	} {
		_, err := NewBasic("m", &c.cfg, nil, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: error %v, want %q", c.cfg, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "{SHA}") {
			t.Errorf("the error shows a hash: %v", err)
		}
	}
	t.Setenv("BASIC_TEST_TOKEN", "env-token")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("file-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// What a label can name it must not be able to show.
	for file, name := range map[string]string{"env:BASIC_TEST_TOKEN": "m@docker", secret: "m@docker", "env:BASIC_TEST_USERS": "m@swarm"} {
		if _, err := NewBasic(name, &config.BasicAuth{UsersFile: file}, nil, nil); err == nil || strings.Contains(err.Error(), "token") {
			t.Errorf("%s by label: %v", file, err)
		}
		if _, err := NewDigest(name, &config.DigestAuth{UsersFile: file}, nil, nil); err == nil || strings.Contains(err.Error(), "token") {
			t.Errorf("%s by label: %v", file, err)
		}
	}
	var said []string
	_, err := NewBasic("m", &config.BasicAuth{Users: everyHash}, nil, func(_, text, _ string) { said = append(said, text) })
	if all := strings.Join(said, "\n"); err != nil || len(said) != 3 || !strings.Contains(all, `"dd"`) || !strings.Contains(all, `"plain"`) || !strings.Contains(all, `"s6"`) {
		t.Errorf("warnings: %v %q", err, said)
	}
}

func TestBasicCacheOutlivesTables(t *testing.T) {
	state := memory.New()
	build := func(users ...string) *basic {
		state.Begin()
		op, err := NewBasic("m@file", &config.BasicAuth{Users: users}, state, nil)
		if err != nil {
			t.Fatal(err)
		}
		state.Commit()
		return op.(*basic)
	}
	a, b, c := build(everyHash[0]), build(everyHash[0]), build(everyHash[1])
	if a.cache != b.cache || a.cache == c.cache || state.Len() != 1 {
		t.Error("the cache must outlive a reload, and end with its users")
	}
}

func TestBasicConcurrentChecksAndBounds(t *testing.T) {
	b := newBasic(t, &config.BasicAuth{Users: everyHash[:1]})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if v := b.Request(request("Authorization", header("bc", "apple"))); v != exchange.Next {
				t.Error("refused")
			}
		})
	}
	wg.Wait()
	for i := range 20000 {
		b.cache.put(b.cache.key(string(rune(i))), "u")
	}
	n := 0
	for i := range b.cache.shards {
		n += len(b.cache.shards[i].m)
	}
	if n > cacheShards*cachePerShard {
		t.Errorf("%d entries", n)
	}
}

func TestDecoyCostsTheSame(t *testing.T) {
	b := newBasic(t, &config.BasicAuth{Users: everyHash[:1]})
	if cost, err := bcrypt.Cost([]byte(b.decoy.hash)); err != nil || cost != 5 {
		t.Fatalf("decoy %q: cost %d, %v", b.decoy.hash, cost, err)
	}
	if err := bcrypt.CompareHashAndPassword([]byte(b.decoy.hash), []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Fatal(err)
	}
	for i, d := range decoys {
		if d != "" && (schemeOf(d) != scheme(i) || verify(scheme(i), d, "x")) {
			t.Errorf("decoy %q", d)
		}
	}
}

func TestPasswd(t *testing.T) {
	line, label, err := Passwd("ann", "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []string{line, label} {
		b := newBasic(t, &config.BasicAuth{Users: []string{l}})
		if v := b.Request(request("Authorization", header("ann", "s3cret"))); v != exchange.Next {
			t.Errorf("%q does not let its user in", l)
		}
	}
	if strings.ReplaceAll(label, "$$", "$") != line || !strings.Contains(label, "$$2a$$") {
		t.Errorf("label %q", label)
	}
	for _, c := range [][2]string{{"", "x"}, {"a:b", "x"}, {"a,b", "x"}, {"a", ""}, {"a", strings.Repeat("x", 73)}} {
		if _, _, err := Passwd(c[0], c[1]); err == nil {
			t.Errorf("%q accepted", c)
		}
	}
}

func TestCachedBasicDoesNotAllocate(t *testing.T) {
	b := newBasic(t, &config.BasicAuth{Users: everyHash[:1], HeaderField: "X-User", RemoveHeader: true})
	auth := header("bc", "apple")
	ex := request("Authorization", auth)
	b.Request(ex)
	if n := testing.AllocsPerRun(200, func() {
		ex.Reset()
		ex.Req.Fields.Add("Authorization", auth)
		if b.Request(ex) != exchange.Next {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkBasicCached(b *testing.B) {
	m := newBasic(b, &config.BasicAuth{Users: everyHash[:1]})
	auth := header("bc", "apple")
	ex := request("Authorization", auth)
	b.ReportAllocs()
	for b.Loop() {
		m.Request(ex)
	}
}

// FuzzUsers holds: what is accepted can be asked, never panics, and never lets a wrong password in.
func FuzzUsers(f *testing.F) {
	for _, h := range everyHash {
		f.Add(h)
	}
	f.Add("a:$2y$99$x")
	f.Add("a:$apr1$$")
	f.Add("a:$1$")
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "$2") {
			return // a cost of 31 would take hours
		}
		op, err := NewBasic("m", &config.BasicAuth{Users: []string{line}}, nil, nil)
		if err != nil {
			return
		}
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		if v := op.Request(request("Authorization", header(name, "no password of any seed"))); v == exchange.Next {
			t.Fatalf("%q let a wrong password in", line)
		}
	})
}
