package decode

import (
	"io/fs"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

// memory reads from a map instead of a disk.
func memory(files map[string]string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
}

const goodFile = `
entryPoints:
  web:
    address: ":80"
providers:
  file:
    fileName: d.yml
`

func TestStaticSources(t *testing.T) {
	tests := []struct {
		name     string
		args     []string
		env      []string
		files    map[string]string
		want     map[string]string // entry points
		file     string
		warnings string
	}{
		{name: "nothing", want: map[string]string{"http": ":80"}},
		{name: "flags", args: []string{"--entryPoints.MyWeb.Address=:81"}, want: map[string]string{"MyWeb": ":81"}},
		{name: "one dash", args: []string{"-entrypoints.web.address=:81"}, want: map[string]string{"web": ":81"}},
		{name: "value as a word", args: []string{"--entrypoints.web.address", ":81", "--log.level", "DEBUG"}, want: map[string]string{"web": ":81"}},
		{name: "api on 8080", args: []string{"--api.insecure", "--entrypoints.web.address=:81"}, want: map[string]string{"web": ":81", "traefik": ":8080"}},
		{name: "ping on 8080", args: []string{"--ping"}, want: map[string]string{"http": ":80", "traefik": ":8080"}},
		{name: "ping elsewhere", args: []string{"--ping", "--ping.entrypoint=http"}, want: map[string]string{"http": ":80"}},
		{name: "only the internal one", args: []string{"--entrypoints.traefik.address=:9"}, want: map[string]string{"traefik": ":9"}},
		{name: "environment", env: []string{"TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:82", "TRAEFIK_SERVICE_HOST=x", "SLUICE_PORT=1"}, want: map[string]string{"web": ":82"}},
		{name: "our environment", env: []string{"SLUICE_ENTRYPOINTS_WEB_ADDRESS=:82", "SLUICE_LANE=handler"}, want: map[string]string{"web": ":82"}},
		{name: "flags before environment", args: []string{"--entrypoints.web.address=:81"}, env: []string{"TRAEFIK_ENTRYPOINTS_OTHER_ADDRESS=:82"},
			want: map[string]string{"web": ":81"}, warnings: "conflict entrypoints.other.address; use one source, or add --sluice.mergeSources\n"},
		{name: "file before all", args: []string{"--configFile=my.yml", "--api"}, env: []string{"TRAEFIK_PING=true"}, files: map[string]string{"my.yml": goodFile},
			file: "my.yml", want: map[string]string{"web": ":80"},
			warnings: "conflict api; use one source, or add --sluice.mergeSources\nconflict ping; use one source, or add --sluice.mergeSources\n"},
		{name: "file in two words", args: []string{"--configfile", "my.yml"}, files: map[string]string{"my.yml": goodFile}, file: "my.yml", want: map[string]string{"web": ":80"}},
		{name: "a variable in the file's name", args: []string{"--configfile=${DIR}/my.yml"}, env: []string{"DIR=/d"}, files: map[string]string{"/d/my.yml": goodFile}, file: "/d/my.yml", want: map[string]string{"web": ":80"}},
		{name: "upper case to the first key", env: []string{"TRAEFIK_ENTRYPOINTS_web_Address=:82", "traefik_entrypoints_two_address=:83"}, want: map[string]string{"web": ":82"},
			warnings: "unknown_key traefik_entrypoints_two_address; write TRAEFIK_ENTRYPOINTS_TWO_ADDRESS\n"},
		{name: "a plugin's switch", args: []string{"--entrypoints.web.address=:81", "--experimental.plugins.p.settings.useunsafe", "--experimental.plugins.p.version", "v1"},
			want: map[string]string{"web": ":81"}, warnings: "not_supported experimental.plugins.p; see the list of middlewares for one that does it, or name a service that does it by the forwardAuth middleware\n"},
		{name: "search path", files: map[string]string{"traefik.yml": goodFile}, file: "traefik.yml", want: map[string]string{"web": ":80"}},
		{name: "home", env: []string{"HOME=/h"}, files: map[string]string{"/h/.config/traefik.yml": goodFile, "traefik.yml": "{}"},
			file: "/h/.config/traefik.yml", want: map[string]string{"web": ":80"}},
		{name: "merged", args: []string{"--sluice.mergeSources", "--configfile=my.yml", "--entrypoints.two.address=:2"}, env: []string{"TRAEFIK_ENTRYPOINTS_THREE_ADDRESS=:3", "TRAEFIK_ENTRYPOINTS_TWO_ADDRESS=:4"},
			files: map[string]string{"my.yml": goodFile}, file: "my.yml", want: map[string]string{"web": ":80", "two": ":2", "three": ":3"}},
		{name: "our own flags yield nothing", args: []string{"--sluice.lane=handler"}, env: []string{"TRAEFIK_ENTRYPOINTS_WEB_ADDRESS=:82"}, want: map[string]string{"web": ":82"}},
		{name: "odd values are warnings", args: []string{"--log.level=LOUD", "--entrypoints.web.address=:1", "--entrypoints.web.http.redirections.entrypoint.to=ghost",
			"--certificatesresolvers.le.acme.httpchallenge.entrypoint=ghost"}, want: map[string]string{"web": ":1"},
			warnings: "unknown_entry_point entryPoints.web.http.redirections.entryPoint.to; declared: web\n" +
				"unknown_entry_point certificatesResolvers.le.acme.httpChallenge.entryPoint; declared: web\n" +
				"invalid_value log.level; one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL, PANIC\n"},
		{name: "what the reference starts with", args: []string{"--providers.precedence=File,CONSUL", "--entrypoints.web.address=:1", "--log.format=xml", "--accesslog.format=xml", "--accesslog.filters.statuscodes=5xx,404",
			"--accesslog.fields.names.ClientHost=hide", "--accesslog.fields.headers.defaultmode=no", "--providers.http.endpoint=nowhere", "--providers.http.pollinterval=0",
			"--providers.swarm.refreshseconds=0"}, want: map[string]string{"web": ":1"},
			warnings: "invalid_value providers.http.endpoint; write --providers.http.endpoint=http://host/path\n" +
				"invalid_value providers.http.pollInterval\n" +
				"invalid_value log.format; one of common, json\n" +
				"invalid_value accessLog.format; one of common, genericCLF, json\n" +
				"invalid_value accessLog.fields.names.ClientHost; one of keep, drop, redact\n" +
				"invalid_value accessLog.fields.headers.defaultMode; one of keep, drop, redact\n" +
				"invalid_value accessLog.filters.statusCodes\n"},
		{name: "observability", args: []string{"--entrypoints.web.address=:1", "--entrypoints.web.observability.traceverbosity=loud", "--tracing.globalattributes.a=b",
			"--accesslog.otlp=true", "--metrics.influxdb2.org=o"}, want: map[string]string{"web": ":1"},
			warnings: "invalid_value entryPoints.web.observability.traceVerbosity; one of minimal, detailed\n" +
				"invalid_value accessLog.otlp; write --experimental.otlplogs=true\n" +
				"invalid_value metrics.influxDB2; set all three\n" +
				"invalid_value tracing.globalAttributes; write --tracing.resourceAttributes\n"},
		{name: "unknown at the top of a file", args: []string{"--configfile=my.yml"}, files: map[string]string{"my.yml": goodFile + "colour: red\n"}, file: "my.yml",
			want: map[string]string{"web": ":80"}, warnings: "unknown_key colour\n"},
		{name: "words by position", args: []string{"--entrypoints.web.address=:1", "--entrypoints.web.forwardedheaders.trustedips[0]=127.0.0.1/32"},
			want: map[string]string{"web": ":1"}, warnings: "invalid_value entrypoints.web.forwardedheaders.trustedips; write the words with commas between them\n"},
		{name: "variable for the file", env: []string{"TRAEFIK_CONFIGFILE=x.yml"}, want: map[string]string{"http": ":80"}, warnings: "not_supported TRAEFIK_CONFIGFILE; write --configFile=x.yml\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, src, err := Static(tt.args, tt.env, memory(tt.files))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for name, e := range s.EntryPoints {
				got[name] = e.Address
			}
			if !maps.Equal(got, tt.want) {
				t.Errorf("entry points: got %v, want %v", got, tt.want)
			}
			if src.File != tt.file {
				t.Errorf("file: got %q, want %q", src.File, tt.file)
			}
			if w := problemList(src.Warnings); w != tt.warnings {
				t.Errorf("warnings\n got %s\nwant %s", w, tt.warnings)
			}
		})
	}
}

func TestStaticErrors(t *testing.T) {
	tests := []struct {
		args  []string
		env   []string
		files map[string]string
		want  string // part of the message
	}{
		{args: []string{"--no.such.flag=1"}, want: `unknown key "no"`},
		{args: []string{"--nosuchflag"}, want: `unknown key "nosuchflag"`},
		{args: []string{"--entrypoints.web.adress=:1"}, want: "did you mean entrypoints.web.address?"},
		{args: []string{"--api.insecure=maybe"}, want: `"maybe" is neither true nor false`},
		{args: []string{"--api.insecure", "true"}, want: "write --api.insecure=true"},
		{args: []string{"--entrypoints.web.address"}, want: "needs a value"},
		{args: []string{"--providers.providersthrottleduration=soon"}, want: `"soon" is not a duration`},
		{args: []string{"--entrypoints.web.http2.maxconcurrentstreams=many"}, want: `"many" is not a whole number`},
		{args: []string{"--entrypoints.web.address=80"}, want: `write ":80"`},
		{args: []string{"--entrypoints.web.address=:80/quic"}, want: "tcp or udp"},
		{args: []string{"--entrypoints.web.asdefault"}, want: "has no address"},
		{args: []string{"--entrypoints.web.address=:80", "--entrypoints.web.forwardedheaders.trustedips=10.0.0.0/99"}, want: "neither an address nor a range"},
		{args: []string{"--providers.docker.swarmmode=true"}, want: "write --providers.swarm=true"},
		{args: []string{"--providers.precedence=file,dokcer"}, want: `there is no provider "dokcer"`},
		{args: []string{"--entrypoints.web.address=:80", "--entrypoints.web.http.underscoreheadersstrategy=delete", "--entrypoints.web.http.aliasheadersstrategy=reject"},
			want: "old and narrower form"},
		{args: []string{"--pilot.token=x"}, want: "removed in Traefik v3"},
		{args: []string{"--providers.docker.tls.caoptional=true"}, want: "removed in Traefik v3; leave it out"},
		{args: []string{"--providers.http.endpoint=http://a/", "--providers.http.tls.caoptional=false"}, want: "removed in Traefik v3; leave it out"},
		{args: []string{"--entrypoints.web.address=:80", "--entrypoints.web.http2.maxconcurrentstreams=-1"}, want: "-1 is not a number from 0"},
		{args: []string{"--entrypoints.web.address=:80", "--entrypoints.web.http2.maxdecoderheadertablesize=99999999999"}, want: "99999999999 is not a number"},
		{args: []string{"--entrypoints.web.address=:80", "--entrypoints.web.http3.advertisedport=-1"}, want: "-1 is not a number from 0"},
		{args: []string{"--entrypoints.web.address=:80", "--entrypoints.web.http.underscoreheadersstrategy=drop"}, want: "write keep, delete or reject"},
		{args: []string{"--experimental.http3=true"}, want: "entryPoints.NAME.http3"},
		{args: []string{"--providers.marathon=true"}, want: "removed"},
		{args: []string{"--metrics.influxdb=true"}, want: "removed"},
		{args: []string{"--tracing.jaeger=true"}, want: "otlp"},
		{args: []string{"--providers.consulcatalog.endpoint.address=x"}, want: "the Consul Catalog provider is not supported"},
		{args: []string{"--certificatesresolvers.le.acme.storage="}, want: "place to store"},
		{args: []string{"--configFile=none.yml"}, want: `there is no file "none.yml"`},
		{args: []string{"--configFile=e.yml"}, files: map[string]string{"e.yml": "\n# nothing\n"}, want: "holds no configuration"},
		{args: []string{"--configFile=e.yml"}, files: map[string]string{"e.yml": "entryPoints: [}"}, want: "file e.yml:1:1"},
		{args: []string{"--configFile=e.yml"}, files: map[string]string{"e.yml": "x-anchor: 1\nhttp: {}\n"}, want: "holds no static configuration"},
		{args: []string{"--configFile=$DIR/e.yml"}, env: []string{"DIR=/none"}, want: `there is no file "/none/e.yml"`},
		{args: []string{"--configFile=e.conf"}, files: map[string]string{"e.conf": goodFile}, want: `unknown extension ".conf"`},
		{args: []string{"--configFile=e.yml"}, files: map[string]string{"e.yml": "entryPoints:\n  web:\n    colour: red\n    address: :80\n"}, want: "file e.yml:3:5: entryPoints.web.colour: unknown key"},
		{args: []string{"--configFile=e.toml"}, files: map[string]string{"e.toml": "[entryPoints.web]\naddress = \":80\"\n adress = \"x\"\n"}, want: "file e.toml:3:2: entryPoints.web.adress: unknown key"},
		{args: []string{"--configFile=e.yml"}, files: map[string]string{"e.yml": "pilot:\n  token: x\n"}, want: "file e.yml:1:1: pilot: was removed in Traefik v3"},
		{env: []string{"TRAEFIK_PILOT_TOKEN=x"}, want: "pilot: was removed in Traefik v3"},
		{env: []string{"TRAEFIK_API_INSEKURE=true"}, want: "did you mean api.insecure?"},
		{env: []string{"TRAEFIK_LOGFOO=1"}, want: `unknown key "logfoo"`},
		{args: []string{"--sluice.strict", "--log.level=LOUD"}, want: "log.level"},
	}
	for _, tt := range tests {
		_, _, err := Static(tt.args, tt.env, memory(tt.files))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v %v: got %v, want %q", tt.args, tt.env, err, tt.want)
		}
	}
}

func TestStaticValues(t *testing.T) {
	s, src, err := Static([]string{
		"--entrypoints.web.address=:80", "--entrypoints.web.forwardedheaders.trustedips=127.0.0.1/32,10.0.0.0/8",
		"--entrypoints.web.http.tls", "--entrypoints.web.http.tls.domains[0].main=a.test", "--entrypoints.web.http.tls.domains[0].sans=b.test,c.test",
		"--entrypoints.web.http.middlewares=one@file", "--entrypoints.web.http.middlewares=two@file",
		"--metrics.prometheus.buckets=0.1, 0.5", "--providers.docker", "--providers.swarm.refreshseconds=5", "--entrypoints.web.transport.respondingtimeouts.readtimeout=1m30s",
		"--accesslog.fields.headers.names.User-Agent=keep", "--global.notappendxforwardedfor", "--certificatesresolvers.unset.acme.caserver=", "--certificatesresolvers.unset.acme.tlschallenge",
		"--certificatesresolvers.old.acme.caserver=https://acme-staging.api.letsencrypt.org/directory", "--certificatesresolvers.old.acme.tlschallenge",
	}, nil, memory(nil))
	if err != nil {
		t.Fatal(err)
	}
	e := s.EntryPoints["web"]
	check := func(name string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	check("trusted", e.ForwardedHeaders.TrustedIPs, []string{"127.0.0.1/32", "10.0.0.0/8"})
	check("domains", e.HTTP.TLS.Domains, []config.Domain{{Main: "a.test", SANs: []string{"b.test", "c.test"}}})
	check("middlewares", e.HTTP.Middlewares, []string{"one@file", "two@file"})
	check("buckets", s.Metrics.Prometheus.Buckets, []float64{0.1, 0.5})
	check("docker rule", s.Providers.Docker.DefaultRule, "Host(`{{ normalize .Name }}`)")
	check("swarm", s.Providers.Swarm.RefreshSeconds, config.Duration(5e9))
	check("swarm endpoint", s.Providers.Swarm.Endpoint, "unix:///var/run/docker.sock")
	check("read", e.Transport.RespondingTimeouts.ReadTimeout, config.Duration(90e9))
	check("idle default", e.Transport.RespondingTimeouts.IdleTimeout, config.Duration(180e9))
	check("header", s.AccessLog.Fields.Headers.Names, map[string]string{"User-Agent": "keep"})
	check("not appended", e.ForwardedHeaders.NotAppendXForwardedFor, true)
	check("authority", s.CertificatesResolvers["unset"].ACME.CAServer, "https://acme-v02.api.letsencrypt.org/directory")
	check("old authority", s.CertificatesResolvers["old"].ACME.CAServer, "https://acme-staging-v02.api.letsencrypt.org/directory")
	check("underscores", e.HTTP.UnderscoreHeadersStrategy, "keep")
	check("source", src.Values["entryPoints.web.http.tls.domains.[0].main"], "flag --entrypoints.web.http.tls.domains[0].main")
}

func TestStaticSecrets(t *testing.T) {
	s, src, err := Static(nil, []string{"TRAEFIK_PROVIDERS_DOCKER_PASSWORD_FILE=/run/secrets/pw", "TRAEFIK_PROVIDERS_FILE_DIRECTORY=/d", "TRAEFIK_LOG_FILEPATH=/l"},
		memory(map[string]string{"/run/secrets/pw": "s3cret\n"}))
	if err != nil {
		t.Fatal(err)
	}
	if s.Providers.Docker.Password != "s3cret" || s.Providers.File.Directory != "/d" || s.Log.FilePath != "/l" {
		t.Errorf("got %s", asJSON(t, s))
	}
	if got := src.Values["providers.docker.password"]; !strings.Contains(got, "/run/secrets/pw") {
		t.Errorf("source: %q", got)
	}
	_, _, err = Static(nil, []string{"TRAEFIK_PROVIDERS_DOCKER_PASSWORD_FILE=/none"}, memory(nil))
	if err == nil || !strings.Contains(err.Error(), "cannot read the file") {
		t.Errorf("a missing secret: %v", err)
	}
}
