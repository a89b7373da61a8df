package decode

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

const blocksFile = `---
# routes of everybody
http:
  routers:
    # the first
    a:
      rule: Host(` + "`a.test`) && !Path(`/x`)" + `
      service: a

    b: {rule: "Host(` + "`b.test`" + `)", service: a}
    c@file:
      rule: |
        Host(` + "`c.test`" + `)
      service: a
  services:
    a:
      loadBalancer:
        servers:
        - url: http://127.0.0.1:1
  middlewares:
    m:
      stripPrefix: {prefixes: [/a,
         /b]}
tcp:
  routers:
    t:
      rule: HostSNI(` + "`*`" + `)
      service: t
  services: {t: {loadBalancer: {servers: [{address: "127.0.0.1:1"}]}}}
tls:
  options:
    strict:
      minVersion: VersionTLS13
`

// every version decodes to what File makes of it.
func alike(t *testing.T, v *Versions, text string) (cut bool) {
	t.Helper()
	var whole, steps config.Dynamic
	wp, werr := File("x.yml", []byte(text), &whole)
	sp, serr := v.File("x.yml", []byte(text), &steps)
	if fmt.Sprint(werr) != fmt.Sprint(serr) || !reflect.DeepEqual(wp, sp) {
		t.Errorf("problems %v %v, want %v %v\n%s", sp, serr, wp, werr, text)
	}
	if werr == nil && !reflect.DeepEqual(whole, steps) {
		t.Errorf("got  %s\nwant %s\n%s", asJSON(t, steps), asJSON(t, whole), text)
	}
	return v.text != nil
}

func TestVersionsDecodeWhatChanged(t *testing.T) {
	var v Versions
	if !alike(t, &v, blocksFile) {
		t.Fatal("the layout is not understood")
	}
	for _, s := range []string{"http.routers", "http.services", "http.middlewares", "tcp.routers"} {
		if v.text.sections[s] == nil {
			t.Errorf("%s is not cut", s)
		}
	}
	before := v.dyn
	if !alike(t, &v, strings.Replace(blocksFile, "a.test", "new.test", 1)) {
		t.Fatal("a change of one router is not understood")
	}
	now := v.dyn
	if now.HTTP.Routers["b"] != before.HTTP.Routers["b"] || now.HTTP.Routers["a"] == before.HTTP.Routers["a"] || now.TLS != before.TLS {
		t.Error("what did not change keeps its pointer, what did has another")
	}
	for _, c := range []struct{ old, new string }{
		{"    b: {", "    bb: {"},                 // renamed
		{"    m:\n", "    z:\n"},                  // another
		{"service: a\n", "service: [\n"},          // broken
		{"rule: |", "rulle: |"},                   // unknown key: the lines must be right
		{"VersionTLS13", "VersionTLS12"},          // in no block
		{"    c@file:", "    a:"},                 // twice
		{"tcp:\n", "tcp:\n  services: {}\n"},      // twice
		{"      service: a\n", "\tservice: a\n"},  // a tab
		{"    a:\n", "    a: &x\n"},               // an anchor
		{"    # the first\n", "   # shallower\n"}, // comments stand anywhere
		{"  services:\n", "  services:\n   a: {}\n"},
		{"        Host(`c.test`)", "        Host(`c.test`)\n         || Host(`d.test`)"},
		{"  middlewares:\n    m:\n", "  middlewares:\n    m: \"x\n    n:\n"},
		{"---\n", ""},
		{"tls:\n", "---\ntls:\n"},
	} {
		alike(t, &v, strings.Replace(blocksFile, c.old, c.new, 1))
		alike(t, &v, blocksFile)
	}
	for _, text := range []string{"", "\n", "http:\n", "http:\n  routers:\n", "http: {}\n", "http:\n  routers:\n  - a\n", "x", "- a\n"} {
		alike(t, &v, text)
		alike(t, &v, blocksFile)
	}
}

// Random edits of lines: each version is what File makes of it.
func TestVersionsAgreeWithFile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	lines := strings.SplitAfter(blocksFile, "\n")
	odd := []string{"    a:\n", "  routers:\n", "tcp:\n", "\n", "      service: b\n", "    \"q\":\n", "  #\n", "    n: 'x\n", "  y'\n", " }\n", "    o: {\n", "   p:\n"}
	var v Versions
	cut := 0
	for range 1500 {
		now := append([]string(nil), lines...)
		for range 1 + r.IntN(3) {
			i := r.IntN(len(now))
			switch r.IntN(4) {
			case 0:
				now = append(now[:i], now[i+1:]...)
			case 1:
				now[i], now[r.IntN(len(now))] = now[r.IntN(len(now))], now[i]
			case 2:
				now[i] = strings.Replace(now[i], "a", "k", 1)
			default:
				now[i] += odd[r.IntN(len(odd))]
			}
		}
		if alike(t, &v, strings.Join(now, "")) {
			cut++
		}
		if t.Failed() {
			return
		}
		alike(t, &v, blocksFile)
	}
	if cut < 150 {
		t.Errorf("only %d versions were cut", cut)
	}
}

func FuzzVersions(f *testing.F) {
	f.Add(blocksFile, strings.Replace(blocksFile, "a.test", "b", 1))
	f.Fuzz(func(t *testing.T, a, b string) {
		var v Versions
		alike(t, &v, a)
		alike(t, &v, b)
	})
}
