package auth

import (
	"encoding/base64"
	"net/http"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// defaultRealm is the reference's; browsers keep passwords by it.
const defaultRealm = "traefik"

type account struct {
	name, hash string
	scheme     scheme
}

type basic struct {
	users     map[string]account
	decoy     account
	slow      bool // some check is slow
	challenge string
	remove    bool
	field     string
	cache     *cache
}

// NewBasic asks for a user and password (RFC 7617). name is the middleware's, for what it
// remembers in state.
func NewBasic(name string, cfg *config.BasicAuth, state *memory.State, warn option.Warn) (exchange.Op, error) {
	entries, err := load(name, cfg.UsersFile, cfg.Users)
	if err != nil {
		return nil, err
	}
	b := &basic{users: make(map[string]account, len(entries)), remove: cfg.RemoveHeader, field: cfg.HeaderField}
	for _, e := range entries {
		parts := strings.Split(e.line, ":")
		if len(parts) != 2 || parts[0] == "" {
			return nil, lineError(e, "name:hash")
		}
		a := account{name: parts[0]}
		var doubled bool
		if a.hash, doubled = dollars(parts[1]); doubled {
			warn.Say(e.field, "write single dollars outside of compose files", "%s", explainDollars(a.name))
		}
		if a.scheme = schemeOf(a.hash); a.scheme == unknown {
			warn.Say(e.field, "`sluice passwd NAME` prints a bcrypt hash",
				"the hash of %q is not bcrypt, apr1, MD5 or {SHA}: no password will match it", a.name)
		}
		b.slow = b.slow || a.scheme.slow()
		b.users[a.name] = a
	}
	b.decoy = b.makeDecoy(entries)
	if b.challenge, err = realm("Basic", cfg.Realm); err != nil {
		return nil, err
	}
	if err := checkFieldName("headerField", b.field); err != nil {
		return nil, err
	}
	b.cache = memory.Get(state, memory.Key(entriesHash(entries), "basicAuth", name), newCache)
	return b, nil
}

// entriesHash is what the memory of verified passwords depends on.
func entriesHash(entries []entry) []string {
	var s []string
	for _, e := range entries {
		s = append(s, e.line)
	}
	return s
}

// makeDecoy returns an account nobody has, whose check costs what the first user's does.
func (b *basic) makeDecoy(entries []entry) account {
	name, _, _ := strings.Cut(entries[0].line, ":")
	first := b.users[name]
	d := account{scheme: first.scheme}
	switch first.scheme {
	case unknown:
	case bcr:
		cost, err := bcrypt.Cost([]byte(first.hash))
		if err != nil {
			cost = bcrypt.DefaultCost
		}
		// A hash with no password: 31 characters that no check yields.
		d.hash = "$2a$" + string([]byte{byte('0' + cost/10), byte('0' + cost%10)}) + "$" + strings.Repeat("A", 53)
	default:
		d.hash = decoys[first.scheme]
	}
	return d
}

// realm makes the value of WWW-Authenticate; quotes in the name are escaped (RFC 9110 §5.6.4).
func realm(scheme, name string) (string, error) {
	if name == "" {
		name = defaultRealm
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] == 0x7f {
			return "", option.Errorf("realm", "write it on one line", "has a control character")
		}
	}
	return scheme + ` realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`, nil
}

func checkFieldName(field, name string) error {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return option.Errorf(field, "use letters, digits and dashes", "%q is not the name of a field", name)
		}
	}
	return nil
}

// Request implements exchange.Op.
func (b *basic) Request(ex *exchange.Exchange) exchange.Verdict {
	token, ok := credentials(&ex.Req.Fields, "Basic")
	if !ok {
		return b.ask(ex)
	}
	var k [32]byte
	cached := len(token) <= maxToken
	if cached {
		k = b.cache.key(token)
		if user, ok := b.cache.user(k); ok {
			return b.pass(ex, user)
		}
	}
	if b.slow && !ex.MayBlock {
		return exchange.Block
	}
	text, err := decode(token)
	if err != nil {
		return b.ask(ex)
	}
	user, password, ok := strings.Cut(text, ":")
	if !ok {
		return b.ask(ex)
	}
	ex.Log.User = user
	a, known := b.users[user]
	if !known {
		a = b.decoy
	}
	right := false
	switch {
	case !cached: // longer than any sane password
	case a.scheme.slow():
		right = b.cache.check(k, func() bool { return verify(a.scheme, a.hash, password) })
	default:
		right = verify(a.scheme, a.hash, password)
	}
	if !right || !known {
		return b.ask(ex)
	}
	b.cache.put(k, a.name)
	return b.pass(ex, a.name)
}

func decode(token string) (string, error) {
	text, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		text, err = base64.RawStdEncoding.DecodeString(token)
	}
	return string(text), err
}

// credentials returns what follows the scheme in Authorization.
func credentials(f *exchange.Fields, scheme string) (string, bool) {
	v := f.Get("Authorization")
	if len(v) <= len(scheme) || v[len(scheme)] != ' ' || !exchange.EqualFold(v[:len(scheme)], scheme) {
		return "", false
	}
	return strings.TrimLeft(v[len(scheme):], " "), true
}

func (b *basic) pass(ex *exchange.Exchange, user string) exchange.Verdict {
	ex.Log.User = user
	if b.field != "" {
		setUser(&ex.Req.Fields, b.field, user)
	}
	if b.remove {
		ex.Req.Fields.Del("Authorization")
	}
	return exchange.Next
}

// setUser gives field the verified user. Spellings that a server may take for the same
// field ("X_User" or "X.User" for "X-User", as CGI and WSGI do) are removed: clients could set them.
func setUser(f *exchange.Fields, field, user string) {
	f.DelFunc(func(g *exchange.Field) bool { return sameVariable(g.Name, field) })
	f.Add(field, user)
}

// sameVariable reports whether two names become the same CGI variable.
func sameVariable(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if variableByte(a[i]) != variableByte(b[i]) {
			return false
		}
	}
	return true
}

// variableByte is what a byte of a field's name becomes in a CGI variable.
func variableByte(c byte) byte {
	switch {
	case c >= 'a' && c <= 'z':
		return c &^ 0x20
	case c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
		return c
	}
	return '_'
}

// dashes is for names of CGI variables written as those of fields.
func dashes(r rune) rune {
	if r < 0x80 && variableByte(byte(r)) == '_' {
		return '-'
	}
	return r
}

func (b *basic) ask(ex *exchange.Exchange) exchange.Verdict { return ask(ex, b.challenge) }

// ask answers 401 as the reference does.
func ask(ex *exchange.Exchange, challenge string) exchange.Verdict {
	ex.Reply(http.StatusUnauthorized, exchange.AuthRequired, "401 Unauthorized\n")
	ex.Resp.Fields.Set("Content-Type", "text/plain")
	ex.Resp.Fields.Add("WWW-Authenticate", challenge)
	return exchange.Answer
}
