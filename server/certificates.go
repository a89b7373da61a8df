package server

import (
	"context"
	"crypto/tls"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/acme"
	"github.com/sluice-edge/sluice/acme/dns"
	"github.com/sluice-edge/sluice/api"
	"github.com/sluice-edge/sluice/cert"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/router"
	"github.com/sluice-edge/sluice/telemetry"
)

const acmeChallengePath = "/.well-known/acme-challenge/"

// certificateWatch is how often certificate files are looked at for changes.
const certificateWatch = 2 * time.Second

// newACME opens the certificate resolvers. Starting does not wait for any CA.
func (s *Server) newACME(ctx context.Context) {
	cfg := map[string]*config.ACME{}
	for name, r := range s.static.Load().CertificatesResolvers {
		if r != nil && r.ACME != nil {
			cfg[name] = r.ACME
		}
	}
	m := acme.New(ctx, acme.Options{
		Resolvers: cfg,
		Open:      openStorage,
		Covered:   s.certs.Covers,
		Publish:   func(c []*tls.Certificate) { s.certs.SetManaged(c, time.Now()) },
		Tickets:   func(t []cert.TicketSecret) { s.certs.SetTickets(t, time.Now()) },
		DNS:       new(dns.Maker).New,
		UserAgent: "sluice/" + s.opts.Version,
		Log:       s.component("acme"),
	})
	if len(cfg) > 0 {
		s.certs.SetChallenge(m.ChallengeCert)
	}
	if len(m.OnDemand()) > 0 {
		s.certs.SetDemand(func(ctx context.Context, host string) *tls.Certificate {
			t := s.table.Load()
			if t == nil {
				return nil
			}
			return m.Demand(ctx, host, t.OnDemand(host))
		})
	} else {
		s.certs.SetDemand(nil)
	}
	s.acme.Store(m)
}

// wantCertificates tells what the routers of a table and the stores ask resolvers for.
func (s *Server) wantCertificates(t *router.Table, cfg *config.Dynamic) {
	var wants []acme.Request
	for _, c := range t.Certificates() {
		wants = append(wants, acme.Request{Resolver: c.Resolver, Domain: c.Domain})
	}
	if tls := tlsOf(cfg); tls != nil {
		for _, st := range tls.Stores {
			if st == nil || st.DefaultCertificate != nil {
				continue
			}
			if g := st.DefaultGeneratedCert; g != nil && g.Domain != nil {
				wants = append(wants, acme.Request{Resolver: g.Resolver, Domain: *g.Domain})
			}
		}
	}
	s.acme.Load().Want(wants)
}

// usesTLSChallenge reports whether a resolver proves names by TLS-ALPN-01.
func (s *Server) usesTLSChallenge() bool {
	for _, r := range s.static.Load().CertificatesResolvers {
		if r != nil && r.ACME != nil && r.ACME.TLSChallenge != nil {
			return true
		}
	}
	return false
}

func (s *Server) usesHTTPChallenge() bool { return len(httpChallengeEntryPoints(s.static.Load())) > 0 }

// httpChallengeEntryPoints lists where HTTP-01 challenges are answered, sorted. An entry
// point with allowACMEByPass leaves them to the users' routers.
func httpChallengeEntryPoints(s *config.Static) []string {
	var out []string
	for _, r := range s.CertificatesResolvers {
		if r == nil || r.ACME == nil || r.ACME.HTTPChallenge == nil {
			continue
		}
		name := r.ACME.HTTPChallenge.EntryPoint
		if ep := s.EntryPoints[name]; ep != nil && !ep.AllowACMEByPass && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// challengeConfig adds the router that answers HTTP-01 challenges before any other.
func challengeConfig(s *config.Static, h *config.HTTP) {
	if eps := httpChallengeEntryPoints(s); len(eps) > 0 {
		h.Services["acme-http"] = &config.Service{}
		h.Routers["acme-http"] = &config.Router{
			EntryPoints: eps, Rule: "PathPrefix(`" + acmeChallengePath + "`)", RuleSyntax: "default",
			Service: "acme-http@internal", Priority: math.MaxInt,
		}
	}
}

// serveHTTPChallenge answers HTTP-01 challenges (RFC 8555 §8.3).
func (s *Server) serveHTTPChallenge(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.URL.Path, acmeChallengePath)
	if ok {
		if key, found := s.acme.Load().HTTPToken(token); found {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte(key)) //nolint:gosec // a key authorization, not markup
			return
		}
	}
	http.NotFound(w, r)
}

// issued is what the resolvers hold and wait for, for the API.
func (s *Server) issued() []api.Issued {
	m := s.acme.Load()
	if m == nil {
		return nil
	}
	var out []api.Issued
	for _, st := range m.Statuses() {
		out = append(out, api.Issued{
			Resolver: st.Resolver, Names: st.Names, State: st.State, CertFingerprint: st.Fingerprint, Issuer: st.Issuer, Serial: st.Serial,
			NotBefore: st.NotBefore, NotAfter: st.NotAfter, NextRenewal: st.Renew, Used: st.Used,
			Failures: st.Attempt.Failures + st.Attempt.Network, LastError: st.Attempt.Error, NextAttempt: st.Attempt.Next,
		})
	}
	return out
}

// orders counts the orders of certificates for the metrics.
func (s *Server) orders() []telemetry.OrderCount {
	m := s.acme.Load()
	if m == nil {
		return nil
	}
	var out []telemetry.OrderCount
	for k, n := range m.Counts() {
		out = append(out, telemetry.OrderCount{Resolver: k.Resolver, Result: k.Result, N: n})
	}
	return out
}

// watchCertificates swaps certificate, key and CA files when they change on disk.
func (s *Server) watchCertificates(ctx context.Context) {
	t := time.NewTicker(certificateWatch)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.renewals(ctx)
			s.certs.Rotate(now)
			if s.certs.Refresh(now) {
				s.log.Info().Msg("certificate files reloaded")
			}
		}
	}
}
