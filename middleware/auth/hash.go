package auth

import (
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/GehirnInc/crypt"
	"github.com/GehirnInc/crypt/apr1_crypt"
	"github.com/GehirnInc/crypt/md5_crypt"
	"golang.org/x/crypto/bcrypt"
)

// scheme is a way to hash passwords.
type scheme uint8

const (
	unknown scheme = iota
	sha
	apr1
	md5c
	bcr
)

// schemeOf tells the scheme of a hash. The reference knows these and no others; SHA-crypt
// ($5$, $6$) and plain text match nothing there, and so it stays.
func schemeOf(hash string) scheme {
	switch {
	case strings.HasPrefix(hash, "{SHA}"):
		return sha
	case strings.HasPrefix(hash, "$apr1$"):
		return apr1
	case strings.HasPrefix(hash, "$1$"):
		return md5c
	case strings.HasPrefix(hash, "$2a$"), strings.HasPrefix(hash, "$2b$"), strings.HasPrefix(hash, "$2x$"), strings.HasPrefix(hash, "$2y$"):
		return bcr
	}
	return unknown
}

// slow reports whether a check takes longer than a loop may wait.
func (s scheme) slow() bool { return s == apr1 || s == md5c || s == bcr }

// verify reports whether password is the one of hash.
func verify(s scheme, hash, password string) bool {
	switch s {
	case sha:
		want := strings.TrimPrefix(hash, "{SHA}")
		sum := sha1.Sum([]byte(password))
		var got [28]byte
		base64.StdEncoding.Encode(got[:], sum[:])
		return subtle.ConstantTimeCompare(got[:], []byte(want)) == 1
	case apr1:
		return verifyMD5(apr1_crypt.New(), hash, password)
	case md5c:
		return verifyMD5(md5_crypt.New(), hash, password)
	case bcr:
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}
	return false
}

func verifyMD5(c crypt.Crypter, hash, password string) (ok bool) {
	return c.Verify(hash, []byte(password)) == nil
}

// Wrong hashes to spend the same time on where the user is unknown: an answer must not
// tell by its time which users there are.
var decoys = [...]string{
	sha:  "{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	apr1: "$apr1$saltsalt$AAAAAAAAAAAAAAAAAAAAA1",
	md5c: "$1$saltsalt$AAAAAAAAAAAAAAAAAAAAA1",
}
