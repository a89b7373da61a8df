package limit

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// redisServer starts a real server on a port of its own; stop ends it and start brings it back.
func redisServer(t *testing.T) (addr string, stop, start func()) {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("there is no redis-server")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	dir := t.TempDir()
	var cmd *exec.Cmd
	start = func() {
		cmd = exec.Command(bin, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if c, err := net.Dial("tcp", addr); err == nil {
				c.Close()
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Fatal("redis-server does not listen")
	}
	stop = func() {
		if cmd != nil {
			_ = cmd.Process.Signal(os.Kill)
			_ = cmd.Wait()
			cmd = nil
		}
	}
	start()
	t.Cleanup(func() { stop() })
	return addr, stop, start
}

func TestSharedRateLimit(t *testing.T) {
	addr, stop, start := redisServer(t)
	var logged bytes.Buffer
	build := func(router string) exchange.Op {
		state := memory.New() // as if in another process
		t.Cleanup(func() { _ = state.Close() })
		d := config.Duration(300 * time.Millisecond)
		op, err := NewRateLimit(router, "m@docker", &config.RateLimit{Average: 1, Period: config.Duration(time.Minute), Burst: 3,
			Redis: &config.Redis{Endpoints: []string{addr}, DialTimeout: &d, ReadTimeout: &d, WriteTimeout: &d}}, state, nil, zerolog.New(&logged))
		if err != nil {
			t.Fatal(err)
		}
		return op
	}
	one := func(peer string) *exchange.Exchange {
		ex := request(peer)
		ex.MayBlock, ex.Ctx, ex.Now = true, context.Background(), time.Now().UnixNano()
		return ex
	}
	a, b := build("a"), build("b")
	ex := request("127.0.0.1")
	if v := a.Request(ex); v != exchange.Block {
		t.Fatalf("on a loop: verdict %d", v)
	}
	var got []int
	for i := range 6 {
		ex := one("127.0.0.1")
		[]exchange.Op{a, b}[i%2].Request(ex)
		got = append(got, ex.Resp.Status)
	}
	if count(got[:3], 0) != 3 || count(got[3:], 429) != 3 {
		t.Errorf("two routers do not share a limit: %v", got)
	}
	ex = one("127.0.0.1")
	if a.Request(ex); ex.Resp.Fields.Get("Retry-After") != "60" {
		t.Errorf("%v", ex.Resp.Fields.All())
	}
	if ex = one("127.0.0.2"); a.Request(ex) != exchange.Next {
		t.Error("peers are not apart")
	}

	// Redis stops: each router limits alone, and no request hangs.
	stop()
	began := time.Now()
	got = nil
	for range 10 {
		ex := one("127.0.0.9")
		a.Request(ex)
		got = append(got, ex.Resp.Status)
	}
	if d := time.Since(began); d > 2*time.Second || count(got, 0) != 3 || count(got, 429) != 7 {
		t.Errorf("without Redis: %v in %v", got, d)
	}
	if !strings.Contains(logged.String(), "limiting by this router alone") {
		t.Errorf("log: %s", logged.String())
	}

	start()
	time.Sleep(redisPause + 100*time.Millisecond)
	if ex = one("127.0.0.10"); a.Request(ex) != exchange.Next {
		t.Errorf("after Redis came back: %d", ex.Resp.Status)
	}
	if !strings.Contains(logged.String(), "answers again") {
		t.Errorf("log: %s", logged.String())
	}
	ex = one("127.0.0.10")
	b.Request(ex)
	b.Request(one("127.0.0.10"))
	ex = one("127.0.0.10")
	if a.Request(ex); ex.Resp.Status != 429 {
		t.Error("the limit is not shared again")
	}
}

func TestSharedRateIsKeptUnderConcurrency(t *testing.T) {
	addr, _, _ := redisServer(t)
	state := memory.New()
	t.Cleanup(func() { _ = state.Close() })
	op, err := NewRateLimit("r", "m", &config.RateLimit{Average: 1, Period: config.Duration(time.Hour), Burst: 50, Redis: &config.Redis{Endpoints: []string{addr}}}, state, nil, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	passed := 0
	for range 8 {
		wg.Go(func() {
			for range 50 {
				ex := request("127.0.0.1")
				ex.MayBlock, ex.Ctx = true, context.Background()
				if op.Request(ex) == exchange.Next {
					mu.Lock()
					passed++
					mu.Unlock()
				}
			}
		})
	}
	if wg.Wait(); passed != 50 {
		t.Errorf("%d passed", passed)
	}
}
