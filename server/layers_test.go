package server

import (
	"strings"
	"testing"
)

// TestRoutersBelowOthers: a parent's middleware runs first, its children are tried with what
// it made of the request, and their own middlewares follow.
func TestRoutersBelowOthers(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		one, _ := backend(t, "one")
		two, _ := backend(t, "two")
		e := start(t, lane, plain, `
http:
  routers:
    root: {rule: "Host(`+"`a.test`"+`)", middlewares: [tag, strip]}
    plain: {rule: "Header(`+"`X-Tag`, `yes`"+`) && PathPrefix(`+"`/one`"+`)", service: one, parentRefs: [root]}
    inner: {rule: "PathPrefix(`+"`/deep`"+`)", parentRefs: [root], middlewares: [cut]}
    leaf: {rule: "Path(`+"`/two`"+`)", service: two, parentRefs: [inner@file], middlewares: [shrink]}
    guarded: {rule: "Path(`+"`/secret`"+`)", service: one, parentRefs: [root], middlewares: [nosuch]}
    orphan: {rule: "Host(`+"`a.test`"+`)", service: one, parentRefs: [nobody]}
    loop1: {rule: "Path(`+"`/l`"+`)", parentRefs: [loop2]}
    loop2: {rule: "Path(`+"`/l`"+`)", parentRefs: [loop1]}
    tls: {rule: "Path(`+"`/t`"+`)", service: one, parentRefs: [root], tls: {}}
  services:
    one: {loadBalancer: {servers: [{url: "`+one+`"}]}}
    two: {loadBalancer: {servers: [{url: "`+two+`"}]}}
  middlewares:
    tag: {headers: {customRequestHeaders: {X-Tag: "yes"}}}
    strip: {stripPrefix: {prefixes: [/api]}}
    cut: {stripPrefix: {prefixes: [/deep]}}
    shrink: {compress: {}}
`)
		for path, want := range map[string]string{
			"/one": "200 one", "/api/one": "200 one", "/api/deep/two": "200 two", "/deep/two": "200 two",
			"/two": "404 404 page not found", "/deep/three": "404 404 page not found", "/": "404 404 page not found", "/t": "404 404 page not found",
		} {
			if got := e.get("web", "a.test"+path); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		// Twice: the routes are not used up.
		if got := e.get("web", "a.test/deep/two"); got != "200 two" {
			t.Error(got)
		}
		for name, want := range map[string]string{
			"orphan": `the router "nobody@file" does not exist`, "guarded": `middleware "nosuch@file" does not exist`,
			"loop1": "", "loop2": "is below itself", "tls": "has the TLS of its parent", "root": "", "inner": "", "leaf": "",
		} {
			info := e.runtime().Routers[name+"@file"]
			if got := strings.Join(info.Errors, "; "); want == "" && got != "" && name != "loop1" || !strings.Contains(got, want) {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	})
}
