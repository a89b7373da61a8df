package decode

import (
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

func TestDockerHosts(t *testing.T) {
	flags := []string{"--providers.docker.exposedbydefault=false", "--providers.docker.username=me", "--providers.docker.constraints=Label(`a`,`b`)",
		"--providers.docker.sluice.hosts.NAS.endpoint=tcp://nas:2376", "--providers.docker.sluice.hosts.NAS.tls.ca=ca.pem", "--providers.docker.sluice.hosts.NAS.useBindPortIP",
		"--providers.docker.sluice.hosts.b.endpoint=ssh://me@b", "--providers.docker.sluice.hosts.b.exposedByDefault=true", "--providers.docker.sluice.hosts.b.constraints=",
		"--providers.docker.sluice.hosts.b.network=web"}
	env := []string{"TRAEFIK_PROVIDERS_DOCKER_EXPOSEDBYDEFAULT=false", "TRAEFIK_PROVIDERS_DOCKER_USERNAME=me", "TRAEFIK_PROVIDERS_DOCKER_CONSTRAINTS=Label(`a`,`b`)",
		"TRAEFIK_PROVIDERS_DOCKER_SLUICE_HOSTS_NAS_ENDPOINT=tcp://nas:2376", "TRAEFIK_PROVIDERS_DOCKER_SLUICE_HOSTS_NAS_TLS_CA=ca.pem",
		"TRAEFIK_PROVIDERS_DOCKER_SLUICE_HOSTS_NAS_USEBINDPORTIP=true"}
	file := "providers:\n  docker:\n    exposedByDefault: false\n    username: me\n    constraints: Label(`a`,`b`)\n    sluice:\n      hosts:\n" +
		"        NAS: {endpoint: tcp://nas:2376, tls: {ca: ca.pem}, useBindPortIP: true}\n" +
		"        b: {endpoint: 'ssh://me@b', exposedByDefault: true, constraints: '', network: web}\n"
	base := config.Engine{}
	base.SetDefaults()
	base.ExposedByDefault, base.Constraints = false, "Label(`a`,`b`)"
	nas, b := base, base
	nas.Endpoint, nas.TLS, nas.UseBindPortIP = "tcp://nas:2376", &config.ClientTLS{CA: "ca.pem"}, true
	b.Endpoint, b.ExposedByDefault, b.Constraints, b.Network = "ssh://me@b", true, "", "web"
	both := map[string]*config.DockerProvider{"docker.NAS": {Engine: nas}, "docker.b": {Engine: b}}
	lower := map[string]*config.DockerProvider{"docker.nas": {Engine: nas}}
	for name, c := range map[string]struct {
		args, env []string
		files     map[string]string
		want      map[string]*config.DockerProvider
	}{
		"flags": {args: flags, want: both},
		// Names in variables are lower case, as everywhere.
		"environment": {env: env, want: lower},
		"file":        {args: []string{"--configFile=s.yml"}, files: map[string]string{"s.yml": file}, want: both},
	} {
		s, src, err := Static(c.args, c.env, memory(c.files))
		if err != nil || len(src.Warnings) > 0 {
			t.Errorf("%s: %v %v", name, err, src.Warnings)
			continue
		}
		if got := s.Providers.Docker.Further(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v", name, got)
		}
		if d := s.Providers.Docker; d.Username != "me" || d.Endpoint != "unix:///var/run/docker.sock" {
			t.Errorf("%s: the first engine is %+v", name, d.Engine)
		}
	}
}

func TestDockerHostsChecked(t *testing.T) {
	const at = "--providers.docker.sluice.hosts."
	for _, c := range []struct {
		args []string
		want string // of a warning or the error
	}{
		{[]string{at + "a.network=x"}, "the host has no endpoint"},
		{[]string{at + "a@b.endpoint=tcp://x:1"}, `"a@b" is no name of a host`},
		{[]string{at + "a.endpoint=/var/run/docker.sock"}, "is no address of an engine"},
		{[]string{at + "a.endpoint=tcp://x:1", at + "b.endpoint=tcp://x:1"}, `host "a" has the same endpoint`},
		{[]string{at + "a.endpoint=unix:///var/run/docker.sock"}, "every route is there twice"},
		{[]string{at + "a.endpiont=tcp://x:1"}, "endpoint"},
	} {
		_, src, err := Static(c.args, nil, memory(nil))
		text := ""
		if err != nil {
			text = err.Error()
		}
		for _, p := range src.Warnings {
			text += p.Text + "\n"
		}
		if !strings.Contains(text, c.want) {
			t.Errorf("%v: %q lacks %q", c.args, text, c.want)
		}
	}
}
