package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

func pair(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kder}))
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
