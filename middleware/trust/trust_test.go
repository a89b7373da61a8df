package trust

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testnet"
)

func pair(t *testing.T) (cert, key string) {
	t.Helper()
	c, k := testnet.Certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "client.test")
	return string(c), string(k)
}

func TestClientTLS(t *testing.T) {
	cert, key := pair(t)
	file := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, []byte(cert), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := ClientTLS("tls", &config.ClientTLS{CA: file, Cert: cert, Key: key, InsecureSkipVerify: true})
	if err != nil || c.RootCAs == nil || len(c.Certificates) != 1 || !c.InsecureSkipVerify {
		t.Errorf("%+v %v", c, err)
	}
	_, other := pair(t)
	for want, cfg := range map[string]config.ClientTLS{
		"tls.ca: there is no": {CA: "-----BEGIN X-----"}, "tls.ca: stat": {CA: "/nowhere"}, "tls.cert: cert and key": {Cert: cert},
		"tls.key: stat": {Cert: cert, Key: "/nowhere"}, "tls.cert: tls": {Cert: cert, Key: other},
	} {
		if _, err := ClientTLS("tls", &cfg); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
