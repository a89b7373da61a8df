package middleware

import (
	"maps"
	"slices"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/answer"
	"github.com/sluice-edge/sluice/middleware/auth"
	"github.com/sluice-edge/sluice/middleware/body"
	"github.com/sluice-edge/sluice/middleware/header"
	"github.com/sluice-edge/sluice/middleware/limit"
	"github.com/sluice-edge/sluice/middleware/rewrite"
)

// mw shortens the rows of the table.
type mw = config.Middleware

// kinds is the table of kinds, in the order of config.Middleware.
func kinds() []kind {
	return slices.Concat(pathKinds(), headKinds(), authKinds(), limitKinds(), bodyKinds(), otherKinds())
}

func pathKinds() []kind {
	return []kind{
		{"addPrefix", func(c *mw) bool { return c.AddPrefix != nil },
			func(_ string, c *mw, _ Deps) (Built, error) { return op(rewrite.NewAddPrefix(c.AddPrefix)) }},
		{"stripPrefix", func(c *mw) bool { return c.StripPrefix != nil },
			func(_ string, c *mw, d Deps) (Built, error) { return op(rewrite.NewStripPrefix(c.StripPrefix, d.Warn)) }},
		{"stripPrefixRegex", func(c *mw) bool { return c.StripPrefixRegex != nil },
			func(_ string, c *mw, d Deps) (Built, error) {
				return op(rewrite.NewStripPrefixRegex(c.StripPrefixRegex, d.Warn))
			}},
		{"replacePath", func(c *mw) bool { return c.ReplacePath != nil },
			func(_ string, c *mw, d Deps) (Built, error) { return op(rewrite.NewReplacePath(c.ReplacePath, d.Warn)) }},
		{"replacePathRegex", func(c *mw) bool { return c.ReplacePathRegex != nil },
			func(_ string, c *mw, _ Deps) (Built, error) {
				return op(rewrite.NewReplacePathRegex(c.ReplacePathRegex))
			}},
		{"redirectRegex", func(c *mw) bool { return c.RedirectRegex != nil },
			func(_ string, c *mw, _ Deps) (Built, error) { return op(rewrite.NewRedirectRegex(c.RedirectRegex)) }},
		{"redirectScheme", func(c *mw) bool { return c.RedirectScheme != nil },
			func(_ string, c *mw, _ Deps) (Built, error) { return op(rewrite.NewRedirectScheme(c.RedirectScheme)) }},
		{"encodedCharacters", func(c *mw) bool { return c.EncodedCharacters != nil },
			func(_ string, c *mw, _ Deps) (Built, error) {
				return op(rewrite.NewEncodedCharacters(c.EncodedCharacters), nil)
			}},
		{"rewriteLocation", func(c *mw) bool { return c.RewriteLocation != nil },
			func(_ string, c *mw, _ Deps) (Built, error) {
				return op(rewrite.NewRewriteLocation(c.RewriteLocation), nil)
			}},
	}
}

func headKinds() []kind {
	return []kind{
		{"headers", func(c *mw) bool { return c.Headers != nil },
			func(_ string, c *mw, d Deps) (Built, error) { return op(header.New(c.Headers, d.Warn)) }},
		{"passTLSClientCert", func(c *mw) bool { return c.PassTLSClientCert != nil },
			func(_ string, c *mw, _ Deps) (Built, error) {
				return op(header.NewClientCert(c.PassTLSClientCert), nil)
			}},
	}
}

func authKinds() []kind {
	return []kind{
		{"basicAuth", func(c *mw) bool { return c.BasicAuth != nil },
			func(n string, c *mw, d Deps) (Built, error) {
				return op(auth.NewBasic(n, c.BasicAuth, d.State, d.Warn))
			}},
		{"digestAuth", func(c *mw) bool { return c.DigestAuth != nil },
			func(n string, c *mw, d Deps) (Built, error) {
				return op(auth.NewDigest(n, c.DigestAuth, d.State, d.Warn))
			}},
		{"forwardAuth", func(c *mw) bool { return c.ForwardAuth != nil },
			func(_ string, c *mw, d Deps) (Built, error) {
				o, stage, err := auth.NewForward(c.ForwardAuth, d.State, d.Warn)
				return Built{Op: o, Stage: stage}, err
			}},
	}
}

func limitKinds() []kind {
	return []kind{
		{"ipAllowList", func(c *mw) bool { return c.IPAllowList != nil },
			func(_ string, c *mw, d Deps) (Built, error) { return op(limit.NewIPAllowList(c.IPAllowList, d.Warn)) }},
		{"ipWhiteList", func(c *mw) bool { return c.IPWhiteList != nil },
			func(_ string, c *mw, d Deps) (Built, error) {
				d.warn("ipWhiteList", "is deprecated", "write ipAllowList, with the same options")
				return op(limit.NewIPAllowList(&config.IPAllowList{
					SourceRange: c.IPWhiteList.SourceRange, IPStrategy: c.IPWhiteList.IPStrategy}, d.Warn))
			}},
		{"rateLimit", func(c *mw) bool { return c.RateLimit != nil },
			func(n string, c *mw, d Deps) (Built, error) {
				return op(limit.NewRateLimit(d.Router, n, c.RateLimit, d.State, d.Warn, d.Log))
			}},
		{"inFlightReq", func(c *mw) bool { return c.InFlightReq != nil },
			func(n string, c *mw, d Deps) (Built, error) {
				return op(limit.NewInFlight(d.Router, n, c.InFlightReq, d.State, d.Warn))
			}},
		{"circuitBreaker", func(c *mw) bool { return c.CircuitBreaker != nil },
			func(n string, c *mw, d Deps) (Built, error) {
				return op(limit.NewBreaker(d.Router, n, c.CircuitBreaker, d.State, d.Warn))
			}},
		{"ipDenyList", func(c *mw) bool { return c.IPDenyList != nil },
			func(_ string, c *mw, d Deps) (Built, error) { return op(limit.NewIPDenyList(c.IPDenyList, d.Warn)) }},
	}
}

func bodyKinds() []kind {
	return []kind{
		{"buffering", func(c *mw) bool { return c.Buffering != nil },
			func(_ string, c *mw, _ Deps) (Built, error) { return stage(body.NewBuffering(c.Buffering)) }},
		{"compress", func(c *mw) bool { return c.Compress != nil },
			func(_ string, c *mw, d Deps) (Built, error) { return stage(body.NewCompress(c.Compress, d.Warn)) }},
		{"contentType", func(c *mw) bool { return c.ContentType != nil },
			func(_ string, c *mw, d Deps) (Built, error) {
				return stage(body.NewContentType(c.ContentType, d.Warn), nil)
			}},
		{"errors", func(c *mw) bool { return c.Errors != nil },
			func(_ string, c *mw, d Deps) (Built, error) {
				return stage(body.NewErrors(c.Errors, d.Service, d.Warn))
			}},
		{"grpcWeb", func(c *mw) bool { return c.GRPCWeb != nil },
			func(_ string, c *mw, _ Deps) (Built, error) { return stage(body.NewGRPCWeb(c.GRPCWeb)) }},
		{"retry", func(c *mw) bool { return c.Retry != nil },
			func(_ string, c *mw, d Deps) (Built, error) { return stage(body.NewRetry(c.Retry, d.Warn)) }},
	}
}

func otherKinds() []kind {
	return []kind{
		{"respond", func(c *mw) bool { return c.Respond != nil },
			func(_ string, c *mw, _ Deps) (Built, error) { return op(answer.NewRespond(c.Respond)) }},
		{"maintenance", func(c *mw) bool { return c.Maintenance != nil },
			func(_ string, c *mw, _ Deps) (Built, error) { return op(answer.NewMaintenance(c.Maintenance)) }},
		{"chain", func(c *mw) bool { return c.Chain != nil },
			func(string, *mw, Deps) (Built, error) { return Built{}, nil }},
		{"plugin", func(c *mw) bool { return len(c.Plugin) > 0 },
			func(_ string, c *mw, _ Deps) (Built, error) {
				name := slices.Sorted(maps.Keys(c.Plugin))[0]
				return Built{}, &OptionError{Field: "plugin", Text: "plugins are not supported: " + name, Remedy: config.PluginRemedy(name)}
			}},
	}
}

func (d Deps) warn(field, text, remedy string) {
	if d.Warn != nil {
		d.Warn(field, text, remedy)
	}
}
