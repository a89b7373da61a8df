package server

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/sluice-edge/sluice/acme"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/acmejson"
)

const acmeChallengePath = "/.well-known/acme-challenge/"

// certificateWatch is how often certificate files are looked at for changes.
const certificateWatch = 2 * time.Second

// newACME opens the certificate resolvers. Starting does not wait for any CA.
func (s *Server) newACME(ctx context.Context) {
	cfg := map[string]*config.ACME{}
	for name, r := range s.static.CertificatesResolvers {
		if r != nil && r.ACME != nil {
			cfg[name] = r.ACME
		}
	}
	s.acme = acme.New(ctx, acme.Options{
		Resolvers: cfg,
		Open:      func(path string) (store.Store, error) { return acmejson.Open(path) },
		Covered:   s.certs.Covers,
		Publish:   func(c []*tls.Certificate) { s.certs.SetManaged(c, time.Now()) },
		UserAgent: "sluice/" + s.opts.Version,
		Log:       s.component("acme"),
	})
	if len(cfg) > 0 {
		s.certs.SetChallenge(s.acme.ChallengeCert)
	}
}

func (s *Server) usesHTTPChallenge() bool {
	for _, r := range s.static.CertificatesResolvers {
		if r != nil && r.ACME != nil && r.ACME.HTTPChallenge != nil {
			return true
		}
	}
	return false
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
			if s.certs.Refresh(now) {
				s.log.Info().Msg("certificate files reloaded")
			}
		}
	}
}
