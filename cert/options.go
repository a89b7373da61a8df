package cert

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// Default is the name of the options and of the store that apply where none is named.
const Default = "default"

// defaultALPN are the protocols offered where options name none.
var defaultALPN = []string{"h2", "http/1.1", "acme-tls/1"}

// Version reads a TLS version as options name it ("VersionTLS12"); "" gives 0.
func Version(s string) (uint16, error) {
	switch strings.ToLower(s) {
	case "":
		return 0, nil
	case "versiontls10":
		return tls.VersionTLS10, nil
	case "versiontls11":
		return tls.VersionTLS11, nil
	case "versiontls12":
		return tls.VersionTLS12, nil
	case "versiontls13":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("%q is not a TLS version; write VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13", s)
}

// CipherSuites reads cipher suites by their IANA names, secure ones and others.
func CipherSuites(names []string) ([]uint16, error) {
	var out []uint16
	known := append(tls.CipherSuites(), tls.InsecureCipherSuites()...)
	for _, n := range names {
		i := slices.IndexFunc(known, func(c *tls.CipherSuite) bool { return c.Name == n })
		if i < 0 {
			switch n { // names that the reference accepts beside Go's own
			case "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305":
				out = append(out, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)
				continue
			case "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305":
				out = append(out, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256)
				continue
			case "TLS_FALLBACK_SCSV": // a signal of clients, in many lists all the same
				out = append(out, tls.TLS_FALLBACK_SCSV)
				continue
			}
			return nil, fmt.Errorf("cipherSuites: %q is not known", n)
		}
		out = append(out, known[i].ID)
	}
	return out, nil
}

func curves(names []string) ([]tls.CurveID, error) {
	var out []tls.CurveID
	for _, n := range names {
		switch strings.ToLower(n) {
		case "secp256r1", "curvep256":
			out = append(out, tls.CurveP256)
		case "secp384r1", "curvep384":
			out = append(out, tls.CurveP384)
		case "secp521r1", "curvep521":
			out = append(out, tls.CurveP521)
		case "x25519":
			out = append(out, tls.X25519)
		case "x25519mlkem768":
			out = append(out, tls.X25519MLKEM768)
		case "secp256r1mlkem768":
			out = append(out, tls.SecP256r1MLKEM768)
		case "secp384r1mlkem1024":
			out = append(out, tls.SecP384r1MLKEM1024)
		default:
			return nil, fmt.Errorf("curvePreferences: %q is not known", n)
		}
	}
	return out, nil
}

func clientAuth(c config.ClientAuth, t *tls.Config) error {
	if len(c.CAFiles) > 0 {
		pool, err := Pool(c.CAFiles)
		if err != nil {
			return fmt.Errorf("clientAuth.caFiles: %w", err)
		}
		t.ClientCAs = pool
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	switch strings.ToLower(c.ClientAuthType) {
	case "":
		return nil
	case "noclientcert":
		t.ClientAuth = tls.NoClientCert
	case "requestclientcert":
		t.ClientAuth = tls.RequestClientCert
	case "requireanyclientcert":
		t.ClientAuth = tls.RequireAnyClientCert
	case "verifyclientcertifgiven":
		t.ClientAuth = tls.VerifyClientCertIfGiven
	case "requireandverifyclientcert":
		t.ClientAuth = tls.RequireAndVerifyClientCert
	default:
		return fmt.Errorf("clientAuth.clientAuthType %q is not known", c.ClientAuthType)
	}
	if len(c.CAFiles) == 0 && (t.ClientAuth == tls.VerifyClientCertIfGiven || t.ClientAuth == tls.RequireAndVerifyClientCert) {
		return fmt.Errorf("clientAuth.clientAuthType %s needs clientAuth.caFiles", c.ClientAuthType)
	}
	return nil
}

// build makes the tls.Config of options; get chooses the certificate.
func build(o *config.TLSOptions, get func(*tls.ClientHelloInfo, bool) (*tls.Certificate, error)) (*tls.Config, error) {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// One record carries as much as fits: records of 1.4 KiB cost more than they gain on a proxy.
		DynamicRecordSizingDisabled: true,
		SessionTicketsDisabled:      o.DisableSessionTickets,
		NextProtos:                  slices.Clone(o.ALPNProtocols),
	}
	if len(t.NextProtos) == 0 {
		t.NextProtos = slices.Clone(defaultALPN)
	}
	// A version that is not known holds for nothing, as in the reference; see Doubts.
	if v, err := Version(o.MinVersion); err == nil && v != 0 {
		t.MinVersion = v
	}
	if v, err := Version(o.MaxVersion); err == nil {
		t.MaxVersion = v
	}
	var err error
	if t.CipherSuites, err = CipherSuites(o.CipherSuites); err != nil {
		return nil, err
	}
	if t.CurvePreferences, err = curves(o.CurvePreferences); err != nil {
		return nil, err
	}
	if err := clientAuth(o.ClientAuth, t); err != nil {
		return nil, err
	}
	strict := o.SNIStrict
	t.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return get(h, strict) }
	return t, nil
}

// Doubts names the fields of usable options that will not do what they say, with the reason.
func Doubts(o *config.TLSOptions) map[string]string {
	out := map[string]string{}
	read := func(field, s string) uint16 {
		v, err := Version(s)
		if err != nil {
			out[field] = err.Error() + "; the default is used"
		}
		return v
	}
	low, high := cmp.Or(read("minVersion", o.MinVersion), tls.VersionTLS12), read("maxVersion", o.MaxVersion)
	if high != 0 && high < low {
		out["maxVersion"] = "it is below minVersion: no version is left, and every handshake fails"
	}
	return out
}

// Check says why options cannot be used, or nil.
func Check(o *config.TLSOptions) error {
	_, err := build(o, nil)
	return err
}
