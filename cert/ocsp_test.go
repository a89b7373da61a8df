package cert

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/ocsp"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testnet"
)

// responder is an authority with its OCSP responder.
type responder struct {
	t      *testing.T
	url    string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	answer atomic.Pointer[ocsp.Response] // nil: it fails
	asked  atomic.Int64
}

func newResponder(t *testing.T) *responder {
	t.Helper()
	r := &responder{t: t}
	r.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, r.key.Public(), r.key)
	if err != nil {
		t.Fatal(err)
	}
	r.cert, _ = x509.ParseCertificate(der)
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func (r *responder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asked.Add(1)
	body, _ := io.ReadAll(req.Body)
	q, err := ocsp.ParseRequest(body)
	a := r.answer.Load()
	if err != nil || a == nil {
		http.Error(w, "no", http.StatusInternalServerError)
		return
	}
	own := *a
	own.SerialNumber = q.SerialNumber
	b, err := ocsp.CreateResponse(r.cert, r.cert, own, r.key)
	if err != nil {
		r.t.Error(err)
	}
	_, _ = w.Write(b)
}

// issue makes a certificate that names a responder; with whole the chain has its issuer.
func (r *responder) issue(name, url string, whole bool) (config.FileOrContent, config.FileOrContent) {
	r.t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), OCSPServer: []string{url},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, r.cert, key.Public(), r.key)
	if err != nil {
		r.t.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if whole {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.cert.Raw})...)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.t.Fatal(err)
	}
	return config.FileOrContent(chain), config.FileOrContent(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}))
}

// stapling starts a Manager that staples.
func stapling(t *testing.T, overrides map[string]string) *Manager {
	t.Helper()
	m, err := NewManager(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Staple(ctx, StapleOptions{Overrides: overrides, Log: zerolog.Nop()})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return m
}

// stapledStatus is the status in the response of a handshake, -1 without one.
func stapledStatus(t *testing.T, m *Manager, r *responder, name string) int {
	t.Helper()
	st, err := handshake(t, m, name, func(c *tls.Config) { c.SessionTicketsDisabled = true })
	if err != nil {
		t.Fatal(err)
	}
	if len(st.OCSPResponse) == 0 {
		return -1
	}
	got, err := ocsp.ParseResponseForCert(st.OCSPResponse, st.PeerCertificates[0], r.cert)
	if err != nil {
		t.Fatal(err)
	}
	return got.Status
}

func good(until time.Duration) *ocsp.Response {
	return &ocsp.Response{Status: ocsp.Good, ThisUpdate: time.Now().Add(-time.Second), NextUpdate: time.Now().Add(until)}
}

func TestOCSPResponsesAreStapled(t *testing.T) {
	r := newResponder(t)
	now := time.Now()
	for name, c := range map[string]struct {
		answer *ocsp.Response
		url    string
		short  bool
		want   int
	}{
		"good":       {answer: good(time.Hour), url: r.url, want: ocsp.Good},
		"overridden": {answer: good(time.Hour), url: "http://ocsp.lab.test", want: ocsp.Good},
		"no end":     {answer: &ocsp.Response{Status: ocsp.Good, ThisUpdate: now}, url: r.url, want: ocsp.Good},
		"revoked":    {answer: &ocsp.Response{Status: ocsp.Revoked, ThisUpdate: now, NextUpdate: now.Add(time.Hour), RevokedAt: now}, url: r.url, want: -1},
		"unknown":    {answer: &ocsp.Response{Status: ocsp.Unknown, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, url: r.url, want: -1},
		"ended":      {answer: &ocsp.Response{Status: ocsp.Good, ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(-time.Minute)}, url: r.url, want: -1},
		"failing":    {url: r.url, want: -1},
		"no issuer":  {answer: good(time.Hour), url: r.url, short: true, want: -1},
	} {
		t.Run(name, func(t *testing.T) {
			r.answer.Store(c.answer)
			before := r.asked.Load()
			m := stapling(t, map[string]string{"http://ocsp.lab.test": r.url})
			cf, kf := r.issue("a.test", c.url, !c.short)
			m.Update(&config.TLS{Certificates: []config.StoreCertificate{{CertFile: cf, KeyFile: kf}}}, nil, time.Now())
			if c.short {
				time.Sleep(50 * time.Millisecond) // nobody is asked
			} else {
				testnet.Eventually(t, 10*time.Second, func() error {
					if r.asked.Load() == before || c.want == ocsp.Good && stapledStatus(t, m, r, "a.test") < 0 {
						return io.ErrNoProgress
					}
					return nil
				})
			}
			if got := stapledStatus(t, m, r, "a.test"); got != c.want {
				t.Errorf("status %d, want %d", got, c.want)
			}
		})
	}
}

// A response is renewed before it ends, kept while the responder fails, and not used once
// it has ended.
func TestOCSPResponsesAreRenewed(t *testing.T) {
	t.Parallel()
	r := newResponder(t)
	m := stapling(t, nil)
	cf, kf := r.issue("d.test", r.url, true)
	r.answer.Store(good(8 * time.Second))
	stores := map[string]*config.TLSStore{Default: {DefaultCertificate: &config.Certificate{CertFile: cf, KeyFile: kf}}}
	m.Update(&config.TLS{Stores: stores}, nil, time.Now())
	is := func(want int) func() error {
		return func() error {
			if stapledStatus(t, m, r, "any.test") != want {
				return io.ErrNoProgress
			}
			return nil
		}
	}
	testnet.Eventually(t, 30*time.Second, is(ocsp.Good))
	r.answer.Store(nil)
	asked := r.asked.Load()
	testnet.Eventually(t, 30*time.Second, func() error {
		if r.asked.Load() == asked {
			return io.ErrNoProgress
		}
		return nil
	})
	if err := is(ocsp.Good)(); err != nil {
		t.Error("a responder that fails took a good response away")
	}
	testnet.Eventually(t, 30*time.Second, is(-1))

	r.answer.Store(good(time.Hour))
	cf, kf = r.issue("e.test", r.url, true)
	m.Update(&config.TLS{Certificates: []config.StoreCertificate{{CertFile: cf, KeyFile: kf}}}, nil, time.Now())
	testnet.Eventually(t, 30*time.Second, func() error {
		if stapledStatus(t, m, r, "e.test") != ocsp.Good {
			return io.ErrNoProgress
		}
		return nil
	})
	n := 0
	m.stapler.Load().held.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d responses are kept for one certificate", n)
	}
}
