package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// soak loads the router for minutes with everything that is unpleasant and
// fails if an answer was wrong or memory or descriptors grew.
type soakRun struct {
	dir, addr string
	router    *proc
	want      []byte // body of a small answer
	parts     []string

	ok, edge, aborts, slow, sockets atomic.Int64
	mu                              sync.Mutex
	wrong                           map[string]int
}

// soakPorts are the backends', restarted one after the other.
var soakPorts = [...]int{17010, 17011, 17012}

func soak(args []string) error {
	fs := flag.NewFlagSet("soak", flag.ExitOnError)
	binary := fs.String("binary", "bin/sluice", "the router")
	d := fs.Duration("for", 3*time.Minute, "how long")
	lane := fs.String("lane", "", "sluice.lane of the router, empty: auto")
	parts := fs.String("parts", "honest,abort,slow,websocket,restart", "kinds of load, to find which one does harm")
	_ = fs.Parse(args)
	dir, err := os.MkdirTemp("", "sluice-soak")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	defer stopAll()
	full := answerOf(1024)
	s := &soakRun{dir: dir, addr: "127.0.0.1:17020", parts: strings.Split(*parts, ","), wrong: map[string]int{}, want: full[len(full)-1024:]}
	if err := s.start(*binary, *lane); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), *d)
	defer cancel()
	go func() {
		select {
		case <-interrupted():
			cancel()
		case <-ctx.Done():
		}
	}()
	return s.run(ctx)
}

func (s *soakRun) backend(i int) (*proc, error) {
	return helper(filepath.Join(s.dir, "backend.log"), "backend", fmt.Sprint(soakPorts[i]), "1")
}

func (s *soakRun) start(binary, lane string) error {
	var servers strings.Builder
	for _, p := range soakPorts {
		fmt.Fprintf(&servers, "          - url: http://127.0.0.1:%d\n", p)
	}
	config := "http:\n  routers:\n    all:\n      rule: PathPrefix(`/`)\n      service: b\n      priority: 1\n    ws:\n      rule: Path(`/ws`)\n      service: ws\n" +
		"  services:\n    b:\n      loadBalancer:\n        servers:\n" + servers.String() +
		fmt.Sprintf("    ws:\n      loadBalancer:\n        servers:\n          - url: http://127.0.0.1:%d\n", wsPort)
	if err := replace(s.dir+"/dynamic.yml", config); err != nil {
		return err
	}
	if _, err := helper(filepath.Join(s.dir, "ws.log"), "wsecho", fmt.Sprintf("127.0.0.1:%d", wsPort)); err != nil {
		return err
	}
	var env []string
	if lane != "" {
		env = append(env, "SLUICE_LANE="+lane)
	}
	var err error
	s.router, err = start(s.dir+"/router.log", env, binary, "--log.level=ERROR", "--entrypoints.web.address="+s.addr,
		"--providers.file.filename="+s.dir+"/dynamic.yml", "--accesslog", "--accesslog.filepath="+s.dir+"/access.log", "--metrics.prometheus")
	return err
}

func (s *soakRun) fail(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong[what]++
}

// run drives the load until ctx ends and judges what is left behind.
func (s *soakRun) run(ctx context.Context) error {
	back := make([]*proc, len(soakPorts))
	for i := range back {
		var err error
		if back[i], err = s.backend(i); err != nil {
			return err
		}
	}
	if _, ok := waitFor(10*time.Second, 20*time.Millisecond, s.addr, "localhost", "/", ""); !ok {
		log, _ := os.ReadFile(s.dir + "/router.log")
		return fmt.Errorf("the router does not answer\n%s", log)
	}
	idle := s.router.descriptors()
	var wg sync.WaitGroup
	load := func(part string, n int, f func(context.Context)) {
		for range n {
			if slices.Contains(s.parts, part) {
				wg.Go(func() { f(ctx) })
			}
		}
	}
	load("honest", 16, s.honest)
	load("abort", 4, s.aborting)
	load("slow", 4, s.slowly)
	load("websocket", 4, s.webSockets)
	load("restart", 1, func(ctx context.Context) { // one backend after the other goes away for half a second
		for i := 0; sleep(ctx, 2*time.Second); i = (i + 1) % len(back) {
			back[i].stop()
			sleep(ctx, 500*time.Millisecond)
			if p, err := s.backend(i); err == nil {
				back[i] = p
			}
		}
	})
	var memory []float64
	began := time.Now()
	for sleep(ctx, 10*time.Second) {
		memory = append(memory, float64(s.router.pss())/(1<<20))
		fmt.Printf("%4.0fs ok %d, 502-504 %d, aborted %d, slow %d, websocket messages %d; memory %.1f MiB, descriptors %d, wrong %v\n", time.Since(began).Seconds(),
			s.ok.Load(), s.edge.Load(), s.aborts.Load(), s.slow.Load(), s.sockets.Load(), memory[len(memory)-1], s.router.descriptors(), s.wrongNow())
	}
	wg.Wait()
	return s.judge(idle, memory)
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (s *soakRun) wrongNow() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.wrong)
}

// judge waits for the connections to go and compares with the beginning.
func (s *soakRun) judge(idle int, memory []float64) error {
	// Idle upstream connections may stay: a few for each server.
	allowed := idle + 3*16 + 16
	left := 0
	for range 60 {
		if left = s.router.descriptors(); left <= allowed {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	var errs []error
	if left > allowed {
		errs = append(errs, fmt.Errorf("%d descriptors are open, %d were at the start", left, idle))
	}
	if n := len(memory); n >= 6 {
		early, late := slices.Max(memory[:n/3]), slices.Max(memory[n-n/3:])
		fmt.Printf("memory: at most %.1f MiB in the first third, %.1f MiB in the last\n", early, late)
		if late > early*1.25+8 {
			errs = append(errs, fmt.Errorf("memory grew from %.1f to %.1f MiB", early, late))
		}
	}
	if len(s.wrong) > 0 {
		errs = append(errs, fmt.Errorf("wrong answers: %v", s.wrongNow()))
	}
	select {
	case <-s.router.done:
		errs = append(errs, errors.New("the router ended"))
	default:
	}
	if log, _ := os.ReadFile(s.dir + "/router.log"); bytes.Contains(log, []byte("goroutine ")) {
		errs = append(errs, fmt.Errorf("the router panicked:\n%s", log))
	}
	fmt.Printf("descriptors: %d at the start, %d at the end; ok %d, 502-504 %d\n", idle, left, s.ok.Load(), s.edge.Load())
	return errors.Join(errs...)
}

// honest sends requests with and without bodies and checks every byte.
func (s *soakRun) honest(ctx context.Context) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	upload := bytes.Repeat([]byte("x"), 64<<10)
	for ctx.Err() == nil {
		path, method, want := "/", http.MethodGet, s.want
		var body io.Reader
		switch rand.IntN(4) {
		case 0:
			path, want = "/"+bigPath, nil
		case 1:
			method, body = http.MethodPost, bytes.NewReader(upload)
		case 2:
			method, body = http.MethodPost, io.MultiReader(bytes.NewReader(upload)) // unknown length: chunked
		}
		req, err := http.NewRequest(method, "http://"+s.addr+path, body)
		if err != nil {
			s.fail(err.Error())
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			s.fail(method + ": " + brief(err))
			continue
		}
		got, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch {
		case resp.StatusCode >= 502 && resp.StatusCode <= 504:
			s.edge.Add(1) // its server was taken away
		case resp.StatusCode != http.StatusOK:
			s.fail(fmt.Sprintf("%s: status %d", method, resp.StatusCode))
		case err != nil:
			// Only a server that died within the answer can cut it.
			s.edge.Add(1)
		case want != nil && !bytes.Equal(got, want), want == nil && len(got) != 100<<10:
			s.fail(fmt.Sprintf("%s %s: body of %d bytes differs", method, path, len(got)))
		default:
			s.ok.Add(1)
		}
	}
}

func brief(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + " " + op.Err.Error()
	}
	return err.Error()
}

// aborting closes connections in the middle of requests and answers.
func (s *soakRun) aborting(ctx context.Context) {
	head := "POST /" + bigPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
	for sleep(ctx, 2*time.Millisecond) {
		c, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err != nil {
			s.fail("dial: " + brief(err))
			continue
		}
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		if rand.IntN(2) == 0 {
			_, _ = io.WriteString(c, head[:1+rand.IntN(len(head)-1)])
		} else {
			_, _ = io.WriteString(c, "GET /"+bigPath+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
			_, _ = io.ReadFull(c, make([]byte, 1+rand.IntN(20000)))
		}
		if tcp, ok := c.(*net.TCPConn); ok && rand.IntN(2) == 0 {
			_ = tcp.SetLinger(0) // a reset instead of an orderly close
		}
		_ = c.Close()
		s.aborts.Add(1)
	}
}

// slowly sends heads byte by byte and reads big answers in small pieces.
func (s *soakRun) slowly(ctx context.Context) {
	req := "GET /" + bigPath + " HTTP/1.1\r\nHost: localhost\r\nX-Slow: yes\r\nConnection: close\r\n\r\n"
	for ctx.Err() == nil {
		c, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err != nil {
			s.fail("dial: " + brief(err))
			continue
		}
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		for i := range len(req) {
			if _, err := io.WriteString(c, req[i:i+1]); err != nil {
				s.fail("slow request: " + brief(err))
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
		br := bufio.NewReaderSize(c, 512)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			s.fail("slow answer: " + brief(err))
			_ = c.Close()
			continue
		}
		n, piece := 0, make([]byte, 512)
		for err == nil {
			var m int
			m, err = resp.Body.Read(piece)
			n += m
			time.Sleep(time.Millisecond)
		}
		switch {
		case resp.StatusCode >= 502 || (resp.StatusCode == 200 && errors.Is(err, io.ErrUnexpectedEOF)):
			s.edge.Add(1)
		case resp.StatusCode != 200 || n != 100<<10:
			s.fail(fmt.Sprintf("slow answer: status %d, %d bytes, %v", resp.StatusCode, n, err))
		default:
			s.slow.Add(1)
		}
		_ = c.Close()
	}
}

// webSockets echoes some messages on each of many connections.
func (s *soakRun) webSockets(ctx context.Context) {
	buf, back := make([]byte, 80), make([]byte, 80)
	for ctx.Err() == nil {
		c, br, err := wsDial(s.addr, "localhost")
		if err != nil {
			s.fail("websocket: " + brief(err))
			sleep(ctx, 50*time.Millisecond)
			continue
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		for range rand.IntN(50) {
			if err := echo(c, br, buf, back, 64); err != nil {
				s.fail("websocket message: " + brief(err))
				break
			}
			s.sockets.Add(1)
		}
		_ = c.Close()
	}
}
