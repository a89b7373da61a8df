package dns

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

// endpoint is a server for httpreq that notes who called what.
func endpoint(t *testing.T) (url string, calls func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct{ FQDN, Value string }
		_ = json.NewDecoder(r.Body).Decode(&body)
		user, _, _ := r.BasicAuth()
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, user+" "+r.URL.Path+" "+body.FQDN)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string { mu.Lock(); defer mu.Unlock(); return seen }
}

// Two resolvers with the same provider have different credentials, and the process keeps its own.
func TestCredentialsBelongToTheirResolver(t *testing.T) {
	one, oneCalls := endpoint(t)
	two, twoCalls := endpoint(t)
	t.Setenv("HTTPREQ_ENDPOINT", "http://process.test")
	dir := t.TempDir()
	secret, env := filepath.Join(dir, "pw"), filepath.Join(dir, "env")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret, "topsecret\n")
	write(env, "# of resolver two\nexport HTTPREQ_ENDPOINT=\""+two+"\"\nHTTPREQ_USERNAME=overridden\n\nHTTPREQ_PASSWORD=x\n")
	var m Maker
	a, err := m.New(&config.DNSChallenge{Provider: "HTTPReq", Env: map[string]string{
		"httpreq_endpoint": one, "HTTPREQ_USERNAME": "a", "HTTPREQ_PASSWORD_FILE": secret,
	}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.New(&config.DNSChallenge{Provider: "httpreq", EnvFile: env, Env: map[string]string{"HTTPREQ_USERNAME": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := os.Getenv("HTTPREQ_ENDPOINT"); got != "http://process.test" {
		t.Fatalf("the variable of the process became %q", got)
	}
	if _, ok := os.LookupEnv("HTTPREQ_USERNAME"); ok {
		t.Fatal("a variable of a resolver stayed")
	}
	if err := a.Present("a.test", "", "auth"); err != nil {
		t.Fatal(err)
	}
	if err := b.Present("b.test", "", "auth"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(oneCalls(), "|"); got != "a /present _acme-challenge.a.test." {
		t.Errorf("one was called: %s", got)
	}
	if got := strings.Join(twoCalls(), "|"); got != "b /present _acme-challenge.b.test." {
		t.Errorf("two was called: %s", got)
	}
}

func TestErrorsShowNoSecret(t *testing.T) {
	env := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(env, []byte("A=b\njust-a-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var m Maker
	for _, cfg := range []*config.DNSChallenge{
		{Provider: "httpreq", EnvFile: env}, {Provider: "httpreq", EnvFile: "/nowhere"}, {Provider: "nonsense"}, {Provider: "httpreq"},
	} {
		if _, err := m.New(cfg); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("A=b\n#c\nexport D='e'\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		vars, err := parse(b)
		if err != nil {
			return
		}
		for n, v := range vars {
			again, err := parse([]byte(n + "=\"" + v + "\""))
			if err != nil || again[n] != v {
				t.Fatalf("%q=%q became %q: %v", n, v, again, err)
			}
		}
	})
}
