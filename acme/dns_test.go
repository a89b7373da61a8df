package acme

import (
	"slices"
	"testing"
	"time"

	"github.com/go-acme/lego/v4/challenge"
	"github.com/go-acme/lego/v4/challenge/dns01"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testacme"
)

// slow is a DNS provider whose records are seen only some time after they were made.
type slow struct {
	txt
	after time.Duration
}

func (p slow) Present(domain, token, keyAuth string) error {
	time.AfterFunc(p.after, func() { _ = p.txt.Present(domain, token, keyAuth) })
	return nil
}

func (slow) Timeout() (timeout, interval time.Duration) {
	return 20 * time.Second, 100 * time.Millisecond
}

// The settings for the wait until records are seen, with a zone that is slow. It does not
// run beside others: the DNS servers of a process share their records.
func TestDNSPropagation(t *testing.T) {
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	const after = time.Second
	for name, c := range map[string]struct {
		dns config.DNSChallenge
		ok  bool
	}{
		"checked at the resolvers": {config.DNSChallenge{Propagation: &config.DNSPropagation{DisableANSChecks: true, RequireAllRNS: true}}, true},
		"not checked":              {config.DNSChallenge{Propagation: &config.DNSPropagation{DisableChecks: true}}, false},
		"not checked, old name":    {config.DNSChallenge{DisablePropagationCheck: true}, false},
		"delay":                    {config.DNSChallenge{Propagation: &config.DNSPropagation{DisableChecks: true, DelayBeforeChecks: config.Duration(after + time.Second)}}, true},
		"delay, old names":         {config.DNSChallenge{DisablePropagationCheck: true, DelayBeforeCheck: config.Duration(after + time.Second)}, true},
		"delay and check":          {config.DNSChallenge{DelayBeforeCheck: config.Duration(time.Millisecond), Propagation: &config.DNSPropagation{DisableANSChecks: true, RequireAllRNS: true}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			c.dns.Provider, c.dns.Resolvers = "lab", []string{ca.DNSAddr}
			cfg := resolverConfig(t, ca, func(a *config.ACME) { a.DNSChallenge = &c.dns })
			e := start(t, cur, map[string]*config.ACME{"le": cfg}, func(*config.DNSChallenge) (challenge.Provider, error) { return slow{txt{ca}, after}, nil })
			defer e.stop()
			e.Want([]Request{want("*.slow.test")})
			eventually(t, "the end of the order", func() bool {
				return e.leaf("x.slow.test") != nil || slices.ContainsFunc(e.Statuses(), func(s Status) bool { return s.Attempt.Error != "" })
			})
			if got := e.leaf("x.slow.test") != nil; got != c.ok {
				t.Errorf("obtained: %v; %+v", got, e.Statuses())
			}
			time.Sleep(after / 2) // a record that is late is of no later case
			ca.DNS.DeleteDNSTXTRecord(dns01.GetChallengeInfo("slow.test", "").FQDN)
		})
	}
}

func TestPropagationJoinsOldNames(t *testing.T) {
	got := propagation(&config.DNSChallenge{DelayBeforeCheck: 5, DisablePropagationCheck: true, Propagation: &config.DNSPropagation{RequireAllRNS: true, DelayBeforeChecks: 7}})
	if want := (config.DNSPropagation{DisableChecks: true, RequireAllRNS: true, DelayBeforeChecks: 7}); got != want {
		t.Errorf("%+v", got)
	}
}

// Of several challenges one that the CA offers for the name is taken: DNS for the wildcard.
func TestSeveralChallenges(t *testing.T) {
	h, s, hp, sp := ports(t)
	ca := testacme.Start(t, testacme.Options{HTTPPort: hp, TLSPort: sp})
	cur := listen(t, h, s)
	cfg := resolverConfig(t, ca, func(c *config.ACME) {
		c.TLSChallenge, c.HTTPChallenge = &config.TLSChallenge{}, &config.HTTPChallenge{EntryPoint: "web"}
		c.DNSChallenge = &config.DNSChallenge{Provider: "lab", Resolvers: []string{ca.DNSAddr}, DisablePropagationCheck: true}
	})
	asked := 0
	e := start(t, cur, map[string]*config.ACME{"le": cfg}, func(*config.DNSChallenge) (challenge.Provider, error) { asked++; return txt{ca}, nil })
	e.Want([]Request{want("*.a.test"), want("b.test")})
	eventually(t, "both", func() bool { return e.leaf("x.a.test") != nil && e.leaf("b.test") != nil })
	if asked != 1 {
		t.Errorf("the provider was made %d times", asked)
	}
}

// Without a challenge the authority is not asked for anything.
func TestNoChallenge(t *testing.T) {
	t.Parallel()
	ca := testacme.Start(t, testacme.Options{})
	e := start(t, &current{}, map[string]*config.ACME{"le": resolverConfig(t, ca, func(*config.ACME) {})}, nil)
	e.Want([]Request{want("a.test")})
	eventually(t, "the failure", func() bool { st := e.Statuses(); return len(st) == 1 && st[0].Attempt.Error == errNoChallenge.Error() })
	if ca.Accounts() != 0 || ca.Orders() != 0 {
		t.Errorf("%d accounts, %d orders", ca.Accounts(), ca.Orders())
	}
}
