package lanes

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// guarded has an open router of a.test, one that nobody may use, and public ones that rewrite.
const guarded = `http:
  routers:
    probe: {rule: "Host(` + "`probe.test`" + `)", service: s}
    open: {rule: "Host(` + "`a.test`" + `)", service: s}
    admin: {rule: "Host(` + "`a.test`" + `) && PathPrefix(` + "`/admin`" + `)", service: s, middlewares: [nobody]}
    strip: {rule: "Host(` + "`a.test`" + `) && PathPrefix(` + "`/pub`" + `)", service: s, middlewares: [strip]}
    stripregex: {rule: "Host(` + "`a.test`" + `) && PathPrefix(` + "`/api`" + `)", service: s, middlewares: [stripregex]}
    replace: {rule: "Host(` + "`a.test`" + `) && PathPrefix(` + "`/old`" + `)", service: s, middlewares: [replace]}
    mtls: {rule: "Host(` + "`m.test`" + `) || Host(` + "`*.w.test`" + `)", service: s, tls: {options: certs}}
    broken: {rule: "Host(` + "`b.test`" + `)", service: s, tls: {options: broken}}
    clear: {rule: "Host(` + "`o.test`" + `)", service: s, tls: {}}
  middlewares:
    nobody: {ipAllowList: {sourceRange: ["192.0.2.1"]}}
    strip: {stripPrefix: {prefixes: ["/pub"]}}
    stripregex: {stripPrefixRegex: {regex: ["/api"]}}
    replace: {replacePathRegex: {regex: "^/old(.*)", replacement: "/$1"}}
  services:
    s: {loadBalancer: {servers: [{url: "%s"}]}}
tls:
  options:
    certs: {clientAuth: {caFiles: ["%s"], clientAuthType: RequireAndVerifyClientCert}}
    broken: {clientAuth: {caFiles: ["/nowhere/ca.pem"], clientAuthType: RequireAndVerifyClientCert}}
`

// TestAdvisories sends what published advisories of other proxies say was enough to get past
// a guard. The server must not see it, or not as the attacker means it.
func TestAdvisories(t *testing.T) {
	seen := make(chan *http.Request, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "probe.test" {
			seen <- r
		}
		_, _ = io.WriteString(w, "ok")
	}))
	defer s.Close()
	config := fmt.Sprintf(guarded, s.URL, authority(t))
	for _, lane := range names {
		e := startEdge(t, lane, config)
		for name, head := range map[string]string{
			"CVE-2025-32431 dot segments":                     "GET /x/../admin HTTP/1.1\r\n",
			"CVE-2025-47952 encoded dot segments":             "GET /x/%2e%2E/admin HTTP/1.1\r\n",
			"CVE-2026-48020 out of a stripped prefix":         "GET /pub/../admin HTTP/1.1\r\n",
			"CVE-2026-48020 out of a stripped prefix, glued":  "GET /pub../admin HTTP/1.1\r\n",
			"CVE-2026-48020 out of a stripped prefix, hidden": "GET /pub%2e%2e/admin HTTP/1.1\r\n",
			"a dot behind a stripped prefix":                  "GET /api%2e/admin HTTP/1.1\r\n",
			"CVE-2026-65600 out of a replaced path":           "GET /old../admin HTTP/1.1\r\n",
			"CVE-2026-65600 out of a replaced path, hidden":   "GET /old%2e%2e/admin HTTP/1.1\r\n",
			"CVE-2021-32779 and CVE-2023-47106 a fragment":    "GET /#/../admin HTTP/1.1\r\n",
			"CVE-2026-27587 an encoded letter":                "GET /%61dmin HTTP/1.1\r\n",
			"CVE-2019-9901 empty segments":                    "GET //./admin HTTP/1.1\r\n",
			"an absolute target":                              "GET http://A.Test.:80/admin HTTP/1.1\r\n",
		} {
			t.Run(lane+" "+name, func(t *testing.T) {
				status := converse(t, e.dial(t, "web"), head+"Host: a.test\r\nConnection: close\r\n\r\n")
				if status != 400 && status != 403 {
					t.Errorf("status %d", status)
				}
				select {
				case r := <-seen:
					t.Errorf("the server got %s", r.RequestURI)
				default:
				}
			})
		}
		t.Run(lane+" CVE-2024-45410 and CVE-2026-39858 what proxies say", func(t *testing.T) {
			status := converse(t, e.dial(t, "web"), "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Forwarded-For, X-Real-Ip, X-Forwarded-Proto, X-Forwarded-Host\r\n"+
				"X-Forwarded-For: 10.0.0.1\r\nX_Forwarded_For: 10.0.0.1\r\nx-forwarded_proto: https\r\nX_Real_Ip: 10.0.0.1\r\nX_Forwarded_Prefix: /x\r\n\r\n")
			if status != 200 {
				t.Fatalf("status %d", status)
			}
			h := (<-seen).Header
			if h.Get("X-Forwarded-For") != "127.0.0.1" || h.Get("X-Real-Ip") != "127.0.0.1" || h.Get("X-Forwarded-Proto") != "http" || h.Get("X-Forwarded-Host") != "a.test" {
				t.Errorf("%v", h)
			}
			for k := range h {
				if strings.Contains(k, "_") {
					t.Errorf("%s gets through", k)
				}
			}
		})
		t.Run(lane+" client certificates", func(t *testing.T) { certificates(t, e, seen) })
		e.stop()
	}
}

// certificates tries to reach hosts that demand a client certificate without one.
func certificates(t *testing.T, e *edge, seen chan *http.Request) {
	for name, c := range map[string]struct {
		sni, host string
		pieces    int
		want      int // 0: no handshake
	}{
		"plain":                                    {"m.test", "m.test", 0, 0},
		"another host":                             {"o.test", "o.test", 0, 200},
		"domain fronting":                          {"o.test", "m.test", 0, 421},
		"CVE-2022-23632 trailing dot":              {"o.test", "m.test.", 0, 421},
		"case and port":                            {"o.test", "M.TEST:443", 0, 421},
		"GHSA-5r4w-85f3-pw66 wildcard":             {"o.test", "x.w.test", 0, 421},
		"no server name":                           {"", "m.test", 0, 421},
		"CVE-2026-32305 a ClientHello in pieces":   {"m.test", "m.test", 9, 0},
		"pieces where no certificate is wanted":    {"o.test", "o.test", 9, 200},
		"CVE-2022-46153 options that are not read": {"b.test", "b.test", 0, 0},
		"the same by another name":                 {"o.test", "b.test", 0, 421},
	} {
		t.Run(name, func(t *testing.T) {
			raw := e.dial(t, "secure")
			if c.pieces > 0 {
				raw = &inPieces{Conn: raw, size: c.pieces}
			}
			conn := tls.Client(raw, &tls.Config{ServerName: c.sni, InsecureSkipVerify: true}) //nolint:gosec // a test
			status := 0
			if conn.Handshake() == nil {
				status = converse(t, conn, "GET / HTTP/1.1\r\nHost: "+c.host+"\r\nConnection: close\r\n\r\n")
			}
			if status != c.want {
				t.Errorf("status %d, want %d", status, c.want)
			}
			if c.want == 200 {
				<-seen
			}
			select {
			case r := <-seen:
				t.Errorf("the server got a request for %s", r.Host)
			default:
			}
		})
	}
}

// converse sends text and returns the status of the answer, 0 for none.
func converse(t *testing.T, c net.Conn, text string) int {
	t.Helper()
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, text)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	_ = r.Body.Close()
	return r.StatusCode
}

// inPieces sends the first TLS record in records of size bytes.
type inPieces struct {
	net.Conn
	size int
	done bool
}

func (p *inPieces) Write(b []byte) (int, error) {
	if p.done || len(b) < 5 {
		return p.Conn.Write(b)
	}
	p.done = true
	n := 5 + int(binary.BigEndian.Uint16(b[3:5]))
	for at := 5; at < n; at += p.size {
		part := b[at:min(at+p.size, n)]
		record := append([]byte{b[0], b[1], b[2], byte(len(part) >> 8), byte(len(part))}, part...)
		if _, err := p.Conn.Write(record); err != nil {
			return 0, err
		}
	}
	if _, err := p.Conn.Write(b[n:]); err != nil {
		return 0, err
	}
	return len(b), nil
}

// authority writes the certificate of an authority and returns its file.
func authority(t *testing.T) string {
	t.Helper()
	cert, _ := testnet.Certificate(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), "authority")
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
