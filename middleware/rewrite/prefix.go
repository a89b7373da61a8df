// Package rewrite holds the middlewares that change a request's path or send the client
// to another URL.
package rewrite

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// ForwardedPrefix tells the server what was cut off the path before it got the request.
const ForwardedPrefix = "X-Forwarded-Prefix"

// escape returns a literal path as it stands in a URL.
func escape(path string) string { return (&url.URL{Path: path}).EscapedPath() }

// pathOf is the path as the middlewares further out left it, which may be "".
func pathOf(ex *exchange.Exchange) string {
	if ex.Log.Bare {
		return ""
	}
	return ex.Req.Path
}

// setPath is what pathOf gives from now on. A server is asked for "/" where it is "".
func setPath(ex *exchange.Exchange, path string) {
	ex.Log.Bare = path == ""
	if path == "" {
		path = "/"
	}
	ex.Req.Path = path
}

type addPrefix struct{ prefix string }

// NewAddPrefix puts a prefix before the path.
func NewAddPrefix(cfg *config.AddPrefix) (exchange.Op, error) {
	if cfg.Prefix == "" {
		return nil, option.Errorf("prefix", "write for example prefix=/api", "is empty")
	}
	p := cfg.Prefix
	if p[0] != '/' {
		p = "/" + p
	}
	return &addPrefix{prefix: escape(p)}, nil
}

func (a *addPrefix) Request(ex *exchange.Exchange) exchange.Verdict {
	switch {
	case ex.Log.Bare:
		setPath(ex, a.prefix)
	case ex.Req.Path != "*":
		ex.Req.Path = ex.HoldString(a.prefix, ex.Req.Path)
	}
	return exchange.Next
}

type stripPrefix struct {
	prefixes []string
	reported []string
	slash    bool
}

// NewStripPrefix cuts the first prefix that matches off the path. As with the reference a
// prefix may end inside a segment: /api makes /ary of /apiary.
func NewStripPrefix(cfg *config.StripPrefix, warn option.Warn) (exchange.Op, error) {
	if len(cfg.Prefixes) == 0 {
		warn.Say("prefixes", "write for example prefixes=/api", "is empty: nothing is cut off")
	}
	s := &stripPrefix{}
	for _, p := range cfg.Prefixes {
		if p == "" {
			warn.Say("prefixes", "leave the empty entry out", "an empty prefix matches every path")
		} else if p[0] != '/' {
			warn.Say("prefixes", "write /"+p, "prefix %q does not begin with / and never matches", p)
		}
		s.prefixes = append(s.prefixes, p)
		s.reported = append(s.reported, strings.TrimSpace(p))
	}
	if cfg.ForceSlash != nil {
		warn.Say("forceSlash", "leave it out", "is deprecated: a server is asked for / in any case")
		s.slash = *cfg.ForceSlash
	}
	return s, nil
}

func (s *stripPrefix) Request(ex *exchange.Exchange) exchange.Verdict {
	for i, p := range s.prefixes {
		if n, ok := cut(pathOf(ex), p); ok {
			return strip(ex, n, s.reported[i], s.slash)
		}
	}
	return exchange.Next
}

// strip takes the first n bytes off the path and reports them as prefix. What is left begins
// with a slash, but for nothing at all: slash makes "/" of that.
func strip(ex *exchange.Exchange, n int, prefix string, slash bool) exchange.Verdict {
	path := pathOf(ex)
	rest := path[n:]
	switch {
	case rest == "" && slash:
		rest = "/"
	case rest != "" && rest[0] != '/':
		rest = ex.HoldString("/", rest)
	}
	// "/p../x" without "/p" would be "/../x": nobody asked for a path outside.
	if !normal(rest) {
		return refusePath(ex)
	}
	setPath(ex, rest)
	ex.Req.Fields.Add(ForwardedPrefix, prefix)
	cutOff := strings.TrimSuffix(path[:n], "/")
	if ex.Log.StrippedPrefix != "" {
		cutOff = ex.HoldString(ex.Log.StrippedPrefix, cutOff)
	}
	ex.Log.StrippedPrefix = cutOff
	return exchange.Next
}

func refusePath(ex *exchange.Exchange) exchange.Verdict {
	return ex.Reply(400, exchange.PathRefused, "")
}

// cut matches the decoded path against prefix and returns how many bytes of the escaped
// path the prefix takes.
func cut(path, prefix string) (int, bool) {
	n := 0
	for i := 0; i < len(prefix); i++ {
		if n >= len(path) {
			return 0, false
		}
		c, w := path[n], 1
		if c == '%' && n+2 < len(path) {
			if hi, lo := unhex(path[n+1]), unhex(path[n+2]); hi >= 0 && lo >= 0 {
				c, w = byte(hi<<4|lo), 3
			}
		}
		if c != prefix[i] {
			return 0, false
		}
		n += w
	}
	return n, true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// dotSegment reports whether the first segment of s, a path without its slash, is "." or
// "..", in whatever spelling.
func dotSegment(s string) bool {
	dots := 0
	for i := 0; i < len(s) && s[i] != '/'; {
		switch {
		case s[i] == '.':
			i++
		case s[i] == '%' && i+2 < len(s) && s[i+1] == '2' && s[i+2]|0x20 == 'e':
			i += 3
		default:
			return false
		}
		dots++
	}
	return dots == 1 || dots == 2
}

// normal reports whether a path has no empty segment and none that is "." or "..".
func normal(path string) bool {
	for i := 0; i+1 < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		switch path[i+1] {
		case '/':
			return false
		case '.', '%':
			if dotSegment(path[i+1:]) {
				return false
			}
		}
	}
	return true
}

type stripPrefixRegex struct{ regex []*regexp.Regexp }

// NewStripPrefixRegex cuts off what one of the expressions matches at the beginning of the path.
func NewStripPrefixRegex(cfg *config.StripPrefixRegex, warn option.Warn) (exchange.Op, error) {
	if len(cfg.Regex) == 0 {
		warn.Say("regex", "write for example regex=/v[0-9]+", "is empty: nothing is cut off")
	}
	s := &stripPrefixRegex{}
	for _, text := range cfg.Regex {
		re, err := compile("regex", strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		s.regex = append(s.regex, re)
	}
	return s, nil
}

// compile compiles a regular expression of an option.
func compile(field, text string) (*regexp.Regexp, error) {
	re, err := regexp.Compile(text)
	if err != nil {
		remedy := "see https://golang.org/s/re2syntax"
		if strings.Contains(text, "$$") {
			remedy = "doubled dollars are for compose files only; elsewhere write a single $"
		}
		return nil, option.Errorf(field, remedy, "%q is not a regular expression: %v", text, err)
	}
	return re, nil
}

func (s *stripPrefixRegex) Request(ex *exchange.Exchange) exchange.Verdict {
	path := pathOf(ex)
	plain := path
	if strings.IndexByte(path, '%') >= 0 {
		if p, err := url.PathUnescape(path); err == nil {
			plain = p
		}
	}
	for _, re := range s.regex {
		at := re.FindStringIndex(plain)
		if at == nil || at[0] != 0 || at[1] == 0 {
			continue
		}
		n, ok := cut(path, plain[:at[1]])
		if !ok {
			continue
		}
		return strip(ex, n, plain[:at[1]], false)
	}
	return exchange.Next
}
