package cert

import (
	"crypto/tls"
	"slices"
	"testing"
)

// Lists of cipher suites that people carry from guide to guide hold names that Go's own list has not.
func TestCipherSuiteNames(t *testing.T) {
	for name, want := range map[string]uint16{
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		"TLS_RSA_WITH_RC4_128_SHA":                tls.TLS_RSA_WITH_RC4_128_SHA,
		"TLS_AES_128_GCM_SHA256":                  tls.TLS_AES_128_GCM_SHA256,
		"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305":    tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305":  tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		"TLS_FALLBACK_SCSV":                       tls.TLS_FALLBACK_SCSV,
		"TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA":     tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA,
		"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
	} {
		if got, err := CipherSuites([]string{name}); err != nil || !slices.Equal(got, []uint16{want}) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	if _, err := CipherSuites([]string{"TLS_WITH_NOTHING"}); err == nil {
		t.Error("a name that no suite has was taken")
	}
}
