package auth

import (
	"crypto/md5" //nolint:gosec // RFC 2617 asks for it; users' files hold MD5
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

type digest struct {
	realm     string
	challenge string // without nonce
	users     map[string]string
	decoy     string
	remove    bool
	field     string
	nonces    *nonces
}

// NewDigest asks for a user and password (RFC 2617, MD5, qop=auth).
func NewDigest(name string, cfg *config.DigestAuth, state *memory.State, warn option.Warn) (exchange.Op, error) {
	entries, err := load(name, cfg.UsersFile, cfg.Users)
	if err != nil {
		return nil, err
	}
	d := &digest{realm: cfg.Realm, users: make(map[string]string, len(entries)), remove: cfg.RemoveHeader, field: cfg.HeaderField}
	if d.realm == "" {
		d.realm = defaultRealm
	}
	for _, e := range entries {
		parts := strings.Split(e.line, ":")
		if len(parts) != 3 || parts[0] == "" {
			return nil, lineError(e, "name:realm:hash")
		}
		if parts[1] != d.realm {
			warn.Say(e.field, "write realm="+parts[1]+" or make the hash for the realm in use",
				"the hash of %q is for the realm %q, not %q: no password will match it", parts[0], parts[1], d.realm)
			continue
		}
		d.users[parts[0]] = strings.ToLower(parts[2])
	}
	challenge, err := realm("Digest", d.realm)
	if err != nil {
		return nil, err
	}
	if err := checkFieldName("headerField", d.field); err != nil {
		return nil, err
	}
	var b [16]byte
	_, _ = rand.Read(b[:])
	d.decoy = hex.EncodeToString(b[:])
	d.nonces = memory.Get(state, memory.Key(entriesHash(entries), "digestAuth", name), newNonces)
	d.challenge = challenge + `, opaque="` + d.nonces.opaque + `", algorithm=MD5, qop="auth", nonce="`
	return d, nil
}

// Request implements exchange.Op.
func (d *digest) Request(ex *exchange.Exchange) exchange.Verdict {
	v, ok := credentials(&ex.Req.Fields, "Digest")
	if !ok {
		return d.ask(ex, false)
	}
	var p digestParams
	if !p.parse(v) {
		return d.ask(ex, false)
	}
	ex.Log.User = strings.Clone(p.username)
	ha1, known := d.users[p.username]
	if !known {
		ha1 = d.decoy
	}
	right := p.response != "" && p.qop == "auth" && p.opaque == d.nonces.opaque && (p.algorithm == "" || exchange.EqualFold(p.algorithm, "MD5")) &&
		p.targets(&ex.Req) && subtle.ConstantTimeCompare([]byte(p.answer(ha1, ex.Req.Method)), []byte(strings.ToLower(p.response))) == 1
	if !right || !known {
		return d.ask(ex, false)
	}
	nc, err := strconv.ParseUint(p.nc, 16, 32)
	if err != nil {
		return d.ask(ex, false)
	}
	switch d.nonces.use(p.nonce, nc, ex.Now) {
	case nonceStale:
		return d.ask(ex, true) // the password is right: browsers ask again without their users
	case nonceBad:
		return d.ask(ex, false)
	}
	if d.field != "" {
		setUser(&ex.Req.Fields, d.field, ex.Log.User)
	}
	if d.remove {
		ex.Req.Fields.Del("Authorization")
	}
	return exchange.Next
}

func (d *digest) ask(ex *exchange.Exchange, stale bool) exchange.Verdict {
	c := d.challenge + d.nonces.issue(ex.Now) + `"`
	if stale {
		c += ", stale=true"
	}
	return ask(ex, c)
}

// digestParams are the parameters of a Digest credential.
type digestParams struct {
	username, realm, nonce, uri, response, algorithm, cnonce, opaque, qop, nc string
}

// parse reads a list of name=value, where value is a token or a quoted string
// (RFC 9110 §11.6.2). Unknown names are skipped; a name given twice is an error.
func (p *digestParams) parse(s string) bool {
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" {
			return true
		}
		i := strings.IndexByte(s, '=')
		if i <= 0 {
			return false
		}
		name := strings.TrimRight(s[:i], " \t")
		value, rest, ok := paramValue(strings.TrimLeft(s[i+1:], " \t"))
		if !ok {
			return false
		}
		s = strings.TrimLeft(rest, " \t")
		if s != "" && s[0] != ',' {
			return false
		}
		if to := p.slot(name); to != nil {
			if *to != "" {
				return false
			}
			*to = value
		}
	}
}

func (p *digestParams) slot(name string) *string {
	switch strings.ToLower(name) {
	case "username":
		return &p.username
	case "realm":
		return &p.realm
	case "nonce":
		return &p.nonce
	case "uri":
		return &p.uri
	case "response":
		return &p.response
	case "algorithm":
		return &p.algorithm
	case "cnonce":
		return &p.cnonce
	case "opaque":
		return &p.opaque
	case "qop":
		return &p.qop
	case "nc":
		return &p.nc
	}
	return nil
}

func paramValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		i := strings.IndexAny(s, ", \t")
		if i < 0 {
			i = len(s)
		}
		return s[:i], s[i:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", false
}

// targets reports whether the credential is for this very request.
func (p *digestParams) targets(req *exchange.Request) bool {
	if p.uri == "" {
		return false
	}
	if p.uri == req.Target {
		return true
	}
	mark := ""
	if req.HasQuery {
		mark = "?"
	}
	if p.uri == req.Path+mark+req.Query {
		return true
	}
	// A client may sign the absolute form and send the other, or the reverse.
	u, err := url.Parse(p.uri)
	if err != nil || u.Host == "" || !strings.EqualFold(u.Host, req.Host) {
		return false
	}
	return u.RequestURI() == req.Target || u.RequestURI() == req.Path+mark+req.Query
}

// answer is what the client must send (RFC 2617 §3.2.2.1).
func (p *digestParams) answer(ha1, method string) string {
	return md5hex(ha1 + ":" + p.nonce + ":" + p.nc + ":" + p.cnonce + ":" + p.qop + ":" + md5hex(method+":"+p.uri))
}

func md5hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // see the import
	return hex.EncodeToString(sum[:])
}
