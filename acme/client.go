package acme

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-acme/lego/v4/certcrypto"
	"github.com/go-acme/lego/v4/challenge/dns01"
	"github.com/go-acme/lego/v4/challenge/http01"
	"github.com/go-acme/lego/v4/challenge/tlsalpn01"
	"github.com/go-acme/lego/v4/lego"
	"github.com/go-acme/lego/v4/registration"

	"github.com/sluice-edge/sluice/config"
)

// keyType reads the key type of certificates as the reference spells it. Like there, one
// that is not known gives RSA keys of 4096 bits; the error says so.
func keyType(s string) (certcrypto.KeyType, error) {
	switch strings.ToUpper(s) {
	case "EC256":
		return certcrypto.EC256, nil
	case "EC384":
		return certcrypto.EC384, nil
	case "RSA2048":
		return certcrypto.RSA2048, nil
	case "", "RSA4096":
		return certcrypto.RSA4096, nil
	case "RSA8192":
		return certcrypto.RSA8192, nil
	}
	return certcrypto.RSA4096, fmt.Errorf("keyType %q is not EC256, EC384, RSA2048, RSA4096 or RSA8192; RSA4096 is used", s)
}

// Variables by which users of the reference's older versions name a private CA, for every
// resolver that does not say it itself.
const (
	trustVariable  = "LEGO_CA_CERTIFICATES"
	nameVariable   = "LEGO_CA_SERVER_NAME"
	systemVariable = "LEGO_CA_SYSTEM_CERT_POOL"
)

// trust is how the CA's own certificate is checked.
func trust(cfg *config.ACME) (*tls.Config, error) {
	files, system, name := cfg.CACertificates, cfg.CASystemCertPool, cfg.CAServerName
	if len(files) == 0 && !system && name == "" {
		files, name = filepath.SplitList(os.Getenv(trustVariable)), os.Getenv(nameVariable)
		system, _ = strconv.ParseBool(os.Getenv(systemVariable))
	}
	tc := &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}
	if len(files) > 0 {
		pool, err := lego.CreateCertPool(files, system)
		if err != nil {
			return nil, fmt.Errorf("caCertificates: %w", err)
		}
		tc.RootCAs = pool
	}
	return tc, nil
}

// httpClient reaches the CA with the resolver's time-outs and trust.
func httpClient(cfg *config.ACME) (*http.Client, error) {
	tc, err := trust(cfg)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout: time.Duration(cfg.ClientTimeout),
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:   30 * time.Second,
			ResponseHeaderTimeout: time.Duration(cfg.ClientResponseHeaderTimeout),
			TLSClientConfig:       tc,
			ForceAttemptHTTP2:     true,
		},
	}, nil
}

// connect makes the lego client of a resolver and registers its account. It talks to the CA.
func (r *resolver) connect(ctx context.Context) (*lego.Client, error) {
	r.clientMu.Lock()
	defer r.clientMu.Unlock()
	if r.client != nil {
		return r.client, nil
	}
	if !r.hasChallenge() {
		return nil, errNoChallenge
	}
	// Of several replicas one makes the account.
	l, err := r.vault.Lock(ctx, r.name+"/account", r.lease)
	if err != nil {
		return nil, err
	}
	defer r.extend(ctx, l)()
	if err := r.restoreAccount(ctx); err != nil {
		return nil, err
	}
	acc, err := loadAccount(ctx, r.vault, r.name, r.cfg, r.accountBits)
	if err != nil {
		return nil, err
	}
	hc, err := httpClient(r.cfg)
	if err != nil {
		return nil, err
	}
	lc := lego.NewConfig(acc)
	lc.CADirURL, lc.UserAgent, lc.HTTPClient = r.cfg.CAServer, r.userAgent, hc
	lc.Certificate.KeyType = r.keyType
	lc.Certificate.DisableCommonName = r.cfg.DisableCommonName
	if d := time.Duration(r.cfg.CertificateTimeout); d > 0 {
		lc.Certificate.Timeout = d
	}
	c, err := lego.NewClient(lc)
	if err != nil {
		return nil, err
	}
	if err := r.enrol(ctx, c, acc); err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	if err := r.setChallenges(c); err != nil {
		return nil, err
	}
	r.client = c
	return c, nil
}

// enrol registers a new account, or tells the CA the new e-mail address of one.
func (r *resolver) enrol(ctx context.Context, c *lego.Client, acc *account) (err error) {
	switch {
	case acc.Registration == nil:
		acc.Registration, err = register(c, r.cfg.EAB)
	case acc.moved:
		var changed *registration.Resource
		if changed, err = c.Registration.UpdateRegistration(registration.RegisterOptions{TermsOfServiceAgreed: true}); err != nil {
			r.log.Warn().Err(err).Msg("the authority was not told the account's new e-mail address; it is told at the next start")
			return nil
		}
		changed.URI, acc.Registration = acc.Registration.URI, changed
	default:
		return nil
	}
	if err != nil {
		return err
	}
	return acc.save(ctx, r.vault, r.name)
}

func register(c *lego.Client, eab *config.EAB) (*registration.Resource, error) {
	if eab != nil && eab.KID != "" {
		return c.Registration.RegisterWithExternalAccountBinding(registration.RegisterEABOptions{
			TermsOfServiceAgreed: true, Kid: eab.KID, HmacEncoded: eab.HMACEncoded,
		})
	}
	return c.Registration.Register(registration.RegisterOptions{TermsOfServiceAgreed: true})
}

// errNoChallenge ends an order before anything is asked of the CA.
var errNoChallenge = errors.New("no challenge is configured: set tlsChallenge, httpChallenge.entryPoint or dnsChallenge.provider")

func (r *resolver) hasChallenge() bool {
	return r.cfg.TLSChallenge != nil || r.provesWildcards() || r.cfg.HTTPChallenge != nil && r.cfg.HTTPChallenge.EntryPoint != ""
}

// setChallenges offers every challenge that is configured; of several lego takes the first of
// TLS-ALPN-01, HTTP-01 and DNS-01 that the CA offers for the name, as with the reference.
func (r *resolver) setChallenges(c *lego.Client) error {
	if d := r.cfg.DNSChallenge; r.provesWildcards() {
		if r.dns == nil {
			return errors.New("dnsChallenge is not available in this build")
		}
		p, err := r.dns(d)
		if err != nil {
			return fmt.Errorf("dnsChallenge.provider %s: %w", d.Provider, err)
		}
		if err := c.Challenge.SetDNS01Provider(p, dnsOptions(d)...); err != nil {
			return err
		}
	}
	if h := r.cfg.HTTPChallenge; h != nil && h.EntryPoint != "" {
		if err := c.Challenge.SetHTTP01Provider(httpProvider{r}, http01.SetDelay(time.Duration(h.Delay))); err != nil {
			return err
		}
	}
	if t := r.cfg.TLSChallenge; t != nil {
		return c.Challenge.SetTLSALPN01Provider(tlsProvider{r}, tlsalpn01.SetDelay(time.Duration(t.Delay)))
	}
	return nil
}

// propagation joins the reference's older settings with those in their place now.
func propagation(d *config.DNSChallenge) config.DNSPropagation {
	var p config.DNSPropagation
	if d.Propagation != nil {
		p = *d.Propagation
	}
	p.DisableChecks = p.DisableChecks || d.DisablePropagationCheck
	p.DelayBeforeChecks = cmp.Or(p.DelayBeforeChecks, d.DelayBeforeCheck)
	return p
}

// dnsOptions are the settings of the wait for records; whom it asks is set for each order.
func dnsOptions(d *config.DNSChallenge) []dns01.ChallengeOption {
	p := propagation(d)
	opts := []dns01.ChallengeOption{
		dns01.CondOption(p.DisableANSChecks, dns01.DisableAuthoritativeNssPropagationRequirement()),
		dns01.CondOption(p.RequireAllRNS, dns01.RecursiveNSsPropagationRequirement()),
	}
	wait := time.Duration(p.DelayBeforeChecks)
	if !p.DisableChecks && wait <= 0 {
		return opts
	}
	var waited sync.Map // values that had their delay: lego calls this again until the record is there
	return append(opts, dns01.WrapPreCheck(func(_, fqdn, value string, check dns01.PreCheckFunc) (bool, error) {
		if _, again := waited.LoadOrStore(value, true); !again {
			time.Sleep(wait) // in the order's own goroutine
		}
		if p.DisableChecks {
			waited.Delete(value)
			return true, nil
		}
		ok, err := check(fqdn, value)
		if ok {
			waited.Delete(value)
		}
		return ok, err
	}))
}
