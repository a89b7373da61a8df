package acme

import (
	"os"
	"path/filepath"
	"testing"

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
