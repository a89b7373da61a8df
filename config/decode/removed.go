package decode

import (
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// gone is what is said about a key of the reference that we do not have.
type gone struct{ code, text, hint string }

// explain looks for a static key, or the nearest group above it, among the keys that
// the reference has or had and we have not.
func explain(path []string) (gone, bool) {
	key := strings.ToLower(strings.Join(path, "."))
	for {
		for _, k := range goneKeys {
			if match(k.key, key) {
				return k.gone, true
			}
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return gone{}, false
		}
		key = key[:i]
	}
}

// match compares keys; "*" stands for any one part.
func match(pattern, key string) bool {
	p, k := strings.Split(pattern, "."), strings.Split(key, ".")
	if len(p) != len(k) {
		return false
	}
	for i := range p {
		if p[i] != "*" && p[i] != k[i] {
			return false
		}
	}
	return true
}

func unsupported(what, hint string) gone {
	return gone{config.CodeUnsupported, what + " is not supported", hint}
}

func removed(version, hint string) gone {
	return gone{config.CodeUnsupported, "was removed in Traefik " + version, hint}
}

const useHTTP = "publish the same configuration by the http provider (--providers.http.endpoint) or as files (--providers.file.directory)"

var goneKeys = [...]struct {
	key string
	gone
}{
	{"providers.consul", unsupported("the Consul key-value provider", useHTTP)},
	{"providers.consulcatalog", unsupported("the Consul Catalog provider", useHTTP)},
	{"providers.etcd", unsupported("the etcd provider", useHTTP)},
	{"providers.zookeeper", unsupported("the ZooKeeper provider", useHTTP)},
	{"providers.redis", unsupported("the Redis provider", useHTTP)},
	{"providers.nomad", unsupported("the Nomad provider", useHTTP)},
	{"providers.ecs", unsupported("the ECS provider", useHTTP)},
	{"providers.kubernetesingress", unsupported("the Kubernetes Ingress provider", useHTTP)},
	{"providers.kubernetesingressnginx", unsupported("the Kubernetes Ingress provider", useHTTP)},
	{"providers.kubernetescrd", unsupported("the Kubernetes CRD provider", useHTTP)},
	{"providers.kubernetesgateway", unsupported("the Kubernetes Gateway provider", useHTTP)},
	{"providers.knative", unsupported("the Knative provider", useHTTP)},
	{"providers.plugin", unsupported("a provider plugin", useHTTP)},
	{"providers.marathon", removed("v3", useHTTP)},
	{"providers.rancher", removed("v3", useHTTP)},
	{"providers.docker.swarmmode", removed("v3", "write --providers.swarm=true in place of --providers.docker")},
	{"providers.docker.swarmmoderefreshseconds", removed("v3", "write --providers.swarm.refreshSeconds=15")},
	{"providers.docker.tls.caoptional", removed("v3", "leave it out: the engine's CA is always checked")},
	{"providers.swarm.tls.caoptional", removed("v3", "leave it out: the engine's CA is always checked")},
	{"providers.http.tls.caoptional", removed("v3", "leave it out: the server's CA is always checked")},
	{"pilot", removed("v3", "leave it out")},
	{"hub", unsupported("Traefik Hub", "leave it out")},
	{"experimental.http3", removed("v3", "write --entryPoints.NAME.http3")},
	{"experimental.devplugin", unsupported("a plugin", "leave it out")},
	{"entrypoints.*.enablehttp3", removed("v3", "write --entryPoints.NAME.http3")},
	{"experimental.hub", removed("v3", "leave it out")},
	{"experimental.kubernetesgateway", unsupported("the Kubernetes Gateway provider", useHTTP)},
	{"experimental.kubernetesingressnginx", unsupported("the Kubernetes Ingress provider", useHTTP)},
	{"experimental.knative", unsupported("the Knative provider", useHTTP)},
	{"metrics.influxdb", removed("v3", "write --metrics.prometheus=true")},
	{"tracing.jaeger", removed("v3", "write --tracing.otlp.http.endpoint or --tracing.otlp.grpc.endpoint; Jaeger takes OTLP")},
	{"tracing.zipkin", removed("v3", "write --tracing.otlp.http.endpoint")},
	{"tracing.datadog", removed("v3", "write --tracing.otlp.http.endpoint; the Datadog agent takes OTLP")},
	{"tracing.instana", removed("v3", "write --tracing.otlp.http.endpoint")},
	{"tracing.haystack", removed("v3", "write --tracing.otlp.http.endpoint")},
	{"tracing.elastic", removed("v3", "write --tracing.otlp.http.endpoint; Elastic APM takes OTLP")},
	{"tracing.opentelemetry", removed("v3", "write --tracing.otlp.http.endpoint or --tracing.otlp.grpc.endpoint")},
	{"metrics.opentelemetry", removed("v3", "write --metrics.otlp.http.endpoint or --metrics.otlp.grpc.endpoint")},
	{"tracing.spannamelimit", removed("v3", "leave it out")},
	{"certificatesresolvers.*.acme.entrypoint", removed("v2", "write --certificatesResolvers.NAME.acme.httpChallenge.entryPoint")},
	{"entrypoints.*.compress", removed("v2", "use the compress middleware: --entryPoints.NAME.http.middlewares=compress@file")},
	{"entrypoints.*.redirect", removed("v2", "write --entryPoints.NAME.http.redirections.entryPoint.to")},
	{"entrypoints.*.auth", removed("v2", "use the basicAuth middleware")},
	{"entrypoints.*.tls", removed("v2", "write --entryPoints.NAME.http.tls")},
	{"docker", removed("v2", "write --providers.docker")},
	{"file", removed("v2", "write --providers.file.filename")},
	{"rest", removed("v2", "write --providers.rest")},
	{"web", removed("v2", "write --api")},
	{"acme", removed("v2", "write --certificatesResolvers.NAME.acme")},
	{"loglevel", removed("v2", "write --log.level")},
	{"traefiklog", removed("v2", "write --log")},
	{"debug", removed("v2", "write --log.level=DEBUG")},
	{"defaultentrypoints", removed("v2", "write --entryPoints.NAME.asDefault=true")},
	{"insecureskipverify", removed("v2", "write --serversTransport.insecureSkipVerify=true")},
	{"maxidleconnsperhost", removed("v2", "write --serversTransport.maxIdleConnsPerHost")},
	{"gracetimeout", removed("v2", "write --entryPoints.NAME.transport.lifeCycle.graceTimeOut")},
	{"providersthrottleduration", removed("v2", "write --providers.providersThrottleDuration")},
	{"kubernetes", unsupported("Kubernetes", useHTTP)},
	{"consul", unsupported("Consul", useHTTP)},
	{"consulcatalog", unsupported("Consul Catalog", useHTTP)},
	{"etcd", unsupported("etcd", useHTTP)},
	{"marathon", removed("v3", useHTTP)},
	{"rancher", removed("v3", useHTTP)},
	{"ecs", unsupported("ECS", useHTTP)},
}
