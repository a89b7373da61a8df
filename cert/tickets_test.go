package cert

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// talk makes a connection through a listener of its own, as entry points and lanes have
// them, and reads a byte, so that tickets arrive. It reports whether a session was resumed.
func talk(t *testing.T, m *Manager, cache tls.ClientSessionCache, version uint16, host string) bool {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	_ = a.SetDeadline(time.Now().Add(10 * time.Second))
	srv := tls.Server(b, &tls.Config{GetConfigForClient: m.ConfigFor("websecure"), MinVersion: tls.VersionTLS12})
	go func() { _, _ = srv.Write([]byte("x")) }()
	c := tls.Client(a, &tls.Config{ServerName: host, InsecureSkipVerify: true, ClientSessionCache: alias{cache}, MaxVersion: version}) //nolint:gosec // the sessions are looked at
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().DidResume
}

// alias offers one host's session to every other, as a hostile client may.
type alias struct{ tls.ClientSessionCache }

func (a alias) Get(string) (*tls.ClientSessionState, bool)     { return a.ClientSessionCache.Get("") }
func (a alias) Put(_ string, s *tls.ClientSessionState)        { a.ClientSessionCache.Put("", s) }
func newCache() tls.ClientSessionCache                         { return tls.NewLRUClientSessionCache(1) }
func ticketConfig(o map[string]*config.TLSOptions) *config.TLS { return &config.TLS{Options: o} }

func TestTicketsAcrossListenersAndOptions(t *testing.T) {
	now := time.Now()
	options := func(low string) map[string]*config.TLSOptions {
		return map[string]*config.TLSOptions{"low@file": {MinVersion: low}, "none@file": {DisableSessionTickets: true}}
	}
	hosts := map[string]map[string]string{"websecure": {"low.test": "low@file", "none.test": "none@file"}}
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			m, err := NewManager(now)
			if err != nil {
				t.Fatal(err)
			}
			m.Update(ticketConfig(options("VersionTLS10")), hosts, now)
			cache := newCache()
			if talk(t, m, cache, version, "a.test") || !talk(t, m, cache, version, "a.test") {
				t.Fatal("a session is not resumed at another listener")
			}
			if !talk(t, m, cache, version, "b.test") {
				t.Error("a session is not resumed for another host of the same options")
			}
			if talk(t, m, cache, version, "low.test") {
				t.Error("a session that began under other options is resumed")
			}
			if !talk(t, m, cache, version, "low.test") {
				t.Error("a session under named options is not resumed")
			}
			m.Update(ticketConfig(options("VersionTLS10")), hosts, now)
			if !talk(t, m, cache, version, "low.test") {
				t.Error("a new configuration with equal options ended the sessions")
			}
			m.Update(ticketConfig(options("VersionTLS11")), hosts, now)
			if talk(t, m, cache, version, "low.test") {
				t.Error("a session is resumed though its options changed")
			}
			none := newCache()
			for range 2 {
				if talk(t, m, none, version, "none.test") {
					t.Error("a session is resumed without tickets")
				}
			}
		})
	}
}

func TestTicketKeysRotate(t *testing.T) {
	now := time.Now()
	m, err := NewManager(now)
	if err != nil {
		t.Fatal(err)
	}
	cache := newCache()
	talk(t, m, cache, 0, "a.test")
	kept, _ := cache.Get("")
	for i := range 7 {
		m.Rotate(now.Add(time.Duration(i+1) * TicketRotation))
	}
	if cache.Put("", kept); !talk(t, m, cache, 0, "a.test") {
		t.Error("a session is not resumed within its life")
	}
	m.Rotate(now.Add(TicketRotation + TicketLife))
	if cache.Put("", kept); talk(t, m, cache, 0, "a.test") {
		t.Error("a session is resumed after its key was thrown away")
	}
	if n := len(m.ownTickets); n > 9 {
		t.Errorf("%d secrets are kept", n)
	}
}

// Replicas with the same secrets and options resume each other's sessions, also where one
// of them is late with the next secret.
func TestTicketsOfReplicas(t *testing.T) {
	now := time.Now()
	secrets := []TicketSecret{NewTicketSecret(now.Add(-time.Hour)), NewTicketSecret(now.Add(time.Hour))}
	a, err1 := NewManager(now)
	b, err2 := NewManager(now)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	cache := newCache()
	talk(t, a, cache, 0, "a.test")
	if talk(t, b, cache, 0, "a.test") {
		t.Fatal("a session is resumed without shared secrets")
	}
	a.SetTickets(secrets, now)
	b.SetTickets(secrets, now)
	talk(t, a, cache, 0, "a.test")
	if !talk(t, b, cache, 0, "a.test") {
		t.Error("a session is not resumed by the other replica")
	}
	b.Rotate(now.Add(2 * time.Hour)) // its clock is ahead
	if talk(t, b, cache, 0, "a.test"); !talk(t, a, cache, 0, "a.test") {
		t.Error("a session under the next secret is not resumed")
	}
	a.SetTickets(nil, now)
	if talk(t, a, cache, 0, "a.test") {
		t.Error("the shared secrets are in use though they were taken away")
	}
}
