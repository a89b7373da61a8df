package wire

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Underscore says what happens to field names that servers in the manner of CGI cannot tell
// from those with dashes: they make an underscore of whatever is no letter and no digit.
type Underscore uint8

// The strategies.
const (
	KeepUnderscore Underscore = iota
	DeleteUnderscore
	RejectUnderscore
)

// Forwarding holds an entry point's rules for requests before they are matched. It is immutable.
type Forwarding struct {
	// Insecure believes everybody's X-Forwarded-* fields; Trusted those of these networks.
	Insecure bool
	Trusted  []netip.Prefix
	// NotAppend leaves X-Forwarded-For as it is.
	NotAppend bool
	// SchemeFields adds X-Forwarded-Scheme and X-Scheme.
	SchemeFields bool
	// Connection names fields that a client's Connection field may name and that still go through the middlewares.
	Connection []string
	// Hostname is the value of X-Forwarded-Server; empty sends none.
	Hostname string

	// Underscore is about names with an underscore, Alias about those with any character
	// but letters, digits and dashes.
	Underscore, Alias Underscore
	// Deny holds the encoded characters that paths must not have.
	Deny Encoded
	// KeepDots switches SanitizePath off.
	KeepDots bool
	// EncodeSemicolons turns ";" in queries into "%3B"; without it ";" becomes "&".
	EncodeSemicolons bool
}

// NewForwarding reads an entry point's configuration.
func NewForwarding(ep *config.EntryPoint, hostname string) (*Forwarding, error) {
	fw := &Forwarding{Hostname: hostname, EncodeSemicolons: ep.HTTP.EncodeQuerySemicolons}
	if s := ep.HTTP.SanitizePath; s != nil {
		fw.KeepDots = !*s
	}
	var err error
	if fw.Underscore, err = parseUnderscore(ep.HTTP.UnderscoreHeadersStrategy); err != nil {
		return nil, fmt.Errorf("underscoreHeadersStrategy %w", err)
	}
	if fw.Alias, err = parseUnderscore(ep.HTTP.AliasHeadersStrategy); err != nil {
		return nil, fmt.Errorf("aliasHeadersStrategy %w", err)
	}
	if e := ep.HTTP.EncodedCharacters; e != nil {
		for _, x := range []struct {
			allow *bool
			bit   Encoded
		}{
			{e.AllowEncodedSlash, EncodedSlash}, {e.AllowEncodedBackSlash, EncodedBackSlash},
			{e.AllowEncodedNullCharacter, EncodedNull}, {e.AllowEncodedSemicolon, EncodedSemicolon},
			{e.AllowEncodedPercent, EncodedPercent}, {e.AllowEncodedQuestionMark, EncodedQuestion},
			{e.AllowEncodedHash, EncodedHash},
		} {
			if x.allow != nil && !*x.allow {
				fw.Deny |= x.bit
			}
		}
	}
	if f := ep.ForwardedHeaders; f != nil {
		fw.Insecure, fw.NotAppend, fw.SchemeFields = f.Insecure, f.NotAppendXForwardedFor, f.AddXForwardedSchemeHeaders
		fw.Connection = f.Connection
		var err error
		if fw.Trusted, err = ParseNetworks(f.TrustedIPs); err != nil {
			return nil, fmt.Errorf("forwardedHeaders.trustedIPs: %w", err)
		}
	}
	return fw, nil
}

// ParseNetworks reads addresses and CIDR ranges.
func ParseNetworks(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		s = strings.TrimSpace(s)
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked())
			continue
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a range", s)
		}
		a = a.Unmap()
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out, nil
}

// InNetworks reports whether a is in one of the networks.
func InNetworks(nets []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	for _, p := range nets {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Trusts reports whether the forwarded fields of a peer are believed. Lanes ask once a connection.
func (fw *Forwarding) Trusts(peer netip.Addr) bool {
	return fw.Insecure || len(fw.Trusted) > 0 && InNetworks(fw.Trusted, peer)
}

// PrepareRequest readies a parsed request for matching: it refuses what the entry point
// refuses (the error is an *Error), brings the path into the one form that is matched and
// forwarded, removes what the client's Connection field names and, unless
// ex.Req.PeerTrusted, all forwarded fields, and adds those that are missing. The peer is
// appended to X-Forwarded-For by OutgoingRequest, after the middlewares.
func PrepareRequest(ex *exchange.Exchange, fw *Forwarding) error {
	req := &ex.Req
	if fw.Alias != KeepUnderscore {
		if e := aliases(&req.Fields, fw.Alias, isAlias); e != nil {
			return e
		}
	}
	if fw.Underscore != KeepUnderscore {
		if e := aliases(&req.Fields, fw.Underscore, hasUnderscore); e != nil {
			return e
		}
	}
	if fw.Deny != 0 && HasEncoded(req.Path, fw.Deny) {
		return ErrEncodedChar
	}
	req.Path = NormalizePath(req.Path, ex)
	if !fw.KeepDots {
		req.Path = SanitizePath(req.Path, ex)
	}
	if strings.IndexByte(req.Query, ';') >= 0 {
		semicolons(ex, fw.EncodeSemicolons)
	}
	if e := survey(req, fw); e != nil {
		return e
	}
	connectionFields(ex, fw)
	var have forwardedSet
	if req.PeerTrusted {
		have = foundForwarded(&req.Fields)
	} else {
		dropForwarded(&req.Fields)
	}
	addForwarded(ex, fw, have)
	req.NoForwardedFor = fw.NotAppend
	return nil
}

// HopsField counts the passages of a request that the edge sent to itself. It is there from
// the second passage on.
const HopsField = "X-Sluice-Hops"

// maxHops is how often a request may come back to the edge that sent it.
const maxHops = 9

// survey looks at fields that decide how the request is forwarded.
//
// It ends the requests that go round in circles: a service that is the edge's own
// address would make one request take every connection there is. What the edge sent is told
// by its name, which needs no trust: who forges it is refused a request of his own.
func survey(req *exchange.Request, fw *Forwarding) *Error {
	own, hops := false, 0
	req.Binds = false
	for _, f := range req.Fields.All() {
		switch len(f.Name) {
		case len(HopsField): // and of Authorization
			if is(f.Name, "x-sluice-hops") {
				hops = maxHops
				if len(f.Value) == 1 && f.Value[0]-'0' <= maxHops {
					hops = int(f.Value[0] - '0')
				}
			}
			req.Binds = req.Binds || is(f.Name, "authorization") && binds(f.Value)
		case 18:
			own = own || is(f.Name, "x-forwarded-server") && f.Value == fw.Hostname
		}
	}
	if own && fw.Hostname != "" {
		hops++
	}
	if hops > maxHops {
		return ErrLoop
	}
	if hops > 0 {
		req.Hops = uint8(hops) //nolint:gosec // at most maxHops
		req.Fields.Set(HopsField, "0123456789"[hops:hops+1])
	}
	return nil
}

// binds reports credentials of a scheme that authenticates connections.
func binds(credentials string) bool {
	scheme, _, _ := strings.Cut(credentials, " ")
	return is(scheme, "ntlm") || is(scheme, "negotiate")
}

func parseUnderscore(s string) (Underscore, error) {
	switch strings.ToLower(s) {
	case "", "keep":
		return KeepUnderscore, nil
	case "delete":
		return DeleteUnderscore, nil
	case "reject":
		return RejectUnderscore, nil
	}
	return KeepUnderscore, fmt.Errorf("%q is not keep, delete or reject", s)
}

func hasUnderscore(name string) bool { return strings.IndexByte(name, '_') >= 0 }

// isAlias reports whether a server may take the name for another one.
func isAlias(name string) bool {
	for i := range len(name) {
		if c := name[i]; c != '-' && !isAlnum(c) {
			return true
		}
	}
	return false
}

func isAlnum(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// aliases removes the fields with such names, or gives the error where there is one.
func aliases(fields *exchange.Fields, how Underscore, such func(name string) bool) *Error {
	found := false
	for i := range fields.Len() {
		if such(fields.At(i).Name) {
			found = true
			break
		}
	}
	if !found {
		return nil
	}
	if how == RejectUnderscore {
		return ErrUnderscore
	}
	fields.DelFunc(func(f *exchange.Field) bool { return such(f.Name) })
	return nil
}

// semicolons takes the ";" out of the query. Some programs end a parameter there and some do
// not, so that matchers here and the server could see different parameters; the reference
// makes each an "&", or encodes it.
func semicolons(ex *exchange.Exchange, encode bool) {
	by := "&"
	if encode {
		by = "%3B"
	}
	out := make([]byte, 0, len(ex.Req.Query)+2*strings.Count(ex.Req.Query, ";"))
	for i := 0; i < len(ex.Req.Query); i++ {
		if c := ex.Req.Query[i]; c == ';' {
			out = append(out, by...)
		} else {
			out = append(out, c)
		}
	}
	ex.Req.Query = str(ex.Hold(out))
}

// forwardedSet holds which forwarded fields a trusted peer has sent.
type forwardedSet struct {
	realIP, proto, port, host, server int // index + 1
}

// forwardedName reports whether name is one that only trusted peers may send, also with other
// characters for its dashes.
func forwardedName(name string) bool {
	if len(name) < 8 || name[0]|0x20 != 'x' || isAlnum(name[1]) {
		return false
	}
	switch len(name) {
	case 8:
		return dashed(name, "x-scheme")
	case 9:
		return dashed(name, "x-real-ip")
	case 15:
		// X-Replaced-Path is the edge's word, too: its middlewares add to what is there.
		return dashed(name, "x-forwarded-for") || dashed(name, "x-forwarded-uri") || dashed(name, "x-replaced-path")
	case 16:
		return dashed(name, "x-forwarded-host") || dashed(name, "x-forwarded-port")
	case 17:
		return dashed(name, "x-forwarded-proto")
	case 18:
		return dashed(name, "x-forwarded-server") || dashed(name, "x-forwarded-method") ||
			dashed(name, "x-forwarded-prefix") || dashed(name, "x-forwarded-scheme")
	case 27:
		return dashed(name, "x-forwarded-tls-client-cert")
	case 32:
		return dashed(name, "x-forwarded-tls-client-cert-info")
	}
	return false
}

// dashed reports whether name is want whatever its case, an underscore or a dot counting as a
// dash: servers in the manner of CGI make underscores of all.
func dashed(name, want string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		} else if !isAlnum(c) {
			c = '-'
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

func dropForwarded(fields *exchange.Fields) {
	list := fields.All()
	n := 0
	for i := range list {
		if forwardedName(list[i].Name) {
			continue
		}
		if n != i {
			list[n] = list[i]
		}
		n++
	}
	fields.Truncate(n)
}

func foundForwarded(fields *exchange.Fields) (s forwardedSet) {
	for i := range fields.Len() {
		f := fields.At(i)
		if len(f.Name) < 8 || f.Name[0]|0x20 != 'x' || f.Value == "" {
			continue
		}
		at := i + 1
		switch len(f.Name) {
		case 9:
			if is(f.Name, "x-real-ip") {
				s.realIP = at
			}
		case 16:
			if is(f.Name, "x-forwarded-host") {
				s.host = at
			} else if is(f.Name, "x-forwarded-port") {
				s.port = at
			}
		case 17:
			if is(f.Name, "x-forwarded-proto") {
				s.proto = at
			}
		case 18:
			if is(f.Name, "x-forwarded-server") {
				s.server = at
			}
		}
	}
	return s
}

func addForwarded(ex *exchange.Exchange, fw *Forwarding, have forwardedSet) {
	req := &ex.Req
	proto := "http"
	if req.TLS != nil {
		proto = "https"
	}
	if req.Upgrade != "" && hasToken(req.Upgrade, "websocket") {
		proto = "ws"
		if req.TLS != nil {
			proto = "wss"
		}
	}
	if have.proto > 0 {
		proto = req.Fields.At(have.proto - 1).Value
	}
	set := req.Fields.Add
	if req.PeerTrusted {
		set = req.Fields.Set // fills what was sent empty
	}
	if have.host == 0 && req.Host != "" {
		set("X-Forwarded-Host", req.Host)
	}
	if have.port == 0 {
		set("X-Forwarded-Port", forwardedPort(req, proto))
	}
	if have.proto == 0 {
		set("X-Forwarded-Proto", proto)
	}
	switch {
	case fw.Hostname == "":
	case have.server > 0:
		req.Fields.Set("X-Forwarded-Server", fw.Hostname)
	default:
		req.Fields.Add("X-Forwarded-Server", fw.Hostname)
	}
	if have.realIP == 0 && req.Peer.IsValid() {
		set("X-Real-Ip", peerText(ex))
	}
	if fw.SchemeFields { // always what X-Forwarded-Proto says, whoever sent them
		req.Fields.Set("X-Forwarded-Scheme", proto)
		req.Fields.Set("X-Scheme", proto)
	}
}

// peerText is the client's address without port and zone, kept with the exchange.
func peerText(ex *exchange.Exchange) string {
	if ex.Req.PeerText == "" {
		var b [48]byte
		ex.Req.PeerText = str(ex.Hold(ex.Req.Peer.Addr().Unmap().WithZone("").AppendTo(b[:0])))
	}
	return ex.Req.PeerText
}

// forwardedPort is the port the client asked for: of its Host, else that of the scheme.
func forwardedPort(req *exchange.Request, proto string) string {
	if p := HostPort(req.Host); p != "" {
		return p
	}
	if proto == "https" || proto == "wss" || req.TLS != nil {
		return "443"
	}
	return "80"
}

// HostPort returns the port of an authority, or "".
func HostPort(host string) string {
	for i := len(host) - 1; i >= 0; i-- {
		switch host[i] {
		case ':':
			if strings.IndexByte(host[:i], ':') >= 0 && host[i-1] != ']' {
				return "" // an IPv6 address without brackets
			}
			return host[i+1:]
		case ']':
			return ""
		}
	}
	return ""
}
