package cert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/ocsp"
)

const (
	// staplesAtOnce bounds the questions to responders under way.
	staplesAtOnce = 4
	// stapleTime bounds one of them, maxStaple its answer.
	stapleTime = 10 * time.Second
	maxStaple  = 64 << 10
	// A question that failed is asked again after a minute, then two, four and so on.
	firstStapleWait = time.Minute
	maxStapleWait   = time.Hour
	// minStapleWait is the least time between two questions for one certificate.
	minStapleWait = time.Second
)

// StapleOptions tune Manager.Staple.
type StapleOptions struct {
	// Overrides are responders that are asked in place of those that certificates name.
	Overrides map[string]string
	Log       zerolog.Logger
}

// Staple keeps OCSP responses (RFC 6960) for the certificates in hand until ctx ends, and
// puts them into handshakes (RFC 6066 §8). No handshake waits for a responder: it goes
// without a response that is not there, or that has ended.
func (m *Manager) Staple(ctx context.Context, o StapleOptions) {
	s := &stapler{opts: o, client: &http.Client{Timeout: stapleTime}}
	m.stapler.Store(s)
	defer m.stapler.Store(nil)
	for {
		wait := s.round(ctx, m.own())
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			s.client.CloseIdleConnections()
			return
		case <-m.changed:
			t.Stop()
		case <-t.C:
		}
	}
}

// own lists the certificates that somebody issued.
func (m *Manager) own() []*tls.Certificate {
	out := m.All()
	if s := m.snap.Load(); s.ownDefault {
		out = append(out, s.def)
	}
	return out
}

// note says that the certificates changed.
func (m *Manager) note() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

type stapler struct {
	opts   StapleOptions
	client *http.Client
	held   sync.Map // *staple by the sum of the certificate
}

// staple is what is known of a certificate. It is immutable.
type staple struct {
	response []byte // nil: none that is good
	until    time.Time
	next     time.Time // when the responder is to be asked
	failures int
}

// stapled returns c with its response, or c itself.
func (s *stapler) stapled(c *tls.Certificate) *tls.Certificate {
	if c.Leaf == nil || len(c.Leaf.OCSPServer) == 0 {
		return c
	}
	st := s.of(sha256.Sum256(c.Leaf.Raw))
	if st.response == nil || !time.Now().Before(st.until) {
		return c
	}
	with := *c
	with.OCSPStaple = st.response
	return &with
}

func (s *stapler) of(sum [32]byte) *staple {
	if v, ok := s.held.Load(sum); ok {
		return v.(*staple)
	}
	return &staple{}
}

// round asks for what is due, forgets what is of no certificate any more, and returns the
// time until the next one.
func (s *stapler) round(ctx context.Context, certs []*tls.Certificate) time.Duration {
	slots := make(chan struct{}, staplesAtOnce)
	var wg sync.WaitGroup
	now, kept := time.Now(), map[any]bool{}
	for _, c := range certs {
		sum := sha256.Sum256(c.Leaf.Raw)
		if len(c.Leaf.OCSPServer) == 0 || !valid(c.Leaf, now) || kept[sum] {
			continue
		}
		kept[sum] = true
		if old := s.of(sum); !old.next.After(now) {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				s.held.Store(sum, s.renew(ctx, c, old))
			})
		}
	}
	wg.Wait()
	next := time.Now().Add(maxStapleWait)
	s.held.Range(func(sum, v any) bool {
		if !kept[sum] {
			s.held.Delete(sum)
		} else if at := v.(*staple).next; at.Before(next) {
			next = at
		}
		return true
	})
	return max(time.Until(next), minStapleWait)
}

// renew asks for a response in the place of the old one, which stays where that fails.
func (s *stapler) renew(ctx context.Context, c *tls.Certificate, old *staple) *staple {
	raw, r, err := s.ask(ctx, c)
	now := time.Now()
	log := s.opts.Log.With().Str("certificate", c.Leaf.Subject.String()).Logger()
	switch {
	case err != nil:
		log.Warn().Err(err).Msg("no OCSP response")
		next := *old
		next.failures++
		next.next = now.Add(min(firstStapleWait<<min(old.failures, 10), maxStapleWait))
		return &next
	case r.Status == ocsp.Revoked:
		log.Error().Time("at", r.RevokedAt).Msg("the certificate is revoked")
		return &staple{next: now.Add(maxStapleWait)}
	case r.Status != ocsp.Good:
		log.Warn().Msg("the OCSP responder does not know the certificate")
		return &staple{next: now.Add(maxStapleWait)}
	}
	// Half of its time a response is used without a question; one that is older already, for
	// half of what is left.
	next := r.ThisUpdate.Add(r.NextUpdate.Sub(r.ThisUpdate) / 2)
	if !next.After(now) {
		next = now.Add(r.NextUpdate.Sub(now) / 2)
	}
	return &staple{response: raw, until: r.NextUpdate, next: next}
}

// ask asks the responder of a certificate.
func (s *stapler) ask(ctx context.Context, c *tls.Certificate) ([]byte, *ocsp.Response, error) {
	issuer, err := issuerOf(c)
	if err != nil {
		return nil, nil, err
	}
	body, err := ocsp.CreateRequest(c.Leaf, issuer, nil)
	if err != nil {
		return nil, nil, err
	}
	url := c.Leaf.OCSPServer[0]
	if o := s.opts.Overrides[url]; o != "" {
		url = o
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	req.Header.Set("Accept", "application/ocsp-response")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxStaple))
	if err != nil {
		return nil, nil, err
	}
	r, err := ocsp.ParseResponseForCert(raw, c.Leaf, issuer)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", url, err)
	}
	now := time.Now()
	if r.NextUpdate.IsZero() { // newer information is always there (RFC 6960 §4.2.2.1)
		r.ThisUpdate, r.NextUpdate = now, now.Add(maxStapleWait)
	}
	if r.Status == ocsp.Good && (!r.NextUpdate.After(now) || r.ThisUpdate.After(now.Add(stapleTime))) {
		return nil, nil, fmt.Errorf("%s: the response is of another time, %s to %s", url, r.ThisUpdate, r.NextUpdate)
	}
	return raw, r, nil
}

// issuerOf is the second certificate of a chain, or the first where it signed itself.
func issuerOf(c *tls.Certificate) (*x509.Certificate, error) {
	if len(c.Certificate) > 1 {
		return x509.ParseCertificate(c.Certificate[1])
	}
	if bytes.Equal(c.Leaf.RawIssuer, c.Leaf.RawSubject) {
		return c.Leaf, nil
	}
	return nil, errors.New("the chain of the certificate lacks its issuer, who signs OCSP responses")
}
