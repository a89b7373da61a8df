package server

import (
	"net/http"
	"strings"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/serve"
)

// traced puts the tracer before the routes of an entry point.
func (s *Server) traced(entryPoint string, m exchange.Matcher) exchange.Matcher {
	if s.tracer == nil {
		return m
	}
	off := false
	if ep := s.static.Load().EntryPoints[entryPoint]; ep != nil && ep.Observability != nil && ep.Observability.Tracing != nil {
		off = !*ep.Observability.Tracing
	}
	return s.tracer.Matcher(m, off)
}

// forward is the handler at the end of a tail.
func (s *Server) forward(to exchange.Service) http.Handler {
	if s.tracer != nil {
		to = s.tracer.Service(to)
	}
	return serve.Forward(to, s.client)
}

// spanName is what the reference calls the span of a kind of middlewares.
func spanName(kind string) string {
	switch kind {
	case "":
		return "Middleware"
	case "buffering":
		return "Buffer"
	case "errors":
		return "CustomError"
	case "digestAuth":
		return "digestAuth"
	case "grpcWeb":
		return "grpc-web"
	case "ipAllowList":
		return "IPAllowLister"
	case "ipWhiteList":
		return "IPWhiteLister"
	case "passTLSClientCert":
		return "PassClientTLSCert"
	case "rateLimit":
		return "RateLimiterType"
	}
	return strings.ToUpper(kind[:1]) + kind[1:]
}
