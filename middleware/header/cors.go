package header

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// cors answers preflights and lets scripts of other origins read answers (Fetch standard).
type cors struct {
	credentials              bool
	headers, methods, expose string
	// With credentials browsers take "*" for a name (Fetch standard, CORS protocol and
	// credentials): what the client asks for is said instead of a wildcard.
	anyHeader, anyMethod bool
	origins              []string
	regexes              []*regexp.Regexp
	maxAge               string
	vary                 bool
}

// newCORS returns nil where no option of CORS is set.
func newCORS(cfg *config.Headers) (*cors, error) {
	c := &cors{
		credentials: cfg.AccessControlAllowCredentials,
		origins:     cfg.AccessControlAllowOriginList,
		vary:        cfg.AddVaryHeader,
	}
	for _, f := range []struct {
		to    *string
		field string
		list  []string
	}{
		{&c.headers, "accessControlAllowHeaders", cfg.AccessControlAllowHeaders},
		{&c.methods, "accessControlAllowMethods", cfg.AccessControlAllowMethods},
		{&c.expose, "accessControlExposeHeaders", cfg.AccessControlExposeHeaders},
	} {
		v, err := oneLine(f.field, strings.Join(f.list, ","))
		if err != nil {
			return nil, err
		}
		*f.to = v
	}
	if c.credentials {
		c.anyHeader = slices.Contains(cfg.AccessControlAllowHeaders, "*")
		c.anyMethod = slices.Contains(cfg.AccessControlAllowMethods, "*")
		if slices.Contains(cfg.AccessControlExposeHeaders, "*") {
			c.expose = ""
		}
	}
	for _, o := range c.origins {
		if _, err := oneLine("accessControlAllowOriginList", o); err != nil {
			return nil, err
		}
	}
	for _, text := range cfg.AccessControlAllowOriginListRegex {
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, option.Errorf("accessControlAllowOriginListRegex", "write for example ^https://.*\\.example\\.com$",
				"%q is not a regular expression: %v", text, err)
		}
		c.regexes = append(c.regexes, re)
	}
	if cfg.AccessControlMaxAge != nil {
		c.maxAge = strconv.FormatInt(*cfg.AccessControlMaxAge, 10)
	}
	if !c.credentials && !c.vary && c.headers == "" && c.methods == "" && c.expose == "" &&
		len(c.origins)+len(c.regexes) == 0 && c.maxAge == "" {
		return nil, nil
	}
	return c, nil
}

// allowed returns the origin to name in the answer. Where any is allowed and credentials
// are, that is the client's own; it is empty where the client has named none, as with the
// reference.
func (c *cors) allowed(origin string) (string, bool) {
	for _, o := range c.origins {
		switch {
		case o == origin, o == "*" && c.credentials:
			return origin, true
		case o == "*":
			return o, true
		}
	}
	for _, re := range c.regexes {
		if re.MatchString(origin) {
			return origin, true
		}
	}
	return "", false
}

// preflight answers a preflight request and reports whether it was one.
func (c *cors) preflight(ex *exchange.Exchange) bool {
	if ex.Req.Method != http.MethodOptions {
		return false
	}
	origin, method := ex.Req.Fields.Get("Origin"), ex.Req.Fields.Get("Access-Control-Request-Method")
	if origin == "" || method == "" {
		return false
	}
	ex.Resp.Status, ex.Resp.StatusText, ex.Reason = http.StatusOK, "", exchange.Preflight
	ex.Resp.Framing, ex.Resp.Length, ex.Body = exchange.Sized, 0, nil
	f := &ex.Resp.Fields
	f.Reset()
	if c.credentials {
		f.Add("Access-Control-Allow-Credentials", "true")
	}
	headers, methods := c.headers, c.methods
	if c.anyHeader {
		headers = ex.Req.Fields.Get("Access-Control-Request-Headers")
	}
	if c.anyMethod {
		methods = method
	}
	match, _ := c.allowed(origin)
	for _, s := range [...]set{
		{"Access-Control-Allow-Headers", headers},
		{"Access-Control-Allow-Methods", methods},
		{"Access-Control-Allow-Origin", match},
		{"Access-Control-Expose-Headers", c.expose},
		{"Access-Control-Max-Age", c.maxAge},
	} {
		if s.value != "" {
			f.Add(s.name, s.value)
		}
	}
	return true
}

func (c *cors) respond(ex *exchange.Exchange) {
	f := &ex.Resp.Fields
	if o, ok := c.allowed(ex.Req.Fields.Get("Origin")); ok {
		f.Set("Access-Control-Allow-Origin", o)
	}
	if c.credentials {
		f.Set("Access-Control-Allow-Credentials", "true")
	}
	if c.expose != "" {
		f.Set("Access-Control-Expose-Headers", c.expose)
	}
	if c.vary && !f.HasToken("Vary", "Origin") {
		if v := f.Get("Vary"); v != "" {
			f.Set("Vary", ex.HoldString(v, ",Origin"))
		} else {
			f.Set("Vary", "Origin")
		}
	}
}
