package router

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/stream"
)

func (c *compiler) udp() {
	u := c.in.Config.UDP
	if u == nil {
		u = &config.UDP{}
	}
	c.run.UDPServices = make(map[string]*config.UDPServiceInfo, len(u.Services))
	for name, s := range u.Services {
		c.run.UDPServices[name] = &config.UDPServiceInfo{UDPService: s, Status: config.StatusEnabled}
	}
	c.run.UDPRouters = make(map[string]*config.UDPRouterInfo, len(u.Routers))
	for _, name := range slices.Sorted(maps.Keys(u.Routers)) {
		c.udpRouter(name, u.Routers[name])
	}
}

// udpRouter compiles a UDP router. One without entry points has all UDP ones, and of two on
// one entry point the first by name serves it: a datagram has nothing to tell them apart.
func (c *compiler) udpRouter(name string, cfg *config.UDPRouter) {
	cp := *cfg
	info := &config.UDPRouterInfo{UDPRouter: &cp, Status: config.StatusEnabled}
	c.run.UDPRouters[name] = info
	fail := func(field string, err error) {
		code, hint := codeOf(err, config.CodeInvalidService)
		info.Errors = append(info.Errors, err.Error())
		info.Status = config.StatusDisabled
		c.problem("udp router "+name, field, code, config.Error, err.Error(), hint)
	}
	if len(cp.EntryPoints) == 0 {
		for _, ep := range slices.Sorted(maps.Keys(c.in.EntryPoints)) {
			if isUDP(c.in.EntryPoints[ep]) {
				cp.EntryPoints = append(cp.EntryPoints, ep)
			}
		}
	}
	for _, ep := range cp.EntryPoints {
		if e := c.in.EntryPoints[ep]; e == nil || !isUDP(e) {
			text, remedy := fmt.Sprintf("entryPoint %q doesn't exist", ep), suggest(ep, c.in.EntryPoints)
			if e != nil {
				text, remedy = fmt.Sprintf("entryPoint %q is not for UDP", ep), "declare its address with /udp at the end"
			}
			info.Errors = append(info.Errors, text)
			info.Status = config.StatusWarning
			c.problem("udp router "+name, "entryPoints", config.CodeUnknownEntryPoint, config.Warning, text, remedy)
		} else if !slices.Contains(info.Using, ep) {
			info.Using = append(info.Using, ep)
		}
	}
	slices.Sort(info.Using)
	if s := c.run.UDPServices[qualify(cp.Service, name)]; s != nil {
		s.UsedBy = append(s.UsedBy, name)
	}
	if len(info.Using) == 0 {
		fail("entryPoints", coded(config.CodeUnknownEntryPoint, "", "no valid entryPoint for this router"))
		return
	}
	if cp.Service == "" {
		fail("service", coded(config.CodeUnknownService, "set service", "the router names no service"))
		return
	}
	svc, err := c.udpService(qualify(cp.Service, name), nil)
	if err != nil {
		fail("service", err)
		return
	}
	for _, ep := range info.Using {
		if other := c.table.udp[ep]; other != nil {
			c.problem("udp router "+name, "entryPoints", config.CodeConflict, config.Warning,
				fmt.Sprintf("the entry point %s is served by router %s", ep, other.Router), "give each UDP router an entry point of its own")
			continue
		}
		c.table.udp[ep] = &UDPRoute{Router: name, Service: svc}
	}
}

// udpService builds a UDP service and what it is made of.
func (c *compiler) udpService(name string, stack []string) (stream.Service, error) {
	if slices.Contains(stack, name) {
		return nil, coded(config.CodeLoop, "", "the service %s contains itself: %s", name, strings.Join(append(stack, name), " > "))
	}
	info := c.run.UDPServices[name]
	if info == nil {
		return nil, coded(config.CodeUnknownService, suggest(name, c.run.UDPServices), "the service %q does not exist", name)
	}
	if info.LoadBalancer == nil && info.Weighted != nil {
		var shares []stream.Share
		for _, m := range info.Weighted.Services {
			kid, err := c.udpService(qualify(m.Name, name), append(slices.Clone(stack), name))
			if err != nil {
				return nil, err
			}
			shares = append(shares, stream.Share{Weight: weightOf(m), Service: kid})
		}
		return stream.NewWeighted(shares), nil
	}
	err := errors.New("a service has one kind: loadBalancer or weighted")
	if info.LoadBalancer != nil && info.Weighted == nil {
		var b *stream.Balancer
		if b, err = c.table.streams.UDP(name, info.LoadBalancer); err == nil {
			if w := b.Warning(); w != "" {
				c.problem("udp service "+name, "", config.CodeInvalidValue, config.Warning, w, "")
			}
			return b, nil
		}
	}
	if !slices.Contains(info.Errors, err.Error()) {
		info.Errors = append(info.Errors, err.Error())
	}
	info.Status = config.StatusDisabled
	c.problem("udp service "+name, "", config.CodeInvalidService, config.Error, err.Error(), "")
	return nil, err
}
