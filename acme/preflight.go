package acme

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-acme/lego/v4/challenge/tlsalpn01"
)

const (
	preflightTime = 5 * time.Second
	// preflightNames bounds the names looked at for one certificate.
	preflightNames = 20
)

// preflight asks what the authority will: does each name resolve, does the port of the
// challenge answer, and is it us who answer. From inside a network the own public address
// may not be reached (hairpin NAT) though all is well, so its result is a hint.
func (r *resolver) preflight(ctx context.Context, names []string) error {
	h, t := r.cfg.HTTPChallenge, r.cfg.TLSChallenge
	if strings.EqualFold(r.cfg.Preflight, "off") || h == nil && t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, preflightTime)
	defer cancel()
	errs := make([]error, min(len(names), preflightNames))
	var wg sync.WaitGroup
	for i := range errs {
		if strings.HasPrefix(names[i], "*.") {
			continue
		}
		wg.Go(func() {
			addrs, err := r.lookup(ctx, names[i])
			switch {
			case err != nil:
				err = fmt.Errorf("%s does not resolve: %w", names[i], err)
			case t != nil: // of both lego takes this one
				err = r.selfTLS(ctx, names[i], addrs)
			default:
				err = r.selfHTTP(ctx, names[i], addrs)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// dialAny connects to the first address that answers.
func dialAny(ctx context.Context, addrs []string, port int) (net.Conn, error) {
	var errs []error
	var d net.Dialer
	for _, a := range addrs {
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a, strconv.Itoa(port)))
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// selfHTTP asks the name for a token that only we and the other replicas know.
func (r *resolver) selfHTTP(ctx context.Context, name string, addrs []string) error {
	p, token, answer := httpProvider{r}, "preflight-"+rand.Text(), rand.Text()
	if err := p.Present(name, token, answer); err != nil {
		return err
	}
	defer func() { _ = p.CleanUp(name, token, answer) }() // the sweep takes what stays
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(addr); strings.EqualFold(host, name) && strings.HasSuffix(addr, ":80") {
			return dialAny(ctx, addrs, r.httpPort)
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr) // a redirect leads elsewhere
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+name+"/.well-known/acme-challenge/"+token, nil)
	if err != nil {
		return err
	}
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("port 80 of %s (%s) does not answer: %w", name, strings.Join(addrs, ", "), err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 256))
	if err != nil || strings.TrimSpace(string(b)) != answer {
		return fmt.Errorf("port 80 of %s (%s) answers, but it is not this router: status %d", name, strings.Join(addrs, ", "), resp.StatusCode)
	}
	return nil
}

// selfTLS makes the authority's handshake (RFC 8737 §3) and looks whether the answer is ours.
func (r *resolver) selfTLS(ctx context.Context, name string, addrs []string) error {
	where := fmt.Sprintf("port 443 of %s (%s)", name, strings.Join(addrs, ", "))
	auth := rand.Text()
	own, err := r.rehearse(name, auth)
	if err != nil {
		return err
	}
	defer r.endRehearsal(name)
	raw, err := dialAny(ctx, addrs, r.tlsPort)
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", where, err)
	}
	c := tls.Client(raw, &tls.Config{ServerName: name, NextProtos: []string{tlsalpn01.ACMETLS1Protocol}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}) //nolint:gosec // challenge certificates are self-signed; what is in it is looked at
	defer func() { _ = c.Close() }()
	if err := c.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%s answers, but it is not this router, or something before it ends TLS: %w", where, err)
	}
	leaf := c.ConnectionState().PeerCertificates[0]
	got := identifierOf(leaf)
	r.challenges.mu.RLock()
	running := r.challenges.certs[name] // the order's own challenge, which goes first
	r.challenges.mu.RUnlock()
	if got != nil && (bytes.Equal(got, identifierOf(own.Leaf)) || running != nil && bytes.Equal(got, identifierOf(running.Leaf))) {
		return nil
	}
	return fmt.Errorf("%s answers, but it is not this router: its certificate is %q", where, leaf.Subject.CommonName)
}
