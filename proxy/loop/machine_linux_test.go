package loop

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/loop/epoll"
	"github.com/sluice-edge/sluice/proxy/wire"
)

// The machine test drives one loop over the fake kernel: clients with random requests,
// servers with random answers, bytes in random pieces, events in random order, and in some
// runs resets, lost servers and failed dials. Without faults every request must get exactly
// its answer; with faults a client may get less, but never something else.

type world struct {
	t       *testing.T
	k       *fake
	l       *loop
	e       *Entry
	now     int64
	faults  bool
	eps     []*exchange.Endpoint
	turn    int
	dones   atomic.Int64
	begun   int64
	clients []*farClient
	servers []*farServer
}

func (w *world) Match(ex *exchange.Exchange) (*exchange.Route, exchange.Reason) {
	if strings.HasPrefix(ex.Req.Path, "/none") {
		return nil, exchange.NoRouter
	}
	r := &exchange.Route{Router: "r", Service: "s", To: w, Ops: []exchange.Op{w}}
	if strings.HasPrefix(ex.Req.Path, handPath) {
		r.Tail = http.NotFoundHandler() // it is not asked: world.hand answers
	}
	return r, ""
}

// Request is an op that counts, and answers some requests itself.
func (w *world) Request(ex *exchange.Exchange) exchange.Verdict {
	w.begun++
	ex.OnDone(w, 0)
	if strings.HasPrefix(ex.Req.Path, "/own") {
		return ex.Reply(403, exchange.IPDenied, "no")
	}
	return exchange.Next
}

func (w *world) Done(*exchange.Exchange, uint64) { w.dones.Add(1) }

func (w *world) Pick(ex *exchange.Exchange) (*exchange.Endpoint, exchange.Reason) {
	for range w.eps {
		w.turn++
		if ep := w.eps[w.turn%len(w.eps)]; !ex.WasTried(ep) {
			ep.InFlight.Add(1)
			ex.Backend = exchange.Backend{Endpoint: ep, Owner: w}
			return ep, ""
		}
	}
	return nil, exchange.NoServerUp
}

func (w *world) Release(_ *exchange.Exchange, ep *exchange.Endpoint, _ exchange.Outcome) {
	ep.InFlight.Add(-1)
}

func newWorld(t *testing.T, seed uint64, faults bool) *world {
	w := &world{t: t, k: newFake(seed), faults: faults, now: int64(1e18)}
	g := &Group{}
	g.responseLimits.MaxHead = wire.DefaultMaxHead
	w.l = newLoop(g, 0, w.k)
	g.loops = []*loop{w.l}
	w.l.tell(w.now)
	w.l.wheel.start(w.now)
	var err error
	w.e, err = g.newEntry(EntryPoint{
		Name: "web", Forwarding: &wire.Forwarding{Hostname: "edge"}, ReadTimeout: 60 * time.Second, IdleTimeout: 180 * time.Second,
		HandOver: func(*Handover) { panic("nothing is to be handed over") }, FinishHalfClosed: w.k.rng.IntN(2) == 0,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.e.SetMatcher(w)
	for i := range 3 {
		w.eps = append(w.eps, &exchange.Endpoint{ID: uint32(i), Scheme: "http", Network: "tcp", Addr: fmt.Sprintf("192.0.2.%d:80", i+1),
			Transport: &exchange.Transport{DialTimeout: 5 * time.Second, ResponseHeaderTimeout: 50 * time.Second, MaxIdlePerHost: 4}})
	}
	w.k.connect = w.connect
	return w
}

func (w *world) connect(epoll.Target) (*sock, bool, syscall.Errno) {
	rng := w.k.rng
	if w.faults && rng.IntN(12) == 0 {
		return nil, false, syscall.ECONNREFUSED
	}
	s := w.k.socket()
	srv := &farServer{w: w, s: s, hasty: rng.IntN(8) == 0}
	w.servers = append(w.servers, srv)
	if rng.IntN(2) == 0 {
		s.dialing = true
		if w.faults && rng.IntN(12) == 0 {
			s.pending = syscall.ECONNREFUSED
		}
		return s, true, 0
	}
	return s, false, 0
}

// pattern is a body that tells whose it is.
func pattern(id, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(id*7 + i*31 + i>>8)
	}
	return b
}

func bodySize(rng *rand.Rand) int {
	switch rng.IntN(6) {
	case 0:
		return 0
	case 1:
		return rng.IntN(150_000)
	case 2:
		return 60_000 + rng.IntN(10_000)
	}
	return rng.IntN(600)
}

// chunked encodes b in random chunks, sometimes with extensions; the trailer is added as it is.
func chunked(rng *rand.Rand, b []byte, trailer string) []byte {
	var out []byte
	for len(b) > 0 {
		n := 1 + rng.IntN(len(b))
		if rng.IntN(5) == 0 {
			n = min(len(b), 5)
		}
		out = strconv.AppendInt(out, int64(n), 16)
		if rng.IntN(8) == 0 {
			out = append(out, ";x=y"...)
		}
		out = append(append(append(out, "\r\n"...), b[:n]...), "\r\n"...)
		b = b[n:]
	}
	return append(out, "0\r\n"+trailer+"\r\n"...)
}

type ask struct {
	id     int
	method string
	path   string
	proto  string
	body   []byte
	wire   []byte
	last   bool
	// upgrade asks for a tunnel to an echo.
	upgrade bool
}

type farClient struct {
	talk   []byte // after the answers: what is said through a tunnel
	said   int
	heard  []byte
	w      *world
	s      *sock
	asks   []*ask
	sent   int // asks that were put onto the wire
	got    int // answers that were read
	buf    []byte
	pipe   bool
	shut   bool
	over   bool
	whyEnd string
}

func (w *world) newClient(id int) *farClient {
	rng := w.k.rng
	c := &farClient{w: w, s: w.k.socket(), pipe: rng.IntN(3) == 0}
	n := 1 + rng.IntN(5)
	for i := range n {
		a := &ask{id: id*100 + i, proto: "HTTP/1.1", last: i == n-1}
		a.method = []string{"GET", "HEAD", "POST", "PUT", "GET", "GET"}[rng.IntN(6)]
		a.path = "/" + strconv.Itoa(a.id)
		switch rng.IntN(12) {
		case 0:
			a.path = "/none" + a.path
		case 1:
			a.path = "/own" + a.path
		}
		var head strings.Builder
		extra := ""
		if a.last && rng.IntN(2) == 0 {
			if rng.IntN(3) == 0 {
				a.proto = "HTTP/1.0"
			} else {
				extra = "Connection: close\r\n"
			}
		}
		fmt.Fprintf(&head, "%s %s %s\r\nHost: a.test\r\n%s", a.method, a.path, a.proto, extra)
		if a.method == "POST" || a.method == "PUT" || rng.IntN(10) == 0 {
			a.body = pattern(a.id, bodySize(rng))
		}
		switch {
		case len(a.body) > 0 && a.proto == "HTTP/1.1" && rng.IntN(2) == 0:
			tr, announce := "", ""
			if rng.IntN(2) == 0 {
				announce, tr = "Trailer: X-Sum\r\n", "X-Sum: "+strconv.Itoa(a.id)+"\r\nX-Stray: 1\r\n"
			}
			a.wire = append([]byte(head.String()+announce+"Transfer-Encoding: chunked\r\n\r\n"), chunked(rng, a.body, tr)...)
		default:
			a.wire = append([]byte(head.String()+"Content-Length: "+strconv.Itoa(len(a.body))+"\r\n\r\n"), a.body...)
		}
		c.asks = append(c.asks, a)
	}
	if rng.IntN(4) == 0 {
		id := id*100 + n
		c.talk = pattern(id, 1+bodySize(rng))
		c.asks = append(c.asks, &ask{id: id, method: "GET", path: "/" + strconv.Itoa(id), proto: "HTTP/1.1", upgrade: true,
			wire: fmt.Appendf(nil, "GET /%d HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", id)})
		for _, a := range c.asks {
			if a.last { // nothing may close before
				*a = ask{id: a.id, method: "GET", path: "/" + strconv.Itoa(a.id), proto: "HTTP/1.1", wire: fmt.Appendf(nil, "GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n", a.id)}
			}
		}
	}
	return c
}

// step lets the client do something.
func (c *farClient) step() {
	if c.over {
		return
	}
	rng := c.w.k.rng
	if c.sent < len(c.asks) && (c.pipe || c.sent == c.got) && !c.s.gone {
		c.s.flight = append(c.s.flight, c.asks[c.sent].wire...)
		c.sent++
	}
	if len(c.talk) > 0 && c.sent == len(c.asks) && (c.got == len(c.asks) || c.pipe) && c.said < len(c.talk) && !c.s.gone {
		n := 1 + rng.IntN(len(c.talk)-c.said) // may be before the answer
		c.s.flight = append(c.s.flight, c.talk[c.said:c.said+n]...)
		c.said += n
	}
	c.s.arrive()
	c.buf = append(c.buf, c.s.take(1+rng.IntN(30_000))...)
	c.read()
	if len(c.talk) > 0 && c.got == len(c.asks) {
		c.heard = append(c.heard, c.buf...)
		c.buf = nil
		if !bytes.HasPrefix(c.talk, c.heard) {
			c.w.t.Fatalf("the tunnel returns %d bytes that were not said", len(c.heard))
		}
	}
	if c.w.faults && rng.IntN(400) == 0 {
		c.s.smash()
		c.over, c.whyEnd = true, "smashed"
	}
	if c.w.faults && !c.shut && rng.IntN(300) == 0 {
		c.shut, c.s.fin = true, true
	}
	switch {
	case c.got == len(c.asks) && len(c.heard) == len(c.talk):
		c.over, c.whyEnd = true, "done"
		c.s.fin = true
		c.s.arrive()
	case c.s.ended():
		c.over, c.whyEnd = true, "closed"
		c.close()
	}
}

// close ends the client's connection completely.
func (c *farClient) close() {
	if !c.s.gone {
		c.s.fin = true
		c.s.arrive()
	}
}

// read takes complete answers off what has come.
func (c *farClient) read() {
	for c.got < len(c.asks) && bytes.Contains(c.buf, []byte("\r\n\r\n")) {
		a := c.asks[c.got]
		if c.got >= c.sent {
			c.w.t.Fatalf("bytes without a request: %q", c.buf)
		}
		br := bufio.NewReader(bytes.NewReader(c.buf))
		resp, err := http.ReadResponse(br, &http.Request{Method: a.method})
		if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
				return
			}
			c.w.t.Fatalf("answer to %s %s: %v in %.200q", a.method, a.path, err, c.buf)
		}
		body, err := io.ReadAll(resp.Body)
		untilEnd := resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && a.method != "HEAD" && resp.StatusCode >= 200
		if err != nil || untilEnd && !c.s.ended() {
			return
		}
		rest, _ := io.ReadAll(br)
		if a.upgrade && resp.StatusCode == 101 {
			c.buf = rest
			c.got++
			return
		}
		if resp.StatusCode < 200 {
			c.buf = rest
			continue
		}
		c.check(a, resp, body, untilEnd)
		c.buf = rest
		c.got++
	}
}

// check holds that an answer is the one to a.
func (c *farClient) check(a *ask, resp *http.Response, body []byte, untilEnd bool) {
	t := c.w.t
	status := resp.StatusCode
	switch {
	case strings.HasPrefix(a.path, "/none"):
		if status != 404 {
			t.Fatalf("%s: %d", a.path, status)
		}
	case strings.HasPrefix(a.path, "/own"):
		if status != 403 {
			t.Fatalf("%s: %d", a.path, status)
		}
	case a.upgrade && c.w.faults:
		c.talk, c.heard = nil, nil
	case status == 200:
		if resp.Header.Get("X-Id") != strconv.Itoa(a.id) {
			t.Fatalf("request %d got the answer to %s", a.id, resp.Header.Get("X-Id"))
		}
		n, _ := strconv.Atoi(resp.Header.Get("X-Len"))
		want := pattern(a.id+1, n)
		if a.method == "HEAD" {
			want = nil
		}
		if !bytes.Equal(body, want) && !(untilEnd && c.s.wasCut && bytes.HasPrefix(want, body)) {
			t.Fatalf("request %d: body of %d bytes differs from %d", a.id, len(body), len(want))
		}
	case !c.w.faults:
		t.Fatalf("request %d: status %d %q", a.id, status, body)
	case status != 502 && status != 503 && status != 504 && status != 499:
		t.Fatalf("request %d: status %d", a.id, status)
	}
}

type farServer struct {
	w     *world
	s     *sock
	buf   []byte
	over  bool
	hasty bool // answers as soon as it has the head, and then reads no more
	echo  bool // after a 101
	heard int
}

func (s *farServer) step() {
	if s.over {
		return
	}
	rng := s.w.k.rng
	if s.s.dialing {
		if rng.IntN(3) == 0 {
			s.s.finishDial()
		}
		return
	}
	s.buf = append(s.buf, s.s.take(1+rng.IntN(30_000))...)
	if s.echo {
		s.heard += len(s.buf)
		s.s.flight = append(s.s.flight, s.buf...)
		s.buf = nil
		if s.s.ended() {
			s.s.fin = true
		}
	} else {
		s.read()
	}
	s.s.arrive()
	switch {
	case s.w.faults && rng.IntN(300) == 0:
		s.s.smash()
		s.over = true
	case s.w.faults && rng.IntN(300) == 0:
		s.s.fin = true
	case s.s.ended():
		s.over = true
	}
}

// read takes a complete request and answers it.
func (s *farServer) read() {
	if !bytes.Contains(s.buf, []byte("\r\n\r\n")) || s.s.fin {
		return
	}
	t, rng := s.w.t, s.w.k.rng
	br := bufio.NewReader(bytes.NewReader(s.buf))
	req, err := http.ReadRequest(br)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return
		}
		t.Fatalf("the server cannot read %.200q: %v", s.buf, err)
	}
	body, err := io.ReadAll(req.Body)
	early := err != nil && s.hasty
	if err != nil && !early {
		return
	}
	if req.Header.Get("Upgrade") != "" {
		s.buf, _ = io.ReadAll(br)
		s.echo = true
		s.s.flight = append(s.s.flight, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"...)
		return
	}
	if _, err := br.ReadByte(); err == nil {
		t.Fatalf("bytes behind a request: %.300q", s.buf)
	}
	id, err := strconv.Atoi(strings.TrimPrefix(req.URL.Path, "/"))
	if err != nil {
		t.Fatalf("path %q", req.URL.Path)
	}
	if !bytes.Equal(body, pattern(id, len(body))) {
		t.Fatalf("request %d: the body differs", id)
	}
	if v := req.Trailer.Get("X-Sum"); req.Header.Get("X-Stray") != "" || req.Trailer.Get("X-Stray") != "" || v != "" && v != strconv.Itoa(id) {
		t.Fatalf("request %d: trailers %v", id, req.Trailer)
	}
	s.buf = nil
	n := bodySize(rng)
	data := pattern(id+1, n)
	var out []byte
	for range rng.IntN(3) {
		out = append(out, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"...)
	}
	out = fmt.Appendf(out, "HTTP/1.1 200 OK\r\nX-Id: %d\r\nX-Len: %d\r\n", id, n)
	var sent []byte
	closing := false
	switch rng.IntN(4) {
	case 0:
		tr := ""
		if rng.IntN(3) == 0 {
			tr = "X-T: v\r\n"
		}
		out, sent = append(out, "Transfer-Encoding: chunked\r\n\r\n"...), chunked(rng, data, tr)
	case 1:
		out, sent, closing = append(out, "\r\n"...), data, true
	default:
		closing = rng.IntN(5) == 0
		if closing {
			out = append(out, "Connection: close\r\n"...)
		}
		out, sent = fmt.Appendf(out, "Content-Length: %d\r\n\r\n", n), data
	}
	if req.Method != "HEAD" {
		out = append(out, sent...)
	}
	s.s.flight = append(s.s.flight, out...)
	if closing || early {
		s.s.fin = true
	}
}

// play runs the world until everybody is done.
func (w *world) play(clients int) {
	t, rng := w.t, w.k.rng
	for i := range clients {
		c := w.newClient(i + 1)
		w.clients = append(w.clients, c)
		w.l.admit(w.e, c.s.fd, netip.MustParseAddrPort("198.51.100.7:4000"))
	}
	for step := 0; ; step++ {
		busy := false
		for _, c := range w.clients {
			busy = busy || !c.over
			if rng.IntN(3) > 0 {
				c.step()
			}
		}
		for _, s := range w.servers {
			if rng.IntN(3) > 0 {
				s.step()
			}
		}
		w.now += rng.Int64N(2e5)
		w.l.tell(w.now)
		w.l.turn(w.k.batch())
		if !busy && w.l.open == 0 && len(w.k.events) == 0 {
			break
		}
		if step > 60_000 {
			for _, c := range w.clients {
				if !c.over {
					t.Errorf("client stuck: %d of %d answers, sent %d, edge has %d unread, state %v, pending %.80q", c.got, len(c.asks), c.sent, len(c.s.rx), w.stateOf(c.s), c.buf)
				}
			}
			t.Fatalf("stuck: %d clients open on the loop", w.l.open)
		}
		if !busy && step%100 == 0 {
			w.now += int64(time.Second) // lingering
		}
	}
	w.verify()
}

func (w *world) stateOf(s *sock) string {
	c := w.l.conns[s.fd]
	if c == nil {
		return "gone"
	}
	out := fmt.Sprintf("%d readable=%v hup=%v out=%d in=%d queued=%v", c.state, c.readable, c.hup, len(c.out), len(c.in), c.queued)
	if c.cl != nil && c.cl.srv != nil {
		u := c.cl.srv
		out += fmt.Sprintf(" server state=%d readable=%v out=%d rx=%d", u.state, u.readable, len(u.out), len(w.k.socks[u.fd].rx))
	}
	return out
}

func (w *world) verify() {
	t := w.t
	for _, c := range w.clients {
		if !w.faults && (c.got != len(c.asks) || len(c.heard) != len(c.talk)) {
			t.Errorf("client got %d of %d answers: %s; asks %v", c.got, len(c.asks), c.whyEnd, c.describe())
		}
	}
	for i, ep := range w.eps {
		if n := ep.InFlight.Load(); n != 0 {
			t.Errorf("endpoint %d: %d in flight at the end", i, n)
		}
	}
	if n := w.dones.Load(); w.begun != n {
		t.Errorf("%d exchanges began, %d ended", w.begun, n)
	}
	for _, p := range w.l.pools {
		for p != nil && len(p.idle) > 0 {
			if u := p.idle[0]; u.client != nil || u.state != sIdle || len(u.out)+len(u.in) > 0 {
				t.Errorf("a connection in the pool is not idle: %+v", u)
			}
			w.l.drop(p.idle[0])
		}
	}
	w.l.reuse()
	for fd := range w.k.socks {
		t.Errorf("descriptor %d is still open", fd)
	}
}

// machine plays in the worlds of many seeds, and says which one failed.
func machine(t *testing.T, faults bool, play func(*world)) {
	first, seeds := seedsOf(150)
	for seed := first; seed < first+seeds; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			play(newWorld(t, seed, faults))
		})
		if t.Failed() {
			t.Fatalf("SLUICE_SEED=%d repeats it", seed)
		}
	}
}

func TestMachine(t *testing.T) { machine(t, false, (*world).some) }

func TestMachineWithFaults(t *testing.T) { machine(t, true, (*world).some) }

func (w *world) some() { w.play(1 + w.k.rng.IntN(6)) }

// describe lists what the client asks.
func (c *farClient) describe() (out []string) {
	for _, a := range c.asks {
		out = append(out, fmt.Sprintf("%s %s %s %d", a.method, a.path, a.proto, len(a.body)))
	}
	return append(out, fmt.Sprintf("pipelined %v, sent %d, talk %d, heard %d", c.pipe, c.sent, len(c.talk), len(c.heard)))
}
