// What the edge means when it answers by itself, by the Reason that stands in the access log.

export interface Meaning { status: string; text: string }

export const meanings: Record<string, Meaning> = {
  no_router: { status: "404", text: "No router's rule matches. Explain shows the nearest ones." },
  wrong_entry_point: { status: "404", text: "A rule matches, but its router is on another entry point." },
  wrong_scheme: { status: "404", text: "A rule matches, but its router wants TLS, or wants none." },
  router_broken: { status: "503", text: "A middleware or service of the router cannot be built. See Problems." },
  misdirected: { status: "421", text: "Host and server name of the connection need different TLS options." },
  loop: { status: "508", text: "The service leads back to the edge itself, again and again." },
  no_server: { status: "503", text: "The service has no servers." },
  no_server_up: { status: "503", text: "Every server of the service is down or stopping." },
  starting: { status: "503", text: "A server has started and is not ready yet." },
  waking: { status: "503", text: "What was asleep is being started." },
  dial_refused: { status: "502", text: "The server refused the connection: is this its port, does it listen on all addresses?" },
  dial_timeout: { status: "504", text: "No connection in time: is the server in a network that the edge reaches?" },
  dial_failed: { status: "502", text: "No connection to the server." },
  dial_no_host: { status: "502", text: "The server's name does not resolve." },
  upstream_tls: { status: "502", text: "TLS with the server failed: its certificate is not trusted, or it speaks no TLS." },
  upstream_eof: { status: "502", text: "The server closed the connection before its answer was complete." },
  upstream_bad: { status: "502", text: "The server's answer is not HTTP: is this its port, does it want TLS?" },
  upstream_slow: { status: "504", text: "The server did not answer in time." },
  service_failed: { status: "500", text: "Another failure at the server." },
  client_gone: { status: "499", text: "The client went away before the answer." },
  bad_request: { status: "400", text: "The request is not strict HTTP." },
  head_too_large: { status: "431", text: "The request's head is too large." },
  body_too_large: { status: "413", text: "The request's body is larger than a middleware allows." },
  read_timeout: { status: "408", text: "The request did not arrive in time." },
  path_refused: { status: "400", text: "The path has an encoded character or a form that is not allowed." },
  connect_refused: { status: "501", text: "CONNECT is not served." },
  bad_version: { status: "505", text: "The version of HTTP is not served." },
  header_refused: { status: "400", text: "A header field is spelt in a way that is refused." },
  auth_required: { status: "401", text: "No credentials, or wrong ones." },
  auth_denied: { status: "403", text: "The authentication server denied the request." },
  auth_failed: { status: "502, 503", text: "The authentication server does not answer." },
  ip_denied: { status: "403", text: "The client's address is not allowed." },
  rate_limited: { status: "429", text: "A rate limit was reached." },
  in_flight: { status: "429", text: "Too many requests at a time." },
  breaker_open: { status: "503", text: "A circuit breaker is open." },
  redirected: { status: "3xx", text: "A middleware redirected the request." },
  cors_preflight: { status: "200, 204", text: "A CORS preflight was answered." },
  host_denied: { status: "403", text: "The host is not one of the allowed hosts." },
  responded: { status: "any", text: "A respond middleware answered." },
  maintenance: { status: "503", text: "A maintenance middleware answered." },
  draining: { status: "503", text: "The edge is shutting down." },
  internal: { status: "any", text: "Served by the edge itself: API, ping, metrics." },
  failure: { status: "500", text: "A fault of the edge. Please report it." },
};

// usual are the reasons of answers that are as they should be.
export const usual = new Set(["internal", "redirected", "cors_preflight", "responded"]);

export const meaning = (reason: string): Meaning => meanings[reason] ?? { status: "", text: "" };
