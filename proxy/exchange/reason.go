package exchange

// Reason is one stable word that says why the edge answered by itself. It is in the
// access log, the metrics, the explain output and, for trusted peers, a response field.
type Reason string

// The reasons. A word, once released, keeps its meaning.
const (
	NoReason Reason = ""

	// No route.
	NoRouter        Reason = "no_router"         // 404: no rule matches
	WrongEntryPoint Reason = "wrong_entry_point" // 404: a rule would match on another entry point
	WrongScheme     Reason = "wrong_scheme"      // 404: a rule would match with, or without, TLS
	RouterBroken    Reason = "router_broken"     // 503: a middleware or service of the router cannot be built
	Misdirected     Reason = "misdirected"       // 421: Host and SNI need different TLS options
	Loop            Reason = "loop"              // 508: a service leads back to the edge again and again

	// No server.
	NoServer     Reason = "no_server"      // 503: the service has no servers
	NoServerUp   Reason = "no_server_up"   // 503: all servers are down or stopping
	Starting     Reason = "starting"       // 503: a server has started and is not ready yet
	Waking       Reason = "waking"         // 503: what was asleep is being started
	DialRefused  Reason = "dial_refused"   // 502: the server refused the connection
	DialTimeout  Reason = "dial_timeout"   // 504: no connection in time
	DialFailed   Reason = "dial_failed"    // 502: no connection for another reason
	DialNoHost   Reason = "dial_no_host"   // 502: the server's name does not resolve
	UpstreamTLS  Reason = "upstream_tls"   // 502: TLS with the server failed
	UpstreamEOF  Reason = "upstream_eof"   // 502: the server closed before its answer was complete
	UpstreamBad  Reason = "upstream_bad"   // 502: the server's answer is not HTTP
	UpstreamSlow Reason = "upstream_slow"  // 504: no answer in time
	ServiceError Reason = "service_failed" // 500: another failure at the server

	// The client.
	ClientGone    Reason = "client_gone"     // 499: the client went away
	BadRequest    Reason = "bad_request"     // 400: not strict HTTP
	HeadTooLarge  Reason = "head_too_large"  // 431
	BodyTooLarge  Reason = "body_too_large"  // 413
	ReadTimeout   Reason = "read_timeout"    // 408: the request did not arrive in time
	PathRefused   Reason = "path_refused"    // 400: an encoded character or path that is not allowed
	NoConnect     Reason = "connect_refused" // 501: the CONNECT method
	BadVersion    Reason = "bad_version"     // 505
	NotTerminated Reason = "header_refused"  // 400: an underscore spelling where it is refused

	// Middlewares.
	AuthRequired  Reason = "auth_required"  // 401
	AuthDenied    Reason = "auth_denied"    // 403 or the auth server's answer
	AuthFailed    Reason = "auth_failed"    // 502, 503: the auth server does not answer
	IPDenied      Reason = "ip_denied"      // 403
	RateLimited   Reason = "rate_limited"   // 429
	InFlightLimit Reason = "in_flight"      // 429
	BreakerOpen   Reason = "breaker_open"   // 503
	Redirected    Reason = "redirected"     // 3xx by a middleware
	Preflight     Reason = "cors_preflight" // 200, 204 by CORS
	HostDenied    Reason = "host_denied"    // allowedHosts
	Responded     Reason = "responded"      // the respond middleware
	InMaintenance Reason = "maintenance"    // 503
	Draining      Reason = "draining"       // 503: the edge is shutting down
	Internal      Reason = "internal"       // served by the edge: API, ping, metrics
	Failure       Reason = "failure"        // 500: a fault of the edge
)
