package server

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
)

const tcpLogStatic = `
entryPoints:
  open: {address: "127.0.0.1:0"}
  names: {address: "127.0.0.1:0"}
  refused: {address: "127.0.0.1:0"}
  dead: {address: "127.0.0.1:0"}
providers: {file: {filename: DYNAMIC}}
accessLog: {format: json ON}
sluice: {lane: LANE}
`

const tcpLogDynamic = `
tcp:
  routers:
    open: {rule: "HostSNI(` + "`*`" + `)", entryPoints: [open], service: echo}
    refused: {rule: "HostSNI(` + "`*`" + `)", entryPoints: [refused], service: echo, middlewares: [far]}
    dead: {rule: "HostSNI(` + "`*`" + `)", entryPoints: [dead], service: dead}
    passed: {rule: "HostSNI(` + "`passed.test`" + `)", entryPoints: [names], service: tls, tls: {passthrough: true}}
    ended: {rule: "HostSNI(` + "`ended.test`" + `)", entryPoints: [names], service: echo, tls: {}}
  middlewares:
    far: {ipAllowList: {sourceRange: [192.0.2.0/24]}}
  services:
    echo: {loadBalancer: {servers: [{address: "ECHO"}]}}
    tls: {loadBalancer: {servers: [{address: "SECURE"}]}}
    dead: {loadBalancer: {servers: [{address: "DEAD"}]}}
`

// echoes answers each connection to l with what it sent, twice, and closes.
func echoes(t *testing.T, l net.Listener) string {
	testnet.AcceptOn(t, l, 20*time.Second, func(c net.Conn) {
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err == nil {
			_, _ = c.Write(append(b, b...))
		}
	})
	return l.Addr().String()
}

// tcpLog starts a router whose TCP routes lead to echoes, to echoes in TLS and to nothing.
func tcpLog(t *testing.T, lane, on string) (e *edge, echo, secure, dead string) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead = gone.Addr().String()
	_ = gone.Close()
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	pair := certified.TLS.Certificates
	certified.Close()
	echo, secure = echoes(t, plain), echoes(t, tls.NewListener(sealed, &tls.Config{Certificates: pair}))
	dynamic := strings.NewReplacer("ECHO", echo, "SECURE", secure, "DEAD", dead).Replace(tcpLogDynamic)
	return start(t, lane, strings.ReplaceAll(tcpLogStatic, "ON", on), dynamic), echo, secure, dead
}

// hello sends five bytes and returns what comes back, in TLS where a name is given.
func (e *edge) hello(entryPoint, name string) string {
	c, err := net.Dial("tcp", e.address(entryPoint))
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if name != "" {
		c = tls.Client(c, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	}
	_, _ = io.WriteString(c, "hello")
	b, _ := io.ReadAll(c)
	return string(b)
}

// connectionOf waits for the line of a router.
func (e *edge) connectionOf(router string) map[string]any {
	e.t.Helper()
	var found map[string]any
	e.eventually("a line of "+router, func() bool {
		for l := range strings.Lines(e.log.String()) {
			var m map[string]any
			if strings.HasSuffix(l, "\n") && json.Unmarshal([]byte(l), &m) == nil && m["RouterName"] == router && m["protocol"] == "tcp" {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// TestTCPAccessLog sends connections of each kind through real sockets on both lanes.
func TestTCPAccessLog(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		e, echo, secure, dead := tcpLog(t, lane, ", sluice: {tcp: true}")
		for _, c := range []struct {
			router, entryPoint, name, answer string
			want                             map[string]any
		}{
			{"open", "open", "", "hellohello", map[string]any{"ServiceName": "echo@file", "ServiceAddr": echo, "BytesFromClient": 5.0, "BytesToClient": 10.0, "Reason": nil, "ServerName": nil, "TLSVersion": nil}},
			{"passed", "names", "passed.test", "hellohello", map[string]any{"ServiceName": "tls@file", "ServiceAddr": secure, "ServerName": "passed.test", "Reason": nil, "TLSVersion": nil}},
			{"ended", "names", "ended.test", "hellohello", map[string]any{"ServiceAddr": echo, "ServerName": "ended.test", "BytesFromClient": 5.0, "BytesToClient": 10.0, "TLSVersion": "1.3", "Reason": nil}},
			{"refused", "refused", "", "", map[string]any{"Reason": "ip_denied", "ServiceAddr": nil, "BytesToClient": 0.0}},
			{"dead", "dead", "", "", map[string]any{"Reason": "dial_refused", "ServiceAddr": dead, "BytesFromClient": 0.0}},
		} {
			if got := e.hello(c.entryPoint, c.name); got != c.answer {
				t.Errorf("%s: answered %q", c.router, got)
			}
			line := e.connectionOf(c.router + "@file")
			c.want["entryPointName"], c.want["ClientHost"] = c.entryPoint, "127.0.0.1"
			for key, want := range c.want {
				if line[key] != want {
					t.Errorf("%s: %s is %v, want %v in %v", c.router, key, line[key], want, line)
				}
			}
			if n, ok := line["Duration"].(float64); !ok || n <= 0 {
				t.Errorf("%s: took %v", c.router, line["Duration"])
			}
			if c.router == "passed" { // handshakes are passed on too
				if n, _ := line["BytesToClient"].(float64); n < 500 {
					t.Errorf("passed: %v bytes to the client", n)
				}
			}
		}
		if n := strings.Count(e.log.String(), `"protocol":"tcp"`); n != 5 {
			t.Errorf("%d lines of 5 connections", n)
		}
	})
}

// TestTCPAccessLogIsOffByDefault lets a request's line come after a connection's end: that
// connection has none.
func TestTCPAccessLogIsOffByDefault(t *testing.T) {
	e, _, _, _ := tcpLog(t, "auto", "")
	if got := e.hello("open", ""); got != "hellohello" {
		t.Errorf("answered %q", got)
	}
	c, err := net.Dial("tcp", e.address("names"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	fmt.Fprint(c, "GET /after HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
	_, _ = io.Copy(io.Discard, c)
	e.eventually("the request's line", func() bool { return strings.Contains(e.log.String(), "/after") })
	if text := e.log.String(); strings.Contains(text, "open@file") {
		t.Errorf("a line of a connection:\n%s", text)
	}
}

// TestTCPDefaultTransport: services that name no transport, and those that name the static one, are
// reached as tcpServersTransport says, and a change of it is live.
func TestTCPDefaultTransport(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		sealed, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		certified := httptest.NewUnstartedServer(nil)
		certified.StartTLS()
		pair := certified.TLS.Certificates
		certified.Close()
		secure := echoes(t, tls.NewListener(sealed, &tls.Config{Certificates: pair}))
		static := `
entryPoints:
  open: {address: "127.0.0.1:0"}
  named: {address: "127.0.0.1:0"}
providers: {file: {filename: DYNAMIC}}
sluice: {lane: LANE}
`
		e := start(t, lane, static, strings.ReplaceAll(`
tcp:
  routers:
    open: {rule: "HostSNI(`+"`*`"+`)", entryPoints: [open], service: open}
    named: {rule: "HostSNI(`+"`*`"+`)", entryPoints: [named], service: named}
  services:
    open: {loadBalancer: {servers: [{address: "SECURE", tls: true}]}}
    named: {loadBalancer: {serversTransport: default@internal, servers: [{address: "SECURE", tls: true}]}}
`, "SECURE", secure))
		if got := e.hello("open", ""); got != "" {
			t.Fatalf("a certificate of nobody is taken: %q", got)
		}
		write(t, e.static, static+"tcpServersTransport: {tls: {insecureSkipVerify: true}}\n")
		e.eventually("the transport is live", func() bool { return e.hello("open", "") == "hellohello" })
		if got := e.hello("named", ""); got != "hellohello" {
			t.Errorf("by its name: %q", got)
		}
	})
}
