package api

import (
	"crypto/x509"
	"testing"
	"time"
)

func TestIssued(t *testing.T) {
	o := shopOptions()
	good, other := certificate(t, "good", 90*24*time.Hour), certificate(t, "other", 90*24*time.Hour)
	next := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	o.Certificates = func() []*x509.Certificate { return []*x509.Certificate{good, other} }
	o.Issued = func() []Issued {
		return []Issued{
			{Resolver: "le", Names: []string{"good.test"}, State: "valid", CertFingerprint: fingerprint(good.Raw), NextRenewal: next, Used: true},
			{Resolver: "le", Names: []string{"missing.test"}, State: "not obtained", Failures: 3, LastError: "the challenge failed", NextAttempt: next, Used: true},
			{Resolver: "zero", Names: []string{"late.test"}, State: "ordering"},
		}
	}
	h := New(o)
	for query, want := range map[string]int{"": 3, "?status=not%20obtained": 1, "?provider=le": 2, "?search=late": 1, "?search=ZERO": 1, "?status=due": 0} {
		if list := decode[[]Issued](t, get(t, h, "/api/sluice/certificates"+query)); len(list) != want {
			t.Errorf("%q: %d, want %d", query, len(list), want)
		}
	}
	missing := decode[[]Issued](t, get(t, h, "/api/sluice/certificates?search=missing"))[0]
	if missing.LastError != "the challenge failed" || missing.Failures != 3 || !missing.NextAttempt.Equal(next) {
		t.Errorf("%+v", missing)
	}
	for _, c := range decode[[]certificateView](t, get(t, h, "/api/certificates")) {
		if known := c.Sluice != nil && c.Sluice.NextRenewal.Equal(next); known != (c.CommonName == "good") {
			t.Errorf("%s: %+v", c.CommonName, c.Sluice)
		}
	}
	one := decode[certificateView](t, get(t, h, "/api/certificates/"+fingerprint(good.Raw)))
	if one.Sluice == nil || one.Sluice.Resolver != "le" {
		t.Errorf("%+v", one)
	}
}
