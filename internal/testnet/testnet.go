// Package testnet helps tests that speak to real sockets: free ports, waiting
// for a condition, single requests, and a steady load that counts what fails.
package testnet

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// FreeAddr returns a loopback address with a TCP port that is free now. It is below the
// range from which the kernel takes the ports of outgoing connections, so that none of
// them takes it meanwhile.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 200 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10240+rand.IntN(20000)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		_ = l.Close()
		return addr
	}
	t.Fatal("no free port")
	return ""
}

// Port is the port of a host:port.
func Port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

// Eventually calls check until it returns nil, and fails the test with its last
// error after limit.
func Eventually(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", limit, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Answer is what came back for one request.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Client sends single requests to one address whatever the host of the URL is.
// The zero value is not usable; call NewClient. It is safe for concurrent use.
type Client struct {
	http *http.Client
	// Host is the default Host field.
	Host string
	// Scheme is http or https.
	Scheme string
}

// NewClient returns a client for addr. It does not follow redirections and
// accepts any certificate.
func NewClient(addr string) *Client {
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	return &Client{
		Scheme: "http",
		http: &http.Client{
			Timeout: 5 * time.Second,
			Transport: &http.Transport{
				DialContext:         dial,
				MaxIdleConnsPerHost: 64,
				TLSClientConfig:     &tls.Config{InsecureSkipVerify: true}, // the certificates of tests are self-signed
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// TLS returns a client for the same purpose that speaks TLS to addr.
func TLS(addr string) *Client {
	c := NewClient(addr)
	c.Scheme = "https"
	return c
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends a request with the given method, host, path and edits.
func (c *Client) Do(method, host, path string, edit ...func(*http.Request)) (Answer, error) {
	return c.do(5*time.Second, method, host, path, edit...)
}

func (c *Client) do(limit time.Duration, method, host, path string, edit ...func(*http.Request)) (Answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.Scheme+"://"+host+path, nil)
	if err != nil {
		return Answer{}, err
	}
	for _, e := range edit {
		e(req)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}, err
}

// Get is Do with GET.
func (c *Client) Get(host, path string) (Answer, error) { return c.Do(http.MethodGet, host, path) }

// Refused reports whether an error says that nobody listens.
func Refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && strings.Contains(op.Error(), "refused")
}

// Accept gives every connection that comes to a port of its own to serve, which need not close
// it, for at most limit each. It returns the port's address; both end with the test.
func Accept(t testing.TB, limit time.Duration, serve func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	AcceptOn(t, l, limit, serve)
	return l.Addr().String()
}

// AcceptOn is Accept for a listener that is there. It closes l.
func AcceptOn(t testing.TB, l net.Listener, limit time.Duration, serve func(c net.Conn)) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(limit))
				serve(c)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
}
