// Package trust makes the TLS configuration of the clients that middlewares are.
package trust

import (
	"crypto/tls"
	"crypto/x509"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
)

// ClientTLS makes a client's configuration. ca, cert and key are files, or the PEM text itself.
func ClientTLS(field string, cfg *config.ClientTLS) (*tls.Config, error) {
	c := &tls.Config{InsecureSkipVerify: cfg.InsecureSkipVerify} //nolint:gosec // as the user asks
	if cfg.CA != "" {
		pem, err := text(field+".ca", cfg.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, option.Errorf(field+".ca", "give the certificate of the authority in PEM form", "there is no certificate in it")
		}
	}
	if cfg.Cert == "" && cfg.Key == "" {
		return c, nil
	}
	if cfg.Cert == "" || cfg.Key == "" {
		return nil, option.Errorf(field+".cert", "give both", "cert and key belong together")
	}
	cert, err := text(field+".cert", cfg.Cert)
	if err != nil {
		return nil, err
	}
	key, err := text(field+".key", cfg.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, option.Errorf(field+".cert", "give a certificate with its own key, in PEM form", "%v", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

func text(field, v string) ([]byte, error) {
	if strings.Contains(v, "-----BEGIN ") {
		return []byte(v), nil
	}
	b, err := config.ReadFile(v)
	if err != nil {
		return nil, option.Errorf(field, "check the path inside the router's container", "%v", err)
	}
	return b, nil
}
