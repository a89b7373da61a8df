package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testacme"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// issuing is a router with a real certificate authority that makes its challenges to it.
type issuing struct {
	*router
	ca       *testacme.CA
	web, tls string // addresses
	storage  string
	dynamic  string
}

// startIssuing starts both; args may hold words that are replaced: CA for the authority's
// settings. dynamic is the file provider's first content.
func startIssuing(t *testing.T, resolver string, dynamic string, args ...string) *issuing {
	t.Helper()
	testacme.Environ(0)
	i := &issuing{web: testnet.FreeAddr(t), tls: testnet.FreeAddr(t), storage: filepath.Join(t.TempDir(), "acme.json"), dynamic: filepath.Join(t.TempDir(), "dynamic.yml")}
	var httpPort, tlsPort int
	_, _ = fmt.Sscan(testnet.Port(i.web), &httpPort)
	_, _ = fmt.Sscan(testnet.Port(i.tls), &tlsPort)
	i.ca = testacme.Start(t, testacme.Options{HTTPPort: httpPort, TLSPort: tlsPort})
	i.write(t, dynamic)
	all := []string{"--entrypoints.plain.address=" + i.web, "--entrypoints.websecure.address=" + i.tls, "--providers.file.filename=" + i.dynamic}
	if resolver != "" {
		all = append(all, i.resolver("le", resolver)...)
	}
	for _, a := range args {
		all = append(all, i.expand(a)...)
	}
	i.router = startRouter(t, nil, all...)
	return i
}

// expand turns "resolver NAME CHALLENGE" into its flags.
func (i *issuing) expand(arg string) []string {
	if words := strings.Fields(arg); words[0] == "resolver" {
		return i.resolver(words[1], words[2])
	}
	return []string{arg}
}

func (i *issuing) resolver(name, challenge string) []string {
	p := "--certificatesresolvers." + name + ".acme."
	return []string{p + challenge, p + "email=ops@lab.test", p + "storage=" + i.storage, p + "caserver=" + i.ca.URL, p + "cacertificates=" + i.ca.TrustFile, p + "keytype=EC256", p + "preflight=off"}
}

func (i *issuing) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(i.dynamic+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(i.dynamic+".new", i.dynamic); err != nil {
		t.Fatal(err)
	}
}

// issued asks which authority signed the certificate of a name: "" is the default one.
func (i *issuing) issued(t *testing.T, name string) (string, error) {
	t.Helper()
	//nolint:gosec // looked at below
	_, st, err := first(i.tls, &tls.Config{ServerName: name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, ask{sni: name})
	if err != nil {
		return "", err
	}
	leaf := st.PeerCertificates[0]
	if leaf.Subject.CommonName == generated {
		return "", nil
	}
	if err := leaf.VerifyHostname(name); err != nil {
		return "", err
	}
	return leaf.Issuer.CommonName, nil
}

// has waits until a name has an issued certificate.
func (i *issuing) has(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		testnet.Eventually(t, certificateTime, func() error {
			if by, err := i.issued(t, n); err != nil || by == "" {
				time.Sleep(50 * time.Millisecond)
				return fmt.Errorf("%s: issued by %q, %w", n, by, err)
			}
			return nil
		})
	}
}

func backend(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	return "  services: {s: {loadBalancer: {servers: [{url: '" + s.URL + "'}]}}}\n"
}

// Which names are ordered, by the rules, the routers' and the entry point's settings.
func TestNamesThatAreOrdered(t *testing.T) {
	t.Parallel()
	i := startIssuing(t, "tlschallenge=true", "http:\n"+backend(t)+`  routers:
    two: {rule: "Host(`+"`B.two.test`"+`) || Host(`+"`a.two.test`"+`)", service: s, tls: {certResolver: le}}
    path: {rule: "Host(`+"`path.test`"+`) && PathPrefix(`+"`/x`"+`)", service: s, tls: {certResolver: le}}
    again: {rule: "Host(`+"`path.test`"+`) && PathPrefix(`+"`/y`"+`)", service: s, tls: {certResolver: le}}
    not: {rule: "Host(`+"`kept.test`"+`) && !Host(`+"`left.test`"+`)", service: s, tls: {certResolver: le}}
    re: {rule: "HostRegexp(`+"`^x[0-9]+[.]re[.]test$`"+`)", service: s, tls: {certResolver: le}}
    plain: {rule: "Host(`+"`plain.test`"+`)", service: s, tls: {}}
    unknown: {rule: "Host(`+"`unknown.test`"+`)", service: s, tls: {certResolver: nosuch}}
    domains: {rule: "Host(`+"`rule.test`"+`)", service: s, tls: {certResolver: le, domains: [{main: One.test, sans: [two.test.]}, {main: three.test}]}}
    idn: {rule: "Host(`+"`bücher.test`"+`)", service: s, tls: {certResolver: le}}
tcp:
  services: {t: {loadBalancer: {servers: [{address: "127.0.0.1:1"}]}}}
  routers:
    t: {rule: "HostSNI(`+"`tcp.test`"+`)", service: t, tls: {certResolver: le}}
    all: {rule: "HostSNI(`+"`*`"+`)", service: t, entryPoints: [plain], tls: {certResolver: le}}
`)
	i.has(t, "a.two.test", "b.two.test", "path.test", "kept.test", "one.test", "two.test", "three.test", "xn--bcher-kva.test")
	testnet.Eventually(t, certificateTime, func() error { // the TCP router's server refuses: the storage tells
		if b, err := os.ReadFile(i.storage); err != nil || !strings.Contains(string(b), `"main": "tcp.test"`) {
			return fmt.Errorf("no certificate of tcp.test: %w", err)
		}
		return nil
	})
	for _, n := range []string{"left.test", "x1.re.test", "plain.test", "unknown.test", "rule.test"} {
		if by, err := i.issued(t, n); err != nil || by != "" {
			t.Errorf("%s: issued by %q, %v", n, by, err)
		}
	}
	var f acmeFile
	b, err := os.ReadFile(i.storage)
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	var sets []string
	for _, c := range f["le"].Certificates {
		sets = append(sets, strings.Join(append([]string{c.Domain.Main}, c.Domain.SANs...), "+"))
	}
	if n := i.ca.Orders(); n != 7 || len(sets) != 7 {
		t.Errorf("%d orders, %d certificates %v", n, len(sets), sets)
	}
}

// The HTTP challenge is answered before redirections, also of the whole entry point, and
// before routers that would take everything.
func TestHTTPChallengeBehindRedirection(t *testing.T) {
	t.Parallel()
	i := startIssuing(t, "httpchallenge.entrypoint=plain", "http:\n"+backend(t)+`  routers:
    a: {rule: "Host(`+"`a.test`"+`)", service: s, entryPoints: [websecure]}
    all: {rule: "PathPrefix(`+"`/`"+`)", service: s, entryPoints: [plain], priority: 100000}
`, "--entrypoints.plain.http.redirections.entrypoint.to=websecure", "--entrypoints.websecure.http.tls.certresolver=le",
		"--entrypoints.websecure.http.tls.domains[0].main=ep.test", "--entrypoints.websecure.http.tls.domains[0].sans=*.never.test,sans.ep.test",
		"--entrypoints.websecure.http.tls.domains[1].main=second.test")
	i.has(t, "second.test")
	c := testnet.NewClient(i.web)
	defer c.Close()
	if a, err := c.Get("a.test", "/.well-known/acme-challenge/none"); err != nil || a.Status != 404 {
		t.Errorf("an unknown token: %d %v", a.Status, err)
	}
	if a, err := c.Get("a.test", "/x"); err != nil || a.Status/100 != 3 {
		t.Errorf("everything else: %d %v", a.Status, err)
	}
	// The wildcard cannot be had by this challenge. It fails with its names, and is shown.
	testnet.Eventually(t, certificateTime, func() error {
		a, err := i.API.Get("localhost", "/api/sluice/certificates?status=not%20obtained")
		if err == nil && !strings.Contains(a.Body, `"lastError":`) {
			err = fmt.Errorf("%s", a.Body)
		}
		return err
	})
}

// Certificates at the first handshake: by list, by question, bounded, and strangers cost little.
func TestOnDemandHandshakes(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := map[string]int{}
	questions := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		name := r.URL.Query().Get("domain")
		if asked[name]++; !strings.HasPrefix(name, "tenant") {
			http.Error(w, "unknown", http.StatusNotFound)
		}
	}))
	t.Cleanup(questions.Close)
	p := "--certificatesresolvers.le.acme.ondemand."
	i := startIssuing(t, "tlschallenge=true", "http:\n"+backend(t)+`  routers:
    any: {rule: "HostRegexp(`+"`^.+[.]shop[.]test$`"+`)", service: s, tls: {certResolver: le}}
`, p+"ask="+questions.URL+"/may?key=v", p+"allow=*.listed.shop.test", p+"perminute=3", p+"wait=50s")
	testnet.Eventually(t, soon, func() error {
		_, err := i.issued(t, "stranger.shop.test")
		return err
	})
	for range 3 {
		if by, err := i.issued(t, "stranger.shop.test"); by != "" || err != nil {
			t.Fatalf("a stranger: issued by %q, %v", by, err)
		}
	}
	if by, err := i.issued(t, "tenant.other.test"); by != "" || err != nil {
		t.Errorf("a host without a route: issued by %q, %v", by, err)
	}
	mu.Lock()
	if asked["stranger.shop.test"] != 1 || asked["tenant.other.test"] != 0 {
		t.Errorf("asked: %v", asked)
	}
	mu.Unlock()
	if n := i.ca.Orders(); n != 0 {
		t.Fatalf("%d orders for strangers", n)
	}
	// Many clients of one new host cost one order; each gets the certificate.
	var wg sync.WaitGroup
	var got atomic.Int32
	for range 8 {
		wg.Go(func() {
			if by, err := i.issued(t, "tenant.shop.test"); err == nil && by != "" {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	if got.Load() != 8 || i.ca.Orders() != 1 {
		t.Errorf("%d of 8 first handshakes got the certificate, %d orders", got.Load(), i.ca.Orders())
	}
	i.has(t, "a.listed.shop.test")
	if mu.Lock(); asked["a.listed.shop.test"] != 0 {
		t.Error("a host on the list was asked for")
	}
	mu.Unlock()

	// The authority hangs: handshakes wait as long as they may, and no more of them than the
	// bound; hosts that have their certificate notice nothing.
	var hung atomic.Int32
	release := make(chan struct{})
	i.ca.Front(func(http.ResponseWriter, *http.Request) bool {
		hung.Add(1)
		<-release
		return false
	})
	t.Cleanup(func() { close(release) })
	const crowd = 48
	done := make(chan time.Duration, crowd)
	for range crowd {
		go func() {
			began := time.Now()
			_, _ = i.issued(t, "tenant-slow.shop.test")
			done <- time.Since(began)
		}()
	}
	testnet.Eventually(t, 40*time.Second, func() error {
		if len(done) < crowd-32 || hung.Load() == 0 {
			return fmt.Errorf("%d handshakes over the bound ended, %d questions to the authority", len(done), hung.Load())
		}
		return nil
	})
	if len(done) == crowd {
		t.Error("nobody waits for the certificate")
	}
	began := time.Now()
	if by, err := i.issued(t, "tenant.shop.test"); by == "" || err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("a known host meanwhile: issued by %q after %v, %v", by, time.Since(began), err)
	}
	for range 4 { // the rate of new hosts is used up
		if by, _ := i.issued(t, "tenant-more.shop.test"); by != "" {
			t.Error("more new hosts in a minute than allowed")
		}
	}
}

// acme.json as other versions left it behind.
func TestForeignStorage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority(t, dir, "old")
	ca.issue("stored", ca.key, time.Now().Add(80*24*time.Hour), "stored.test")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	stored, err := json.Marshal(map[string]any{"domain": map[string]any{"main": "stored.test"}, "certificate": read("stored.crt"), "key": read("stored.key"), "Store": "default"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file string
		ok   bool // the resolver works
		old  bool // and serves what was stored
	}{
		"two resolvers":           {`{"le":{"Account":null,"Certificates":[` + string(stored) + `]},"other":{"Account":null,"Certificates":null}}`, true, true},
		"null parts":              {`{"le":{"Account":null,"Certificates":[null,` + string(stored) + `,null]},"gone":null}`, true, true},
		"a store's name unknown":  {strings.Replace(`{"le":{"Certificates":[`+string(stored)+`]}}`, `"default"`, `"other"`, 1), true, true},
		"further fields":          {`{"le":{"Account":null,"Certificates":[` + string(stored) + `],"HTTPChallenges":{},"TLSChallenges":{}}}`, true, true},
		"a certificate of no use": {`{"le":{"Certificates":[{"domain":{"main":"stored.test"},"certificate":"AAAA","key":"AAAA","Store":"default"}]}}`, true, false},
		"empty":                   {``, true, false},
		"spaces":                  {" \n", true, false},
		"null":                    {`null`, true, false},
		"of version 1":            {`{"Account":{"Email":"a@b.test","Registration":null,"PrivateKey":""},"Certificates":[{"Domain":{"Main":"stored.test","SANs":null},"Certificate":"AAAA","Key":"AAAA"}],"HTTPChallenges":{},"TLSChallenges":{}}`, false, false},
		"cut off":                 {`{"le":{"Account":null,"Certificates":[`, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuing{}
			i.storage = filepath.Join(t.TempDir(), "acme.json")
			if err := os.WriteFile(i.storage, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			j := startIssuing(t, "", "http:\n"+backend(t)+`  routers:
    a: {rule: "Host(`+"`stored.test`"+`)", service: s, tls: {certResolver: le}}
`, "--certificatesresolvers.le.acme.storage="+i.storage, "--certificatesresolvers.le.acme.tlschallenge=true", "--certificatesresolvers.le.acme.caserver=https://127.0.0.1:1/none")
			testnet.Eventually(t, soon, func() error {
				a, err := j.API.Get("localhost", "/api/http/routers/a@file")
				if err == nil && a.Status != 200 {
					err = fmt.Errorf("status %d", a.Status)
				}
				return err
			})
			if by, err := j.issued(t, "stored.test"); err != nil || by == "old" != c.old {
				t.Errorf("issued by %q, %v", by, err)
			}
			if broken := hasLine(j.Log.String(), "acme.json"); broken == c.ok {
				t.Errorf("the log says it is broken: %v", broken)
			}
			if b, err := os.ReadFile(i.storage); !c.ok && (err != nil || string(b) != c.file) {
				t.Errorf("a file that cannot be read was changed: %s %v", b, err)
			}
			if name == "of version 1" && !hasLine(j.Log.String(), "acme.json", "version 1") {
				t.Error("the log does not say what the file is")
			}
		})
	}
}

// Commands change the acme.json of a router that runs, which serves the new certificate at
// once and loses nothing of either.
func TestCommandsBesideARunningRouter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority(t, dir, "old")
	ca.issue("stored", ca.key, time.Now().Add(80*24*time.Hour), "stored.test")
	ca.issue("ended", ca.key, time.Now().Add(-time.Hour), "ended.test")
	i := startIssuing(t, "tlschallenge=true", "http:\n"+backend(t)+`  routers:
    a: {rule: "Host(`+"`stored.test`"+`) && PathPrefix(`+"`/`"+`)", service: s, tls: {}}
    b: {rule: "Host(`+"`new.test`"+`)", service: s, tls: {certResolver: le}}
`)
	i.has(t, "new.test") // the router writes its file
	certs := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(binary, append(append([]string{"certs"}, args...), i.resolver("le", "tlschallenge=true")...)...)
		cmd.Env = clean(os.Environ())
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("certs %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if out := certs("import", dir); !strings.Contains(out, "stored.test") || !strings.Contains(out, "ended.test") {
		t.Fatalf("import: %s", out)
	}
	if by, err := i.issued(t, "stored.test"); by != "old" || err != nil {
		t.Errorf("imported: issued by %q, %v", by, err)
	}
	if out := certs("import", dir); !strings.Contains(out, "0 of ") {
		t.Errorf("the same again: %s", out)
	}
	if out := certs("prune"); !strings.Contains(out, "ended.test") || strings.Contains(out, "stored.test") {
		t.Errorf("prune: %s", out)
	}
	i.stop()
	ca.issue("later", ca.key, time.Now().Add(80*24*time.Hour), "later.test")
	if out := certs("import", dir); !strings.Contains(out, "later.test") || strings.Contains(out, "stored.test") {
		t.Errorf("import without a router: %s", out)
	}
	list := certs("list")
	for _, n := range []string{"stored.test", "new.test", "later.test", "ended.test"} {
		if !strings.Contains(list, n) {
			t.Errorf("%s is not in the list:\n%s", n, list)
		}
	}
	left, err := filepath.Glob(filepath.Dir(i.storage) + "/*.re*")
	if more, _ := filepath.Glob(filepath.Dir(i.storage) + "/.re*"); err != nil || len(left)+len(more) > 0 {
		t.Errorf("left behind: %v %v", left, more)
	}
}
