package acme

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testacme"
)

// A private authority is trusted by the resolver's own settings, else by the variables of
// the reference's older versions.
func TestTrust(t *testing.T) {
	ca := testacme.Start(t, testacme.Options{})
	none := filepath.Join(t.TempDir(), "none.pem")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cfg                 config.ACME
		files, host, system string
		ok, bad             bool
	}{
		"nothing":                   {},
		"by the resolver":           {cfg: config.ACME{CACertificates: []string{ca.TrustFile}}, ok: true},
		"and another name":          {cfg: config.ACME{CACertificates: []string{ca.TrustFile}, CAServerName: ca.ServerName()}, ok: true},
		"and a wrong name":          {cfg: config.ACME{CACertificates: []string{ca.TrustFile}, CAServerName: "other.test"}},
		"with the system's":         {cfg: config.ACME{CACertificates: []string{ca.TrustFile}, CASystemCertPool: true}, ok: true},
		"only the system's":         {cfg: config.ACME{CASystemCertPool: true}, files: ca.TrustFile},
		"by variable":               {files: ca.TrustFile, ok: true},
		"by variables":              {files: ca.TrustFile, host: ca.ServerName(), system: "true", ok: true},
		"by variable, a wrong name": {files: ca.TrustFile, host: "other.test"},
		"two files":                 {files: ca.TrustFile + string(os.PathListSeparator) + ca.TrustFile, ok: true},
		"a file that is not there":  {files: none, bad: true},
		"the resolver goes first":   {cfg: config.ACME{CACertificates: []string{ca.TrustFile}}, files: none, ok: true},
		"an empty file":             {cfg: config.ACME{CACertificates: []string{empty}}, bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(trustVariable, c.files)
			t.Setenv(nameVariable, c.host)
			t.Setenv(systemVariable, c.system)
			client, err := httpClient(&c.cfg)
			if (err != nil) != c.bad {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			defer client.CloseIdleConnections()
			resp, err := client.Get(ca.URL)
			if err == nil {
				_ = resp.Body.Close()
			}
			if (err == nil) != c.ok {
				t.Fatalf("reached: %v, want %v", err, c.ok)
			}
		})
	}
}

// A changed e-mail address keeps the account, and the authority is told.
func TestAnotherEmailKeepsTheAccount(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfg := resolverConfig(t, ca, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} })
	account := func() (a account) {
		t.Helper()
		m := New(t.Context(), Options{Resolvers: map[string]*config.ACME{"le": cfg}, Open: openAny, Log: zerolog.Nop()})
		if err := m.resolvers["le"].vault.getJSON(t.Context(), "le/account", &a); err != nil || a.Registration == nil {
			t.Fatalf("%+v %v", a, err)
		}
		return a
	}
	e := start(t, cur, map[string]*config.ACME{"le": cfg}, nil)
	e.Want([]Request{want("a.test")})
	eventually(t, "the certificate", func() bool { return e.leaf("a.test") != nil })
	e.stop()
	before := account()
	cfg.Email = "new@lab.test"
	again := start(t, cur, map[string]*config.ACME{"le": cfg}, nil)
	again.Want([]Request{want("a.test"), want("b.test")})
	eventually(t, "another certificate", func() bool { return again.leaf("b.test") != nil })
	again.stop()
	after := account()
	if after.Email != "new@lab.test" || after.Registration.URI != before.Registration.URI || !bytes.Equal(after.PrivateKey, before.PrivateKey) {
		t.Errorf("before %+v, after %+v", before.Registration, after.Registration)
	}
	if got := after.Registration.Body.Contact; len(got) != 1 || got[0] != "mailto:new@lab.test" || ca.Accounts() != 1 {
		t.Errorf("contact %v, %d accounts", got, ca.Accounts())
	}
}
