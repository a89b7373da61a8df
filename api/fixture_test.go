package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/telemetry"
)

// shop is a configuration with one object of each kind and state.
func shop() *config.Runtime {
	yes, weight := true, 3
	balancer := func(urls ...string) *config.Service {
		lb := &config.LoadBalancer{}
		lb.SetDefaults()
		for _, u := range urls {
			lb.Servers = append(lb.Servers, config.Server{URL: u})
		}
		return &config.Service{LoadBalancer: lb}
	}
	cart := balancer("http://10.0.0.1:80", "http://10.0.0.2:80")
	cart.LoadBalancer.Servers[1].Weight = &weight
	router := func(rule, service string, priority int, status config.Status, errs ...string) *config.RouterInfo {
		return &config.RouterInfo{
			Router: &config.Router{EntryPoints: []string{"web"}, Rule: rule, Service: service, Priority: priority},
			Status: status, Errors: errs, Using: []string{"web"},
		}
	}
	rt := &config.Runtime{
		Generation: 7, At: time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC),
		Routers: map[string]*config.RouterInfo{
			"shop@file":       router("Host(`shop.test`)", "cart", 50, config.StatusEnabled),
			"shop-admin@file": router("Host(`shop.test`) && PathPrefix(`/admin`)", "cart", 41, config.StatusEnabled),
			"blog@file":       router("Host(`blog.test`)", "pages", 17, config.StatusEnabled),
			"half@file":       router("Host(`half.test`)", "pages", 17, config.StatusWarning, "entryPoint not found"),
			"lost@file":       router("Host(`ns.test`)", "ghost", 15, config.StatusDisabled, "service not found"),
			"a/b c@docker":    router("Host(`odd.test`)", "cart@file", 16, config.StatusEnabled),
			"api@internal":    router("PathPrefix(`/api`)", "api@internal", 1<<63-2, config.StatusEnabled),
		},
		Services: map[string]*config.ServiceInfo{
			"cart@file":     {Service: cart, Status: config.StatusEnabled, UsedBy: []string{"shop-admin@file", "shop@file"}},
			"pages@file":    {Service: balancer("http://10.0.0.3:80"), Status: config.StatusEnabled},
			"copy@file":     {Service: &config.Service{Mirroring: &config.Mirroring{Service: "cart", MirrorBody: &yes}}, Status: config.StatusEnabled},
			"spread@file":   {Service: &config.Service{Weighted: &config.Weighted{}}, Status: config.StatusEnabled},
			"api@internal":  {Service: &config.Service{}, Status: config.StatusEnabled},
			"noop@internal": {Status: config.StatusEnabled},
		},
		Middlewares: map[string]*config.MiddlewareInfo{
			"pfx@file": {Middleware: &config.Middleware{AddPrefix: &config.AddPrefix{Prefix: "/p"}}, Status: config.StatusEnabled, UsedBy: []string{"shop@file"}},
			"auth@file": {Middleware: &config.Middleware{BasicAuth: &config.BasicAuth{Users: []string{"ann:secret-hash"}, Realm: "lab"}},
				Status: config.StatusEnabled},
		},
		TCPRouters: map[string]*config.TCPRouterInfo{
			"named@file": {TCPRouter: &config.TCPRouter{EntryPoints: []string{"tcp"}, Rule: "HostSNI(`db.test`)", Service: "raw",
				TLS: &config.TCPRouterTLS{Passthrough: true}}, Status: config.StatusEnabled},
		},
		TCPServices: map[string]*config.TCPServiceInfo{
			"raw@file": {TCPService: &config.TCPService{LoadBalancer: &config.TCPLoadBalancer{Servers: []config.TCPServer{{Address: "10.0.0.4:5432"}}}},
				Status: config.StatusEnabled},
		},
		TCPMiddlewares: map[string]*config.TCPMiddlewareInfo{
			"lim@file": {TCPMiddleware: &config.TCPMiddleware{InFlightConn: &config.TCPInFlightConn{Amount: 3}}, Status: config.StatusEnabled},
		},
		UDPRouters: map[string]*config.UDPRouterInfo{
			"u@file": {UDPRouter: &config.UDPRouter{EntryPoints: []string{"udp"}, Service: "dgram"}, Status: config.StatusEnabled},
		},
		UDPServices: map[string]*config.UDPServiceInfo{
			"dgram@file": {UDPService: &config.UDPService{LoadBalancer: &config.UDPLoadBalancer{Servers: []config.UDPServer{{Address: "10.0.0.5:53"}}}},
				Status: config.StatusEnabled},
		},
		Problems: []config.Problem{
			{Source: "container web-1", Provider: "docker", Object: "router x@docker", Field: "traefik.http.routers.x.rul",
				Code: config.CodeUnknownKey, Text: "unknown key", Suggestion: "rule", Severity: config.Warning},
			{Source: "file shop.yml:3:7", Provider: "file", Object: "router lost@file", Code: config.CodeUnknownService,
				Text: "service ghost@file is not there", Severity: config.Error},
		},
	}
	rt.Routers["shop@file"].Middlewares = []string{"pfx@file", "auth@file"}
	rt.Routers["blog@file"].TLS = &config.RouterTLS{}
	return rt
}

func shopStatic() *config.Static {
	ep := &config.EntryPoint{Address: ":80"}
	ep.SetDefaults()
	return &config.Static{
		EntryPoints: map[string]*config.EntryPoint{"web": ep},
		Providers:   &config.Providers{Docker: &config.DockerProvider{Engine: config.Engine{Password: "hunter2"}}, File: &config.FileProvider{}},
		API:         &config.API{BasePath: "/", Dashboard: true},
		AccessLog:   &config.AccessLog{},
		Metrics:     &config.Metrics{Prometheus: &config.Prometheus{}},
		CertificatesResolvers: map[string]*config.CertificateResolver{
			"le": {ACME: &config.ACME{EAB: &config.EAB{KID: "kid", HMACEncoded: "hunter2"}}},
		},
	}
}

func shopOptions() Options {
	rt := shop()
	return Options{
		Static: shopStatic(), Runtime: func() *config.Runtime { return rt },
		ServerStatus: func(service string) map[string]string {
			if service != "cart@file" {
				return nil
			}
			return map[string]string{"http://10.0.0.1:80": "UP", "http://10.0.0.2:80": "DOWN"}
		},
		TCPServerStatus: func(string) map[string]string { return map[string]string{"10.0.0.4:5432": "UP"} },
		Counters: func() telemetry.Counters {
			return telemetry.Counters{Requests: 10, Reasons: map[string]uint64{"no_router": 2}}
		},
		Version: "1.2.3", Start: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

func get(t testing.TB, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v in %s", err, w.Body)
	}
	return v
}
