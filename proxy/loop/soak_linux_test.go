package loop

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// TestSoak runs honest clients beside rude ones (aborts, resets, half requests, slow readers)
// against servers that sometimes fail. What an honest client gets must be right, and nothing
// may be left behind. SLUICE_SOAK=5m makes it long.
func TestSoak(t *testing.T) {
	length := 1500 * time.Millisecond
	if s := os.Getenv("SLUICE_SOAK"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		length = d
	}
	var eps []*exchange.Endpoint
	for range 3 {
		eps = append(eps, backend(t, moody))
	}
	cert := testnet.Pair(t, "a.test")
	ed := start(t, &fixed{eps: eps}, func(_ *Options, c *EntryPoint) {
		c.ReadTimeout, c.IdleTimeout = 2*time.Second, time.Second
		c.TLS = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{cert}}, nil
		}
	})
	var wg sync.WaitGroup
	var good, odd atomic.Int64
	end := time.Now().Add(length)
	for i := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 99))
			scheme := "http"
			tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
			defer tr.CloseIdleConnections()
			if i%3 == 0 {
				scheme = "https"
			}
			client := &http.Client{Transport: tr, Timeout: 10 * time.Second}
			for time.Now().Before(end) {
				if i < 8 {
					if honest(t, client, scheme+"://"+ed.addr, rng) {
						good.Add(1)
					} else {
						odd.Add(1)
					}
				} else {
					rude(ed.addr, rng)
				}
			}
		})
	}
	wg.Wait()
	if good.Load() < 20 {
		t.Errorf("only %d good answers (%d failures of servers passed on)", good.Load(), odd.Load())
	}
	t.Logf("%d good answers, %d failures of servers passed on, turns %v", good.Load(), odd.Load(), ed.g.Stats().Turns)
	for range 400 {
		if ed.g.Stats().Open == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if n := ed.g.Stats().Open; n != 0 {
		t.Errorf("%d clients left", n)
	}
	for i, ep := range eps {
		if n := ep.InFlight.Load(); n != 0 {
			t.Errorf("server %d: %d in flight", i, n)
		}
	}
}

// moody is a server that echoes in several ways, and sometimes breaks off.
func moody(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if q.Get("fail") != "" {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			if q.Get("fail") == "half" {
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
			}
			c.Close()
		}
		return
	}
	if d, err := strconv.Atoi(q.Get("wait")); err == nil {
		time.Sleep(time.Duration(d) * time.Millisecond)
	}
	w.Header().Set("X-Id", q.Get("id"))
	if q.Get("stream") != "" {
		for len(b) > 0 {
			n := min(len(b), 30_000)
			_, _ = w.Write(b[:n])
			_ = http.NewResponseController(w).Flush()
			b = b[n:]
		}
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b)
}

func honest(t *testing.T, client *http.Client, base string, rng *rand.Rand) bool {
	id := rng.IntN(1 << 20)
	body := pattern(id, bodySize(rng))
	url := fmt.Sprintf("%s/?id=%d", base, id)
	fails := false
	switch rng.IntN(12) {
	case 0:
		url, fails = url+"&fail=all", true
	case 1:
		url, fails = url+"&fail=half", true
	case 2:
		url += "&wait=" + strconv.Itoa(rng.IntN(30))
	case 3, 4, 5:
		url += "&stream=1"
	}
	var rd io.Reader = bytes.NewReader(body)
	if rng.IntN(3) == 0 {
		rd = io.MultiReader(rd) // chunked
	}
	resp, err := client.Post(url, "x/y", rd)
	if err != nil {
		if !fails && !errors.Is(err, io.EOF) { // a keep-alive connection may end while the request is sent
			t.Logf("honest client: %v", err)
		}
		return false
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case fails:
		if err == nil && resp.StatusCode != 502 {
			t.Errorf("a broken answer looks whole: %d, %d bytes", resp.StatusCode, len(got))
		}
		return false
	case resp.StatusCode != 200 || err != nil:
		t.Errorf("status %d, %v", resp.StatusCode, err)
		return false
	case resp.Header.Get("X-Id") != strconv.Itoa(id) || !bytes.Equal(got, body):
		t.Errorf("the answer to %d is not its own: %s, %d bytes of %d", id, resp.Header.Get("X-Id"), len(got), len(body))
	}
	return true
}

func rude(addr string, rng *rand.Rand) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	body := pattern(1, rng.IntN(200_000))
	req := append(fmt.Appendf(nil, "POST /?id=1&wait=%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", rng.IntN(10), len(body)), body...)
	switch rng.IntN(7) {
	case 0: // half a request
		req = req[:rng.IntN(len(req))]
	case 1: // many at once, and gone
		req = []byte(strings.Repeat("GET /?id=1 HTTP/1.1\r\nHost: a\r\n\r\n", 50))
	case 2: // noise
		for i := range req[:min(len(req), 100)] {
			req[i] = byte(rng.Uint32())
		}
	case 3: // TLS noise
		req = append([]byte{0x16, 3, 1, 1, 0}, req[:min(len(req), 255)]...)
	case 4: // bad chunks
		req = []byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n")
	}
	if _, err := c.Write(req); err != nil {
		return
	}
	if rng.IntN(2) == 0 { // reads a little, slowly
		br := bufio.NewReaderSize(c, 512)
		for range rng.IntN(4) {
			if _, err := br.ReadByte(); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	if rng.IntN(2) == 0 {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
}
