package middleware

import (
	"net/netip"
	"testing"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// BenchmarkOps measures each kind of op as a loop runs it: an ordinary request that passes,
// its answer and its end.
func BenchmarkOps(b *testing.B) {
	period := config.Duration(1e9)
	for _, c := range []struct {
		name string
		cfg  config.Middleware
		warm bool // may block once
	}{
		{"addPrefix", config.Middleware{AddPrefix: &config.AddPrefix{Prefix: "/in"}}, false},
		{"stripPrefix", config.Middleware{StripPrefix: &config.StripPrefix{Prefixes: []string{"/api"}}}, false},
		{"stripPrefixRegex", config.Middleware{StripPrefixRegex: &config.StripPrefixRegex{Regex: []string{"/a[a-z]+"}}}, false},
		{"replacePath", config.Middleware{ReplacePath: &config.ReplacePath{Path: "/x"}}, false},
		{"replacePathRegex", config.Middleware{ReplacePathRegex: &config.ReplacePathRegex{Regex: "^/api/(.*)", Replacement: "/$1"}}, false},
		{"redirectRegex", config.Middleware{RedirectRegex: &config.RedirectRegex{Regex: `^http://www\.`, Replacement: "x"}}, false},
		{"encodedCharacters", config.Middleware{EncodedCharacters: &config.EncodedCharacters{}}, false},
		{"headers", config.Middleware{Headers: &config.Headers{FrameDeny: true, CustomRequestHeaders: map[string]string{"X-A": "1"}, CustomResponseHeaders: map[string]string{"X-B": "1", "Server": ""}}}, false},
		{"ipAllowList", config.Middleware{IPAllowList: &config.IPAllowList{SourceRange: []string{"127.0.0.1", "10.0.0.0/8"}}}, false},
		{"basicAuth", config.Middleware{BasicAuth: &config.BasicAuth{Users: []string{"apr:$apr1$saltsalt$qzyMUABkhk4Zs4ut9UATr1"}}}, true},
		{"rateLimit", config.Middleware{RateLimit: &config.RateLimit{Average: 1e9, Period: period, Burst: 1e6}}, false},
		{"inFlightReq", config.Middleware{InFlightReq: &config.InFlightReq{Amount: 10}}, false},
		{"circuitBreaker", config.Middleware{CircuitBreaker: &config.CircuitBreaker{Expression: "NetworkErrorRatio() > 0.5 || LatencyAtQuantileMS(50) > 1000"}}, false},
		{"passTLSClientCert", config.Middleware{PassTLSClientCert: &config.PassTLSClientCert{PEM: true}}, false},
		{"respond", config.Middleware{Respond: &config.Respond{Body: "hello"}}, false},
		{"rewriteLocation", config.Middleware{RewriteLocation: &config.RewriteLocation{}}, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			built, err := Build("m", &c.cfg, Deps{})
			if err != nil {
				b.Fatal(err)
			}
			ex := &exchange.Exchange{}
			fields := []exchange.Field{{Name: "User-Agent", Value: "bench"}, {Name: "Accept", Value: "*/*"}, {Name: "Authorization", Value: "Basic YXByOnBlYXI="}, {Name: "X-Forwarded-Proto", Value: "http"}}
			one := func() {
				ex.Reset()
				ex.MayBlock, ex.Now = c.warm, 1e18
				ex.Req.Method, ex.Req.Host, ex.Req.Path, ex.Req.Target, ex.Req.Peer = "GET", "a.test", "/api/users/17", "/api/users/17", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 5)
				for _, f := range fields {
					ex.Req.Fields.Add(f.Name, f.Value)
				}
				if v := built.Op.Request(ex); v == exchange.Block {
					b.Fatal("blocks")
				}
				ex.Resp.Status = 200
				ex.RunResponse()
				ex.RunDone()
			}
			one()
			c.warm = false
			b.ReportAllocs()
			for b.Loop() {
				one()
			}
		})
	}
}
