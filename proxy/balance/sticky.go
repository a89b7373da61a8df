package balance

import (
	"crypto/sha1" //nolint:gosec // a short name, no secret: the reference derives it so
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/fnv"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// sticky finds the server that a cookie names and holds the Set-Cookie line of each server.
// The value is a function of the server's URL (or the child's name) only, so that
// affinity survives a change of router and equals the reference's.
type sticky struct {
	name    string
	byValue map[string]int
	older   map[string]int // values of older releases of the reference, which clients may still hold
	cookies []string
	tmpl    http.Cookie
	warning string
}

func newSticky(service string, c *config.Cookie) *sticky {
	s := &sticky{name: c.Name, byValue: map[string]int{}, older: map[string]int{}}
	if s.name == "" {
		sum := sha1.Sum([]byte("_TRAEFIK_BACKEND_" + service)) //nolint:gosec // see import
		s.name = "_" + hex.EncodeToString(sum[:])[:5]
	}
	s.name = cookieName(s.name)
	s.tmpl = http.Cookie{Name: s.name, Secure: c.Secure, HttpOnly: c.HTTPOnly, MaxAge: c.MaxAge, Domain: c.Domain, Path: "/"}
	if c.Path != nil {
		s.tmpl.Path = *c.Path
	}
	switch strings.ToLower(c.SameSite) {
	case "":
	case "none":
		s.tmpl.SameSite = http.SameSiteNoneMode
	case "lax":
		s.tmpl.SameSite = http.SameSiteLaxMode
	case "strict":
		s.tmpl.SameSite = http.SameSiteStrictMode
	default:
		// The reference leaves the attribute out without a word.
		s.warning = fmt.Sprintf("sticky.cookie.sameSite %q is not none, lax or strict; the cookie has no SameSite", c.SameSite)
	}
	return s
}

// add gives the next server its values: SHA-256 as set today, and those of older releases of
// the reference. Where a server takes no requests (weight zero), no cookie leads to it.
func (s *sticky) add(key string, takes bool) {
	i := len(s.cookies)
	sum := sha256.Sum256([]byte(key))
	c := s.tmpl
	c.Value = hex.EncodeToString(sum[:8])
	s.cookies = append(s.cookies, c.String())
	if !takes {
		return
	}
	s.byValue[c.Value] = i
	for _, v := range olderValues(key) {
		if _, dup := s.older[v]; !dup {
			s.older[v] = i
		}
	}
}

// olderValues are what releases of the reference made of a server's URL over the years: the
// URL itself, its FNV-1, and the FNV-1 of a hash of it.
func olderValues(key string) []string {
	hash := func(h hash.Hash64, s string) string {
		_, _ = h.Write([]byte(s))
		return strconv.FormatUint(h.Sum64(), 16)
	}
	one, oneA := hash(fnv.New64(), key), hash(fnv.New64a(), key)
	padded := strings.Repeat("0", 16-len(oneA)) + oneA
	return []string{key, one, oneA, hash(fnv.New64(), one), hash(fnv.New64(), padded)}
}

// find returns the server that the request's cookie names, or -1, and whether its value is
// that of an older release, so that it ought to be set anew. It does not allocate.
func (s *sticky) find(f *exchange.Fields) (server int, old bool) {
	for i := f.Index("Cookie", 0); i >= 0; i = f.Index("Cookie", i+1) {
		v := f.At(i).Value
		for v != "" {
			var part string
			part, v, _ = strings.Cut(v, ";")
			name, val, ok := strings.Cut(strings.TrimSpace(part), "=")
			if !ok || name != s.name {
				continue
			}
			if len(val) > 1 && val[0] == '"' && val[len(val)-1] == '"' {
				val = val[1 : len(val)-1]
			}
			if n, ok := s.byValue[val]; ok {
				return n, false
			}
			if n, ok := s.older[val]; ok {
				return n, true
			}
		}
	}
	return -1, false
}

// cookieName replaces what may not stand in a cookie's name (RFC 6265 §4.1.1: a token).
func cookieName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("!#$%&'*+-.^_`|~", r):
			return r
		}
		return '_'
	}, s)
}

// CookieName is the name of the sticky cookie as the API shows it, or "".
func (lb *LoadBalancer) CookieName() string { return lb.cookie }

// CookieName is the name of the sticky cookie as it is sent, or "".
func (g *group) CookieName() string { return g.sticky.cookieName() }

// Warning tells what works but is hardly meant, or "".
func (lb *LoadBalancer) Warning() string { return lb.doubts.Warning() }

// Warning tells what works but is hardly meant, or "".
func (g *group) Warning() string { return g.doubts.Warning() }

func (s *sticky) cookieName() string {
	if s == nil {
		return ""
	}
	return s.name
}
