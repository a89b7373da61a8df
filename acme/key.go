package acme

import (
	"crypto/x509"
	"encoding/pem"

	"github.com/go-acme/lego/v4/certcrypto"
)

// pkcs8 turns a private key as lego gives it into PKCS #8, the form in which the reference
// stores keys. What it cannot read it leaves as it is.
func pkcs8(key []byte) []byte {
	k, err := certcrypto.ParsePEMPrivateKey(key)
	if err != nil {
		return key
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return key
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
