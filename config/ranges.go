package config

import (
	"slices"
	"sort"
)

// CloudflareDate is when the built-in list of Cloudflare's ranges was compared with the
// published one. It changes about once in two years; sluice.ranges.cloudflare takes its place.
const CloudflareDate = "2026-09-29"

// NamedRanges gives the addresses that a name stands for in the lists of trusted addresses of
// entry points; ok is false for what is no such name.
func NamedRanges(name string) (list []string, ok bool) {
	switch name {
	case "loopback":
		return []string{"127.0.0.0/8", "::1/128"}, true
	case "private": // RFC 1918 and RFC 4193
		return []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}, true
	case "docker": // where an engine puts its bridges unless it is told otherwise
		return []string{"172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/14", "172.24.0.0/14", "172.28.0.0/14", "192.168.0.0/16"}, true
	case "swarm": // and a swarm its overlay networks, the ingress among them
		return []string{"10.0.0.0/8"}, true
	case "cloudflare":
		return []string{
			"173.245.48.0/20", "103.21.244.0/22", "103.22.200.0/22", "103.31.4.0/22", "141.101.64.0/18", "108.162.192.0/18",
			"190.93.240.0/20", "188.114.96.0/20", "197.234.240.0/22", "198.41.128.0/17", "162.158.0.0/15", "104.16.0.0/13",
			"104.24.0.0/14", "172.64.0.0/13", "131.0.72.0/22",
			"2400:cb00::/32", "2606:4700::/32", "2803:f800::/32", "2405:b500::/32", "2405:8100::/32", "2a06:98c0::/29", "2c0f:f248::/32",
		}, true
	}
	return nil, false
}

// rangeNames are the names that may be used: the built-in ones and those of files.
func (s *Sluice) rangeNames() []string {
	names := []string{"loopback", "private", "docker", "swarm", "cloudflare"}
	if s != nil {
		for name := range s.Ranges {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return slices.Compact(names)
}
