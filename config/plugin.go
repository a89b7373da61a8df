package config

import "strings"

// pluginRemedies are what takes the place of plugins of the reference, by words in their names. The
// first that fits counts.
var pluginRemedies = [...]struct{ words, remedy string }{
	{"badger", "Pangolin asks its own plugin who may pass: keep Traefik for it"},
	{"cloudflare realip real-ip real_ip", "write --entryPoints.NAME.forwardedHeaders.trustedIPs=cloudflare, or the addresses of the proxy in front"},
	{"crowdsec bouncer", "run a CrowdSec bouncer that answers forwardAuth, and name it by the forwardAuth middleware"},
	{"sablier", "use the label sluice.idle, which puts containers to sleep and wakes them"},
	{"geo maxmind country", "run a service that knows where addresses are, and name it by the forwardAuth middleware"},
	{"fail2ban", "let fail2ban read the access log, or use the rateLimit middleware"},
	{"oidc openid keycloak oauth jwt ldap saml authelia authentik", "run a service such as oauth2-proxy, and name it by the forwardAuth middleware"},
	{"denyip deny-ip blockip ipdeny", "use the ipDenyList middleware"},
	{"sizelimit size-limit", "use the buffering middleware with maxRequestBodyBytes"},
	{"maintenance", "use the maintenance middleware"},
	{"blockpath staticresponse static-response robots", "use the respond middleware, on a router with the path in its rule"},
	{"header", "use the headers middleware"},
	{"cache souin", "put a cache between the router and the service"},
}

// PluginRemedy says what to do instead of using the plugin with this name.
func PluginRemedy(name string) string {
	name = strings.ToLower(name)
	for _, r := range pluginRemedies {
		for _, w := range strings.Fields(r.words) {
			if strings.Contains(name, w) {
				return r.remedy
			}
		}
	}
	return "see the list of middlewares for one that does it, or name a service that does it by the forwardAuth middleware"
}
