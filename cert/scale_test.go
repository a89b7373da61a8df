package cert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"runtime"
	"sync"
	"testing"
	"time"
)

const most = 100_000

// many are certificates of hN.many.test, and one more that renews the first.
var many = sync.OnceValue(func() []*tls.Certificate {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	out := make([]*tls.Certificate, most+1)
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := w; i < len(out); i += 2 {
				name := fmt.Sprintf("h%d.many.test", i%most)
				tmpl := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}
				der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
				if err != nil {
					panic(err)
				}
				leaf, err := x509.ParseCertificate(der)
				if err != nil {
					panic(err)
				}
				out[i] = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k, Leaf: leaf}
			}
		})
	}
	wg.Wait()
	return out
})

// The cost of choosing a certificate does not grow with the certificates, and does not allocate.
func BenchmarkChoice(b *testing.B) {
	for _, n := range []int{1, 1000, most} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, err := NewManager(time.Now())
			if err != nil {
				b.Fatal(err)
			}
			m.SetManaged(many()[:n], time.Now())
			hello := &tls.ClientHelloInfo{ServerName: fmt.Sprintf("h%d.many.test", n-1)}
			b.ReportAllocs()
			for b.Loop() {
				if c, err := m.certificate(hello, true); err != nil || c != many()[n-1] {
					b.Fatal(c, err)
				}
			}
		})
	}
}

// A renewal replaces the set of issued certificates. The table of routes takes no part in it.
func BenchmarkRenewal(b *testing.B) {
	for _, n := range []int{1000, most} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			m, err := NewManager(time.Now())
			if err != nil {
				b.Fatal(err)
			}
			certs := append([]*tls.Certificate{}, many()[:n]...)
			before := heap()
			m.SetManaged(certs, time.Now())
			used := heap() - before
			b.ReportAllocs()
			for b.Loop() {
				m.SetManaged(certs, time.Now())
			}
			b.ReportMetric(used/float64(n), "B/certificate")
		})
	}
}

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return float64(s.HeapAlloc)
}
