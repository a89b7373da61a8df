package balance

import (
	"crypto/sha1" //nolint:gosec // a short name, no secret: the reference derives it so
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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
	cookies []string
	tmpl    http.Cookie
	warning string
}

func newSticky(service string, c *config.Cookie) *sticky {
	s := &sticky{name: c.Name, byValue: map[string]int{}}
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

// add gives the next server its values: SHA-256 as set today; FNV-1a and the plain key as
// older releases of the reference set them, which clients may still hold.
func (s *sticky) add(key string) {
	i := len(s.cookies)
	sum := sha256.Sum256([]byte(key))
	value := hex.EncodeToString(sum[:8])
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	for _, v := range []string{value, strconv.FormatUint(h.Sum64(), 16), key} {
		if _, dup := s.byValue[v]; !dup {
			s.byValue[v] = i
		}
	}
	c := s.tmpl
	c.Value = value
	s.cookies = append(s.cookies, c.String())
}

// find returns the server that the request's cookie names, or -1. It does not allocate.
func (s *sticky) find(f *exchange.Fields) int {
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
				return n
			}
		}
	}
	return -1
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

// CookieName is the name of the sticky cookie as it is sent, or "".
func (lb *LoadBalancer) CookieName() string { return lb.sticky.cookieName() }

// CookieName is the name of the sticky cookie as it is sent, or "".
func (g *group) CookieName() string { return g.sticky.cookieName() }

// Warning tells what works but is hardly meant, or "".
func (lb *LoadBalancer) Warning() string {
	if w := lb.sticky.warn(); w != "" && lb.warning != "" {
		return w + "; " + lb.warning
	} else if w != "" {
		return w
	}
	return lb.warning
}

// Warning tells what works but is hardly meant, or "".
func (g *group) Warning() string { return g.sticky.warn() }

func (s *sticky) cookieName() string {
	if s == nil {
		return ""
	}
	return s.name
}

func (s *sticky) warn() string {
	if s == nil {
		return ""
	}
	return s.warning
}
