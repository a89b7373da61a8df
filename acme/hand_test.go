package acme

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testacme"
)

// The indexes answer what looking at everything answers.
func TestIndexesAgreeWithLookingAtAll(t *testing.T) {
	labels := []string{"a.test", "*.a.test", "b.a.test", "c.a.test", "d.b.a.test", "*.b.a.test", "e.test", "*.e.test", "test", "*.test"}
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same cases in every run
	pick := func() []string {
		out := slices.Clone(labels)
		rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		return out[:1+rnd.IntN(3)]
	}
	for range 2000 {
		d := newHand()
		var sets [][]string
		for range rnd.IntN(6) {
			d.put(&held{names: pick()})
			sets = append(sets, pick())
		}
		for k := range d.all {
			if rnd.IntN(3) == 0 {
				d.drop(k)
			}
		}
		w, need := newWishes(sets), pick()
		var all []string
		for k, h := range d.all {
			if covers(h.names, need) {
				all = append(all, k)
			}
			if want := slices.ContainsFunc(sets, func(s []string) bool { return covers(h.names, s) }); w.use(h.names) != want {
				t.Fatalf("%v of %v: used %v, want %v", h.names, sets, !want, want)
			}
		}
		var got []string
		for h := range d.covering(need) {
			got = append(got, id(h.names))
		}
		if slices.Sort(got); !slices.Equal(slices.Compact(got), slices.Sorted(slices.Values(all))) {
			t.Fatalf("%v is covered by %q, want %q", need, got, all)
		}
		for i, s := range sets {
			var want, got []string
			for j, o := range sets {
				if i != j && covers(o, s) && (!covers(s, o) || i > j) {
					want = append(want, fmt.Sprint(o))
				}
			}
			for o := range w.covering(i) {
				got = append(got, fmt.Sprint(o))
			}
			slices.Sort(got)
			if slices.Sort(want); !slices.Equal(slices.Compact(got), slices.Compact(want)) {
				t.Fatalf("%v among %v is covered by %v, want %v", s, sets, got, want)
			}
		}
	}
}

// A wildcard that the resolver cannot prove, or whose order failed, holds up no name below it.
func TestAWildcardThatFailsHoldsNothingUp(t *testing.T) {
	t.Parallel()
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	e := start(t, cur, map[string]*config.ACME{"le": resolverConfig(t, ca, func(c *config.ACME) { c.TLSChallenge = &config.TLSChallenge{} })}, nil)
	e.Want([]Request{want("app.a.test"), want("*.a.test")})
	eventually(t, "the name's own certificate", func() bool { return e.leaf("app.a.test") != nil })

	m := bare(t, func(c *config.ACME, _ *Options) { c.DNSChallenge = &config.DNSChallenge{Provider: "lab"} })
	r := m.resolvers["le"]
	m.Want([]Request{want("app.a.test"), want("b.test"), want("*.a.test")})
	names := func() string {
		jobs, _ := r.due(time.Now())
		var out []string
		for _, j := range jobs {
			out = append(out, id(j.names))
			delete(r.busy, id(j.names))
		}
		return fmt.Sprint(out)
	}
	if got := names(); got != "[*.a.test b.test]" {
		t.Errorf("ordered at first: %s", got)
	}
	r.tries["*.a.test"] = &Attempt{Failures: 1, Error: "no", Next: time.Now().Add(time.Hour)}
	if got := names(); got != "[app.a.test b.test]" {
		t.Errorf("ordered after the wildcard failed: %s", got)
	}
}

// Another resolver's certificate is used as long as it is renewed, or need not be.
func TestCoverOfAnotherResolver(t *testing.T) {
	other := &config.ACME{}
	other.SetDefaults()
	m := bare(t, func(c *config.ACME, o *Options) {
		other.Storage = c.Storage
		o.Resolvers["other"] = other
	})
	r, now := m.resolvers["other"], time.Now()
	for _, c := range []struct {
		ends, length time.Duration
		used, covers bool
	}{
		{80 * 24 * time.Hour, 90 * 24 * time.Hour, false, true},
		{20 * 24 * time.Hour, 90 * 24 * time.Hour, false, false}, // nobody renews it
		{20 * 24 * time.Hour, 90 * 24 * time.Hour, true, true},
		{-time.Hour, 90 * 24 * time.Hour, true, false},
	} {
		r.certs = newHand()
		leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(c.ends - c.length), NotAfter: now.Add(c.ends)}
		r.certs.put(&held{names: []string{"a.test"}, pair: &tls.Certificate{Leaf: leaf}})
		var reqs []Request
		if c.used {
			reqs = []Request{{Resolver: "other", Domain: config.Domain{Main: "a.test"}}}
		}
		m.Want(reqs)
		if got := m.coveredBy(m.resolvers["le"], []string{"a.test"}, now); got != c.covers {
			t.Errorf("%+v: covered %v", c, got)
		}
	}
}

// Certificates in hand may be good for the names together, as in the reference; one that
// nobody asks for by itself, so that it is not renewed, is not counted on.
func TestCoverByCertificatesTogether(t *testing.T) {
	m := bare(t, func(_ *config.ACME, o *Options) {
		o.Covered = func(names []string) bool { return len(names) == 1 && names[0] == "file.test" }
	})
	r, now := m.resolvers["le"], time.Now()
	hold := func(ends time.Duration, names ...string) {
		leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(ends - 90*24*time.Hour), NotAfter: now.Add(ends)}
		r.certs.put(&held{names: names, pair: &tls.Certificate{Leaf: leaf}})
	}
	hold(80*24*time.Hour, "a.test")
	hold(20*24*time.Hour, "*.w.test")
	hold(80*24*time.Hour, "alone.test")
	hold(-time.Hour, "ended.test")
	m.Want([]Request{want("a.test"), want("x.w.test"), want("ended.test")})
	for names, want := range map[string]bool{
		"a.test x.w.test": true, "a.test y.w.test file.test": true, "a.test b.test": false, "a.test alone.test": false, "alone.test": true, "a.test ended.test": false,
	} {
		if got := m.coveredBy(r, strings.Fields(names), now); got != want {
			t.Errorf("%s: covered %v", names, got)
		}
	}
	m.Want([]Request{want("a.test", "x.w.test")})
	if m.coveredBy(r, []string{"a.test", "x.w.test"}, now) {
		t.Error("nobody asks for one of them by itself any more")
	}
}
