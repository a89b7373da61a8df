package header

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// certificate makes one signed by an authority called "lab ca".
func certificate(t *testing.T, tmpl *x509.Certificate) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab ca", Country: []string{"FR"}}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestClientCert(t *testing.T) {
	u, _ := url.Parse("spiffe://lab/one")
	cert := certificate(t, &x509.Certificate{
		SerialNumber: big.NewInt(42), NotBefore: time.Unix(1000, 0), NotAfter: time.Unix(2_000_000_000, 0),
		Subject: pkix.Name{CommonName: "client one", Country: []string{"DE"}, Province: []string{"BE"}, Locality: []string{"Berlin"}, Organization: []string{"Lab", "Second"},
			OrganizationalUnit: []string{"Ops"}, SerialNumber: "s-7",
			ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, Value: "test"}}},
		DNSNames: []string{"one.client.test"}, EmailAddresses: []string{"a@b.test"}, IPAddresses: []net.IP{net.IPv4(10, 1, 2, 3)}, URIs: []*url.URL{u},
	})
	all := config.TLSClientCertInfo{NotAfter: true, NotBefore: true, SANs: true, SerialNumber: true,
		Subject: &config.TLSClientCertSubject{Country: true, Province: true, Locality: true, Organization: true, OrganizationalUnit: true, CommonName: true, SerialNumber: true, DomainComponent: true},
		Issuer:  &config.TLSClientCertIssuer{Country: true, Province: true, Locality: true, Organization: true, CommonName: true, SerialNumber: true, DomainComponent: true}}
	for name, c := range map[string]struct {
		cfg   config.PassTLSClientCert
		certs []*x509.Certificate
		pem   bool
		info  string
	}{
		"pem":       {config.PassTLSClientCert{PEM: true}, []*x509.Certificate{cert}, true, ""},
		"info":      {config.PassTLSClientCert{Info: &config.TLSClientCertInfo{Subject: &config.TLSClientCertSubject{CommonName: true}}}, []*x509.Certificate{cert}, false, `Subject="CN=client one"`},
		"no parts":  {config.PassTLSClientCert{Info: &config.TLSClientCertInfo{}}, []*x509.Certificate{cert}, false, ""},
		"two":       {config.PassTLSClientCert{Info: &config.TLSClientCertInfo{SerialNumber: true}}, []*x509.Certificate{cert, cert}, false, `SerialNumber="42",SerialNumber="42"`},
		"all":       {config.PassTLSClientCert{PEM: true, Info: &all}, []*x509.Certificate{cert}, true, `Subject="DC=test,C=DE,ST=BE,L=Berlin,O=Lab,O=Second,OU=Ops,SN=s-7,CN=client one";Issuer="C=FR,CN=lab ca";SerialNumber="42";NB="1000";NA="2000000000";SAN="one.client.test,a@b.test,10.1.2.3,spiffe://lab/one"`},
		"none sent": {config.PassTLSClientCert{PEM: true, Info: &all}, nil, false, ""},
	} {
		ex := request("GET", "a.test", "x-forwarded-tls-client-cert", "evil", "X-Forwarded-Tls-Client-Cert-Info", "evil")
		ex.Req.TLS = &tls.ConnectionState{PeerCertificates: c.certs}
		NewClientCert(&c.cfg).Request(ex)
		got := ex.Req.Fields.Get(ClientCert)
		if raw, _ := base64.StdEncoding.DecodeString(got); c.pem && string(raw) != string(cert.Raw) || !c.pem && c.cfg.PEM && got != "" {
			t.Errorf("%s: certificate %q", name, got)
		}
		if c.cfg.Info == nil {
			continue
		}
		got = ex.Req.Fields.Get(ClientCertInfo)
		if plain, err := url.QueryUnescape(got); err != nil || plain != c.info || strings.Contains(got, `"`) {
			t.Errorf("%s: %s, want %s", name, plain, c.info)
		}
	}
}
