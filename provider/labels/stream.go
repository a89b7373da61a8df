package labels

import (
	"maps"
	"net"
	"slices"

	"github.com/sluice-edge/sluice/config"
)

// tcp completes TCP services and routers.
func (s *build) tcp() {
	t := s.dyn.TCP
	if t == nil {
		return
	}
	if len(t.Services) == 0 && len(t.Routers) > 0 && !s.attempted("tcp.services.") {
		t.Services = map[string]*config.TCPService{s.name: {LoadBalancer: &config.TCPLoadBalancer{}}}
	}
	names := slices.Sorted(maps.Keys(t.Services))
	for _, n := range names {
		svc := t.Services[n]
		if svc == nil || (svc.LoadBalancer == nil && svc.Weighted == nil) {
			delete(t.Services, n)
			continue
		}
		if svc.LoadBalancer == nil {
			continue
		}
		tmpl := config.TCPServer{}
		if len(svc.LoadBalancer.Servers) > 0 {
			tmpl = svc.LoadBalancer.Servers[0]
		}
		svc.LoadBalancer.Servers, svc.LoadBalancer.Idle = nil, s.idle()
		if svc.LoadBalancer.Idle != nil {
			svc.LoadBalancer.AutoHold = s.hold()
		}
		if tmpl.Address != "" { // no label sets it, but a template of ours may
			svc.LoadBalancer.Servers = []config.TCPServer{tmpl}
			continue
		}
		for _, a := range s.streamAddresses("tcp service "+n, tmpl.Port, false) {
			srv := tmpl
			srv.Port, srv.Address = "", a
			svc.LoadBalancer.Servers = append(svc.LoadBalancer.Servers, srv)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(t.Routers)) {
		r := t.Routers[n]
		if r == nil {
			delete(t.Routers, n)
			continue
		}
		if r.Rule == "" {
			s.problem("tcp router "+n, config.CodeInvalidRule, "has no rule", "add the label traefik.tcp.routers."+n+".rule=HostSNI(`*`)")
		}
		if r.Service == "" {
			r.Service = s.onlyService("tcp router "+n, names)
		}
		if r.Rule == "" || r.Service == "" {
			delete(t.Routers, n)
		}
	}
}

// udp completes UDP services and routers.
func (s *build) udp() {
	u := s.dyn.UDP
	if u == nil {
		return
	}
	if len(u.Services) == 0 && len(u.Routers) > 0 && !s.attempted("udp.services.") {
		u.Services = map[string]*config.UDPService{s.name: {LoadBalancer: &config.UDPLoadBalancer{}}}
	}
	names := slices.Sorted(maps.Keys(u.Services))
	for _, n := range names {
		svc := u.Services[n]
		if svc == nil || (svc.LoadBalancer == nil && svc.Weighted == nil) {
			delete(u.Services, n)
			continue
		}
		if svc.LoadBalancer == nil {
			continue
		}
		tmpl := config.UDPServer{}
		if len(svc.LoadBalancer.Servers) > 0 {
			tmpl = svc.LoadBalancer.Servers[0]
		}
		svc.LoadBalancer.Servers, svc.LoadBalancer.Idle = nil, s.idle()
		for _, a := range s.streamAddresses("udp service "+n, tmpl.Port, true) {
			svc.LoadBalancer.Servers = append(svc.LoadBalancer.Servers, config.UDPServer{Address: a})
		}
	}
	for _, n := range slices.Sorted(maps.Keys(u.Routers)) {
		r := u.Routers[n]
		if r != nil && r.Service == "" {
			r.Service = s.onlyService("udp router "+n, names)
		}
		if r == nil || r.Service == "" {
			delete(u.Routers, n)
		}
	}
}

// streamAddresses are the addresses for a TCP or UDP service: only those that take
// connections now, for such servers cannot be fenced.
func (s *build) streamAddresses(object, port string, udp bool) []string {
	if s.w.Rank != Live || !s.isPort(object, port) {
		return nil
	}
	addrs, _ := s.place(object, port, udp)
	var out []string
	for _, a := range addrs {
		if !a.Fenced {
			out = append(out, net.JoinHostPort(a.Host, a.Port))
		}
	}
	return out
}
