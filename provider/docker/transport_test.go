package docker

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testdocker"
	"github.com/sluice-edge/sluice/provider"
)

// keyPair makes a certificate for 127.0.0.1 that is its own authority.
func keyPair(t *testing.T) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "engine"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder})
}

func TestTLS(t *testing.T) {
	cert, key := keyPair(t)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	srv := httptest.NewUnstartedServer(newReplay(t, 1))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	addr := srv.Listener.Addr().String()

	dir := t.TempDir()
	for name, data := range map[string][]byte{"ca.pem": cert, "cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		name, scheme string
		tls          *config.ClientTLS
	}{
		{"files", "tcp", &config.ClientTLS{CA: file("ca.pem"), Cert: file("cert.pem"), Key: file("key.pem")}},
		{"contents", "https", &config.ClientTLS{CA: string(cert), Cert: string(cert), Key: string(key)}},
		{"unverified", "tcp", &config.ClientTLS{InsecureSkipVerify: true, Cert: string(cert), Key: string(key)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			next(t, follow(t, c.scheme+"://"+addr, func(d *config.DockerProvider, _ *Options) { d.TLS = c.tls }), "the container", has(1))
		})
	}
	t.Run("environment", func(t *testing.T) {
		t.Setenv("DOCKER_CERT_PATH", dir)
		t.Setenv("DOCKER_TLS_VERIFY", "1")
		next(t, follow(t, "tcp://"+addr, nil), "the container", has(1))
	})
	t.Run("plain", func(t *testing.T) {
		u := next(t, follow(t, "tcp://"+addr, nil), "a refusal", trouble)
		if !strings.Contains(u.Problems[0].Suggestion, "TLS") {
			t.Errorf("%+v", u.Problems[0])
		}
	})
	t.Run("half", func(t *testing.T) {
		for _, c := range []*config.ClientTLS{{Cert: "x"}, {CA: "/none"}, {CA: "-----BEGIN"}, {Cert: string(cert), Key: "-----BEGIN"}} {
			cfg := &config.DockerProvider{}
			cfg.SetDefaults()
			cfg.Endpoint, cfg.TLS = "tcp://"+addr, c
			if err := New(cfg, Options{}).Run(t.Context(), nil); err == nil {
				t.Errorf("%+v: no error", c)
			}
		}
	})
}

// TestSSH puts a program named ssh before the real one, which connects to the replay.
func TestSSH(t *testing.T) {
	if to := os.Getenv("SSH_TEST_TO"); to != "" {
		bridge(to)
		return
	}
	srv := serve(t, newReplay(t, 1))
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" > %s/args\nexec %s -test.run='^TestSSH$'\n", dir, os.Args[0])
	if err := os.WriteFile(dir+"/ssh", []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("SSH_TEST_TO", srv.Listener.Addr().String())
	out := follow(t, "ssh://me@far.test:2222", nil)
	next(t, out, "the container", has(1))
	args, err := os.ReadFile(dir + "/args")
	if err != nil || !strings.Contains(string(args), "-l me -p 2222") || !strings.Contains(string(args), "far.test") {
		t.Errorf("ssh %s, %v", args, err)
	}
}

// bridge connects standard input and output to an address, as "docker system dial-stdio" does.
func bridge(to string) {
	c, err := net.Dial("tcp", to)
	if err != nil {
		os.Exit(1)
	}
	go func() {
		_, _ = io.Copy(c, os.Stdin)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(os.Stdout, c)
	os.Exit(0)
}

// TestEngineRestart stops a real engine and starts it again.
func TestEngineRestart(t *testing.T) {
	own := testdocker.StartOwn(t)
	e, err := testdocker.New(own.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	v := watch(t, e, func(_ *config.DockerProvider, o *Options) { o.Log = zerolog.Nop() })
	a := e.Start(t, testdocker.Spec{Name: "a"})
	want := "Host(`a`) -> http://" + a.IP("bridge") + ":80"
	v.await(e.Run, want)
	own.Stop()
	for v.last.Config != nil {
		v.last = <-v.out
	}
	if codes(v.last.Problems) != config.CodeUnreachable {
		t.Errorf("problems: %v", v.last.Problems)
	}
	restarted := make(chan struct{})
	go func() { defer close(restarted); own.Start() }()
	for back := false; !back; {
		v.last = <-v.out
		back = v.last.Config != nil
	}
	<-restarted
	if got := show(v.last, e.Run); got != want {
		t.Errorf("after the restart: %s, want %s", got, want)
	}
	b := e.Start(t, testdocker.Spec{Name: "b"})
	v.good = v.last
	v.await(e.Run, want+"\nHost(`b`) -> http://"+b.IP("bridge")+":80")
}

// TestChurn starts and removes containers for a while: nothing may pile up.
func TestChurn(t *testing.T) {
	r := newReplay(t, 20)
	srv := serve(t, r)
	cfg := &config.DockerProvider{}
	cfg.SetDefaults()
	cfg.Endpoint = srv.URL
	p := New(cfg, Options{Log: zerolog.Nop(), Compat404: true}) // which does not keep what was removed
	out := make(chan provider.Update)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, out) }()
	next(t, out, "all", has(20))
	tpl := template(t)
	heap := func() (uint64, int) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine()
	}
	var before uint64
	var goroutines int
	const rounds = 2000
	for i := range rounds {
		id := r.add(tpl, 100+i)
		r.emit(id, "start", map[string]string{"name": fmt.Sprint("app-", 100+i)})
		next(t, out, "the new one", has(21))
		r.emit(id, "kill", map[string]string{"signal": "15"})
		r.emit(id, "die", nil)
		r.emit(id, "destroy", nil)
		r.set(func() { delete(r.inspect, id); r.list = r.list[:20]; clear(r.asked) })
		next(t, out, "one less", has(20))
		if i == rounds/4 {
			before, goroutines = heap()
		}
	}
	after, now := heap()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Logf("heap %d KiB after %d rounds, %d KiB after %d; %d and %d goroutines", before>>10, rounds/4, after>>10, rounds, goroutines, now)
	if after > before+before/4+(1<<20) || now > goroutines+5 {
		t.Error("something piles up")
	}
	if len(p.items) != 20 {
		t.Errorf("%d containers known, want 20", len(p.items))
	}
}
