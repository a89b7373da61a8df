package labels

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// FuzzBuild holds what must be true of any labels: routers have a rule and a service,
// servers have an address, a share merged with nothing is itself, and building twice
// gives the same.
func FuzzBuild(f *testing.F) {
	f.Add("traefik.http.routers.r.rule=Host(`x`)\ntraefik.http.services.s.loadbalancer.server.port=80", uint8(0))
	f.Add("traefik.tcp.routers.t.rule=HostSNI(`*`)\ntraefik.udp.routers.u.entrypoints=x\nsluice.http.services.w.weighted.services[0].name=a", uint8(1))
	f.Add("traefik.enable=true\ntraefik.docker.network=x\ntraefik.swarm.lbswarm=true\ntraefik.http.services.s.loadbalancer.server.url=http://[::1]/", uint8(2))
	f.Fuzz(func(t *testing.T, lines string, rank uint8) {
		b, _ := NewBuilder(Options{ExposedByDefault: true, DefaultRule: "Host(`{{ normalize .Name }}`)"})
		w := &Workload{Key: "k", Name: "n_1", Source: "container n_1", Labels: parse(lines), Rank: Rank(rank % 3), Seen: true,
			Swarm: rank&4 != 0, Place: place{"fd00::1", "80", "53"}}
		s := b.Build(w)
		if !reflect.DeepEqual(s, b.Build(w)) {
			t.Fatal("building twice gives different shares")
		}
		if s == nil {
			return
		}
		m := NewMerger()
		m.Replace(nil, s)
		d, _ := m.Result()
		if s.Config == nil {
			return
		}
		if s.Config.HTTP != nil && len(d.HTTP.Routers)+len(s.Config.HTTP.Routers) > 0 && !reflect.DeepEqual(d.HTTP.Routers, s.Config.HTTP.Routers) {
			t.Errorf("merged alone: %v, want %v", d.HTTP.Routers, s.Config.HTTP.Routers)
		}
		for n, r := range d.HTTP.Routers {
			if r.Rule == "" || r.Service == "" {
				t.Errorf("router %q: %+v", n, r)
			}
		}
		for n, svc := range d.HTTP.Services {
			if svc.LoadBalancer == nil {
				continue
			}
			for _, srv := range svc.LoadBalancer.Servers {
				if srv.URL == "" || srv.Port != "" || srv.Scheme != "" {
					t.Errorf("service %q: %+v", n, srv)
				}
				if srv.Fenced != (w.Rank != Live) {
					t.Errorf("service %q at rank %d: fenced %v", n, w.Rank, srv.Fenced)
				}
				if u, err := url.Parse(srv.URL); err == nil && strings.Contains(srv.URL, "[fd00::1]") && u.Port() == "" {
					t.Errorf("service %q: %s has no port", n, srv.URL)
				}
			}
		}
		for n, r := range d.TCP.Routers {
			if r.Rule == "" || r.Service == "" {
				t.Errorf("tcp router %q: %+v", n, r)
			}
		}
		for n, r := range d.UDP.Routers {
			if r.Service == "" {
				t.Errorf("udp router %q: %+v", n, r)
			}
		}
	})
}
