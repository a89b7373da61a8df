package router

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/router/rule"
)

// defaultOptions is the name of the TLS options that apply where none is named.
const defaultOptions = "default"

// CertRequest is a certificate that a router asks a resolver for.
type CertRequest struct {
	Resolver string
	Domain   config.Domain
	// Router that asks first ("api@docker", "tcp router db@docker").
	Router string
}

// Certificates returns what the routers ask resolvers for, sorted and each once.
func (t *Table) Certificates() []CertRequest { return t.certs }

// demandRule is the rule of a router whose resolver makes certificates on demand.
type demandRule struct {
	resolver string
	rule     *rule.Rule
}

// OnDemand returns the resolvers, out of Input.OnDemand, of routers that take the host at
// some path. Conditions other than host and path are taken to be those of a plain GET.
func (t *Table) OnDemand(host string) []string {
	var out []string
	for _, d := range t.onDemand {
		if !slices.Contains(out, d.resolver) && takes(d.rule, host) {
			out = append(out, d.resolver)
		}
	}
	return out
}

func takes(r *rule.Rule, host string) bool {
	for _, k := range r.Keys() {
		fits := true
		switch k.HostScope {
		case rule.Exact:
			fits = k.Host == host
		case rule.OneLabel:
			_, rest, _ := strings.Cut(host, ".")
			fits = k.Host == rest
		case rule.Labels:
			fits = strings.HasSuffix(host, "."+k.Host)
		}
		if !fits {
			continue
		}
		req := exchange.Request{Method: "GET", Proto: "HTTP/1.1", Host: host, Path: "/"}
		if k.Path != "" {
			req.Path = k.Path
		}
		var s rule.Subject
		s.HTTP(&req, &rule.Pool{})
		ok := r.Match(&s)
		s.Done()
		if ok {
			return true
		}
	}
	return false
}

// HostOptions names, by entry point, the TLS options of hosts that have others than the
// default ones, for the choice of options by server name. A host "*.x" stands for one label
// before x.
func (t *Table) HostOptions() map[string]map[string]string { return t.hostOptions }

// hasOptions reports whether a host has other options than the default ones anywhere.
func (t *Table) hasOptions(host string) bool {
	for _, hosts := range t.hostOptions {
		if hosts[host] != "" {
			return true
		}
	}
	return false
}

// checkOptions finds a TLS router's options and reports whether they can be used.
func (c *compiler) checkOptions(d *routerDraft) bool {
	name, err := c.usableOptions(d.info.TLS.Options, d.name)
	d.options, d.certs = name, c.asksForCertificates(name)
	if err != nil {
		code, hint := codeOf(err, config.CodeUnknownTLSOptions)
		c.fail(d, "tls.options", code, err, hint)
	}
	return err == nil
}

// usableOptions returns the full name of TLS options, and why they cannot be used.
func (c *compiler) usableOptions(name, router string) (string, error) {
	if name == "" {
		name = defaultOptions
	}
	if name != defaultOptions {
		name = qualify(name, router)
	}
	if err, known := c.options[name]; known {
		return name, err
	}
	var all map[string]*config.TLSOptions
	if t := c.in.Config.TLS; t != nil {
		all = t.Options
	}
	var err error
	switch cfg := all[name]; {
	case cfg == nil && name != defaultOptions:
		err = coded(config.CodeUnknownTLSOptions, suggest(name, all), "the TLS options %q do not exist", name)
	case cfg != nil && c.in.Parts.TLSOptions != nil:
		if e := c.in.Parts.TLSOptions(name, cfg); e != nil {
			c.table.memo.unsettled = true
			err = coded(config.CodeInvalidValue, "", "the TLS options %s cannot be used: %w", name, e)
		}
	}
	c.options[name] = err
	return name, err
}

// tlsOptions decides which options each host has on each entry point. Where routers want
// different ones for a host, the reference gives it the default ones; so it is here, unless
// some demand client certificates: another router must not take that away from a host.
func (c *compiler) tlsOptions() {
	c.table.asking = map[string]bool{}
	if t := c.in.Config.TLS; t != nil {
		for name := range t.Options {
			c.table.asking[name] = c.asksForCertificates(name)
		}
	}
	c.table.hostOptions = map[string]map[string]string{}
	for ep, hosts := range c.wantedOptions() {
		for host, byOptions := range hosts {
			if len(byOptions) > 1 {
				c.contest(ep, host, byOptions)
				continue
			}
			for name := range byOptions {
				c.giveOptions(ep, host, name)
			}
		}
	}
}

// wantedOptions lists routers by entry point, host of their rule, and name of their options.
func (c *compiler) wantedOptions() map[string]map[string]map[string][]*routerDraft {
	wanted := map[string]map[string]map[string][]*routerDraft{}
	for _, d := range c.sorted {
		if d.rule == nil || d.options == "" {
			continue
		}
		if len(d.rule.Hosts()) == 0 && d.options != defaultOptions {
			text := "the rule names no host: TLS options are chosen by host, so these have no effect"
			if d.certs {
				text += ", and requests whose connection was not asked for a client certificate get 421"
			}
			c.problem("router "+d.name, "tls.options", config.CodeInvalidValue, config.Warning, text, "add a Host(`...`) to the rule")
		}
		for _, ep := range d.info.Using {
			hosts := wanted[ep]
			if hosts == nil {
				hosts = map[string]map[string][]*routerDraft{}
				wanted[ep] = hosts
			}
			for _, h := range d.rule.Hosts() {
				if hosts[h.Name] == nil {
					hosts[h.Name] = map[string][]*routerDraft{}
				}
				hosts[h.Name][d.options] = append(hosts[h.Name][d.options], d)
			}
		}
	}
	return wanted
}

// contest decides for a host whose routers on an entry point want different options.
func (c *compiler) contest(ep, host string, byOptions map[string][]*routerDraft) {
	c.table.memo.contested[host] = true
	used := "the default ones are used"
	if strict := c.strictest(byOptions); strict != "" {
		used = strict + ", which ask for client certificates, are used"
		c.giveOptions(ep, host, strict)
	}
	for _, list := range byOptions {
		for _, d := range list {
			c.warn(d, "tls.options", config.CodeConflict, fmt.Sprintf("found different TLS options for routers on the same host %s, so %s", host, used),
				"give all routers of a host the same options")
		}
	}
}

// giveOptions notes the options of a host that are not the default ones.
func (c *compiler) giveOptions(ep, host, name string) {
	if name == defaultOptions {
		return
	}
	if c.table.hostOptions[ep] == nil {
		c.table.hostOptions[ep] = map[string]string{}
	}
	c.table.hostOptions[ep][host] = name
}

// strictest is the first by name of the options that demand client certificates, or "".
func (c *compiler) strictest(byOptions map[string][]*routerDraft) string {
	for _, name := range slices.Sorted(maps.Keys(byOptions)) {
		if name != defaultOptions && c.asksForCertificates(name) {
			return name
		}
	}
	return ""
}

func (c *compiler) asksForCertificates(name string) bool {
	t := c.in.Config.TLS
	if t == nil || t.Options[name] == nil {
		return false
	}
	switch a := t.Options[name].ClientAuth; strings.ToLower(a.ClientAuthType) {
	case "":
		return len(a.CAFiles) > 0
	case "noclientcert", "requestclientcert", "verifyclientcertifgiven":
		return false
	}
	return true
}

// optionsAt returns the options of hosts, for the check of requests on an entry point.
func (c *compiler) optionsAt(ep string) hostOptions { return c.table.hostOptions[ep] }

// certificates collects what routers ask resolvers for: the domains they list, else the
// hosts of their rules, those of one router on one certificate.
func (c *compiler) certificates() {
	for _, d := range c.sorted {
		name := d.name
		if t := d.info.TLS; t != nil && d.route != nil {
			c.wantCertificate("router "+name, name, t.CertResolver, t.Domains, d.rule)
		}
	}
}

func (c *compiler) wantCertificate(object, router, resolver string, domains []config.Domain, r *rule.Rule) {
	if resolver == "" {
		return
	}
	if !slices.Contains(c.in.Resolvers, resolver) {
		known := map[string]bool{}
		for _, n := range c.in.Resolvers {
			known[n] = true
		}
		c.problem(object, "tls.certResolver", config.CodeUnknownResolver, config.Warning,
			fmt.Sprintf("there is no certificate resolver %q", resolver), suggest(resolver, known))
		return
	}
	onDemand := slices.Contains(c.in.OnDemand, resolver)
	if onDemand && r != nil {
		c.table.onDemand = append(c.table.onDemand, demandRule{resolver, r})
	}
	if len(domains) == 0 {
		var names []string
		for _, h := range r.Hosts() {
			if !slices.Contains(names, h.Name) {
				names = append(names, h.Name)
			}
		}
		if len(names) == 0 && onDemand {
			return
		}
		if len(names) == 0 {
			c.problem(object, "tls.certResolver", config.CodeInvalidValue, config.Warning,
				"no certificate can be asked for: the rule names no host", "set tls.domains")
			return
		}
		domains = []config.Domain{{Main: names[0], SANs: names[1:]}}
	}
	for _, d := range domains {
		key := "certificate\x00" + resolver + "\x00" + d.Main + "\x00" + strings.Join(d.SANs, "\x00")
		if d.Main != "" && !c.seen[key] {
			c.seen[key] = true
			c.table.certs = append(c.table.certs, CertRequest{resolver, d, router})
		}
	}
}
