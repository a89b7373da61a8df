package decode

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

func manyRouters(n int) []byte {
	var b strings.Builder
	b.WriteString("http:\n  routers:\n")
	for i := range n {
		fmt.Fprintf(&b, "    r%d:\n      rule: Host(`h%d.example.com`) && PathPrefix(`/a`)\n      service: s%d\n      entryPoints: [web]\n      middlewares: [strip]\n", i, i, i)
	}
	b.WriteString("  services:\n")
	for i := range n {
		fmt.Fprintf(&b, "    s%d:\n      loadBalancer:\n        servers:\n        - url: http://10.0.%d.%d:80\n", i, i/250, i%250)
	}
	return []byte(b.String())
}

func BenchmarkFile10000(b *testing.B) {
	data := manyRouters(10_000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var d config.Dynamic
		if _, err := File("x.yml", data, &d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLabels(b *testing.B) {
	labels := map[string]string{
		"com.docker.compose.project":                                "shop",
		"traefik.enable":                                            "true",
		"traefik.http.routers.web.rule":                             "Host(`a.test`)",
		"traefik.http.routers.web.entrypoints":                      "web,websecure",
		"traefik.http.routers.web.tls.certresolver":                 "le",
		"traefik.http.routers.web.middlewares":                      "strip",
		"traefik.http.middlewares.strip.stripprefix.prefixes":       "/api",
		"traefik.http.services.web.loadbalancer.server.port":        "8080",
		"traefik.http.services.web.loadbalancer.healthcheck.path":   "/up",
		"traefik.http.services.web.loadbalancer.sticky.cookie.name": "s",
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, problems := Labels(labels, "container a"); problems != nil {
			b.Fatal(problems)
		}
	}
}
