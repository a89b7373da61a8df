package lanes

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// ok is what a backend answers that is told nothing else.
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// backend is a raw server that says what its script tells. Lines of a script are sent as
// they are, but for directives:
//
//	@early      do not read the request's body before what follows
//	@body       read it now
//	@wait 50ms
//	@close      close the connection
//	@reset      reset it
//	@raw 5      read so many bytes of a tunnel
//	@echo       return what comes until the end
//	@hold       wait until the edge closes
//
// Further requests of a connection are answered alike, those beyond the first by again, if set.
type backend struct {
	l      net.Listener
	script []string
	again  []string

	heads atomic.Int32 // of requests, come as a whole

	mu    sync.Mutex
	conns []*record
}

// record is what a connection has seen.
type record struct {
	reqs   []*seen
	tunnel []byte
	busy   bool
	over   bool
}

type seen struct {
	head     string
	body     []byte
	trailers string
	whole    bool
}

func newBackend(t testing.TB, script, again []string) *backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if script == nil {
		script = []string{ok}
	}
	if again == nil {
		again = script
	}
	b := &backend{l: l, script: script, again: again}
	go b.run()
	t.Cleanup(func() { _ = l.Close() })
	return b
}

func (b *backend) addr() string { return b.l.Addr().String() }

func (b *backend) run() {
	for n := 0; ; n++ {
		c, err := b.l.Accept()
		if err != nil {
			return
		}
		r := &record{}
		b.mu.Lock()
		b.conns = append(b.conns, r)
		b.mu.Unlock()
		go func() {
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			b.serve(c, r)
			_ = c.Close()
			b.note(func() { r.over = true })
		}()
	}
}

func (b *backend) note(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *backend) serve(c net.Conn, r *record) {
	br := bufio.NewReader(c)
	for n := 0; ; n++ {
		if _, err := br.Peek(1); err != nil {
			return
		}
		b.note(func() { r.busy = true })
		s := &seen{}
		b.note(func() { r.reqs = append(r.reqs, s) })
		head, err := readHead(br)
		b.note(func() { s.head = head })
		if err != nil {
			return
		}
		b.heads.Add(1)
		script := b.script
		if n > 0 {
			script = b.again
		}
		if !b.play(c, br, r, s, script) {
			return
		}
		b.note(func() { r.busy = false })
	}
}

func readHead(br *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		l, err := br.ReadString('\n')
		b.WriteString(l)
		if err != nil || l == "\r\n" {
			return b.String(), err
		}
	}
}

// play follows the script for one request. False ends the connection.
func (b *backend) play(c net.Conn, br *bufio.Reader, r *record, s *seen, script []string) bool {
	read := len(script) > 0 && script[0] == "@early"
	body := func() bool {
		if read {
			return true
		}
		read = true
		return b.readBody(br, s)
	}
	if !body() {
		return false
	}
	for _, line := range script {
		word, arg, _ := strings.Cut(line, " ")
		switch word {
		case "@early":
			read = false
		case "@body":
			if !body() {
				return false
			}
		case "@wait":
			d, _ := time.ParseDuration(arg)
			time.Sleep(d)
		case "@close":
			return false
		case "@reset":
			_ = c.(*net.TCPConn).SetLinger(0)
			return false
		case "@raw":
			n, _ := strconv.Atoi(arg)
			p := make([]byte, n)
			k, err := io.ReadFull(br, p)
			b.note(func() { r.tunnel = append(r.tunnel, p[:k]...) })
			if err != nil {
				return false
			}
		case "@echo":
			b.echo(c, br, r)
			return false
		case "@hold":
			_, _ = br.Peek(1)
			return false
		default:
			if _, err := io.WriteString(c, line); err != nil {
				return false
			}
		}
	}
	return body()
}

func (b *backend) echo(c net.Conn, br *bufio.Reader, r *record) {
	p := make([]byte, 4096)
	for {
		n, err := br.Read(p)
		b.note(func() { r.tunnel = append(r.tunnel, p[:n]...) })
		_, _ = c.Write(p[:n])
		if err != nil {
			return
		}
	}
}

// readBody reads the body that the head announces. False: it did not come as a whole.
func (b *backend) readBody(br *bufio.Reader, s *seen) bool {
	var from io.Reader
	switch {
	case strings.Contains(strings.ToLower(s.head), "\r\ntransfer-encoding: chunked\r\n"):
		from = httputil.NewChunkedReader(br)
	default:
		if _, v, found := strings.Cut(strings.ToLower(s.head), "\r\ncontent-length: "); found {
			v, _, _ = strings.Cut(v, "\r\n")
			n, _ := strconv.ParseInt(v, 10, 64)
			from = &exactly{br, n}
		}
	}
	if from == nil {
		b.note(func() { s.whole = true })
		return true
	}
	p := make([]byte, 32<<10)
	for {
		n, err := from.Read(p)
		b.note(func() { s.body = append(s.body, p[:n]...) })
		if err == io.EOF {
			break
		}
		if err != nil {
			return false
		}
	}
	if _, sized := from.(*exactly); !sized {
		tr, err := readHead(br)
		if err != nil {
			return false
		}
		b.note(func() { s.trailers = strings.TrimSuffix(tr, "\r\n") })
	}
	b.note(func() { s.whole = true })
	return true
}

// exactly reads n bytes; fewer are an error.
type exactly struct {
	r io.Reader
	n int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.n)])
	if e.n -= int64(n); err == io.EOF && e.n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// view is everything that was seen, once nothing is under way any more.
func (b *backend) view() string {
	settled := func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, r := range b.conns {
			if r.busy && !r.over {
				return false
			}
		}
		return true
	}
	by := time.Now().Add(3 * time.Second)
	for !settled() && time.Now().Before(by) {
		time.Sleep(2 * time.Millisecond)
	}
	stuck := !settled()
	b.mu.Lock()
	defer b.mu.Unlock()
	var out strings.Builder
	for _, r := range b.conns {
		for _, s := range r.reqs {
			fmt.Fprintf(&out, "%s", printable(s.head))
			fmt.Fprintf(&out, "  body %s whole %t\n", short(s.body), s.whole)
			if s.trailers != "" {
				fmt.Fprintf(&out, "  trailers %q\n", s.trailers)
			}
		}
		if len(r.tunnel) > 0 {
			fmt.Fprintf(&out, "  tunnel %s\n", short(r.tunnel))
		}
	}
	if stuck {
		out.WriteString("  and a connection is still under way\n")
	}
	return out.String()
}

// met reports that the head of a request came.
func (b *backend) met() bool { return b.heads.Load() > 0 }

// count is how many requests have begun.
func (b *backend) count() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.conns {
		n += len(r.reqs)
	}
	return n
}

// short shows bytes, many of them by their number and beginning.
func short(p []byte) string {
	if len(p) > 200 {
		sum := 0
		for i, c := range p {
			sum = (sum*31 + int(c) + i) & 0xffffff
		}
		return fmt.Sprintf("%d bytes (%06x) %q...", len(p), sum, p[:40])
	}
	return fmt.Sprintf("%q", p)
}

func printable(s string) string {
	var b bytes.Buffer
	for l := range strings.SplitSeq(strings.TrimSuffix(s, "\r\n\r\n"), "\r\n") {
		fmt.Fprintf(&b, "  %s\n", strings.Trim(strconv.QuoteToASCII(l), `"`))
	}
	return b.String()
}
