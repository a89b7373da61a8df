package lanes

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// talker plays a client's script on a connection and takes the answers apart meanwhile.
type talker struct {
	c       net.Conn
	methods []string    // of the requests, for the answers that have no body
	met     func() bool // whether the server has the head of a request

	mu     sync.Mutex
	cond   *sync.Cond
	text   strings.Builder // what came, but for Date
	status []string
	finals int
	bytes  int
	raw    bool // after a 101
	gone   bool // closed by the script: what still comes is not looked at
	tunnel []byte
	end    error // why reading ended
	ended  bool
}

func newTalker(c net.Conn, methods []string) *talker {
	t := &talker{c: c, methods: methods}
	t.cond = sync.NewCond(&t.mu)
	go t.read()
	return t
}

func (t *talker) note(f func()) {
	t.mu.Lock()
	f()
	t.mu.Unlock()
	t.cond.Broadcast()
}

// read takes answers off the connection until it ends.
func (t *talker) read() {
	br := bufio.NewReader(&counted{t})
	var err error
	for err == nil {
		err = t.answer(br)
	}
	t.note(func() { t.end, t.ended = err, true })
}

type counted struct{ t *talker }

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.t.c.Read(p)
	c.t.note(func() { c.t.bytes += n })
	return n, err
}

func (t *talker) answer(br *bufio.Reader) error {
	head, err := readHead(br)
	t.mu.Lock()
	gone := t.gone
	t.mu.Unlock()
	if gone {
		return io.EOF
	}
	if err != nil {
		if head != "" {
			t.note(func() { fmt.Fprintf(&t.text, "  part of a head %q\n", head) })
		}
		return err
	}
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	lower := strings.ToLower(head)
	var shown strings.Builder
	for _, l := range lines {
		if !strings.HasPrefix(l, "Date: ") {
			shown.WriteString(l + "\r\n")
		}
	}
	status := "?"
	if f := strings.Fields(lines[0]); len(f) > 1 {
		status = f[1]
	}
	t.note(func() {
		t.text.WriteString(printable(shown.String() + "\r\n"))
		t.status = append(t.status, status)
	})
	if status == "101" {
		t.note(func() { t.finals++; t.raw = true })
		return t.readTunnel(br)
	}
	if strings.HasPrefix(status, "1") {
		return nil
	}
	method := "GET"
	if t.finals < len(t.methods) {
		method = t.methods[t.finals]
	}
	body, trailers, err := readAnswerBody(br, lower, status, method)
	t.note(func() {
		fmt.Fprintf(&t.text, "  body %s", short(body))
		if trailers != "" {
			fmt.Fprintf(&t.text, " trailers %q", trailers)
		}
		if err != nil {
			fmt.Fprintf(&t.text, " cut")
		} else {
			t.finals++
		}
		t.text.WriteString("\n")
	})
	return err
}

func readAnswerBody(br *bufio.Reader, lower, status, method string) (body []byte, trailers string, err error) {
	switch {
	case method == "HEAD" || status == "204" || status == "304":
		return nil, "", nil
	case strings.Contains(lower, "\r\ntransfer-encoding: chunked\r\n"):
		if body, err = io.ReadAll(httputil.NewChunkedReader(br)); err != nil {
			return body, "", err
		}
		trailers, err = readHead(br)
		return body, strings.TrimSuffix(trailers, "\r\n"), err
	}
	if _, v, found := strings.Cut(lower, "\r\ncontent-length: "); found {
		v, _, _ = strings.Cut(v, "\r\n")
		n, _ := strconv.ParseInt(v, 10, 64)
		body, err = io.ReadAll(&exactly{br, n})
		return body, "", err
	}
	body, err = io.ReadAll(br)
	if err != nil { // reset, as opposed to ended
		return body, "", err
	}
	return body, "", nil
}

func (t *talker) readTunnel(br *bufio.Reader) error {
	p := make([]byte, 4096)
	for {
		n, err := br.Read(p)
		t.note(func() { t.tunnel = append(t.tunnel, p[:n]...) })
		if err != nil {
			return err
		}
	}
}

// await waits until is holds, the connection has ended or the time is over.
func (t *talker) await(d time.Duration, is func() bool) bool {
	by := time.Now().Add(d)
	wake := time.AfterFunc(d, t.cond.Broadcast)
	defer wake.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for !is() && !t.ended && time.Now().Before(by) {
		t.cond.Wait()
	}
	return is()
}

// patience bounds every wait of a script; it only ends tests that fail.
const patience = 8 * time.Second

// play follows a client's script. Lines are sent as they are, but for directives:
//
//	@half        close the sending half
//	@close       close the connection
//	@reset       reset it
//	@wait 50ms
//	@met         wait until the server has the head of a request
//	@some        wait until a byte more has come
//	@answer      wait until an answer more is complete
//	@tunnel 5    wait until so many bytes have come through a tunnel
//	@split       send what follows byte by byte
func (t *talker) play(script []string) (gone bool) {
	finals, bytes, split := 0, 0, false
	for _, line := range script {
		word, arg, _ := strings.Cut(line, " ")
		switch word {
		case "@half":
			_ = t.c.(interface{ CloseWrite() error }).CloseWrite()
		case "@close":
			t.note(func() { t.gone = true })
			_ = t.c.Close()
			return true
		case "@reset":
			t.note(func() { t.gone = true })
			raw := t.c
			if tc, ok := raw.(*tls.Conn); ok {
				raw = tc.NetConn()
			}
			_ = raw.(*net.TCPConn).SetLinger(0)
			_ = raw.Close()
			return true
		case "@wait":
			d, _ := time.ParseDuration(arg)
			time.Sleep(d)
		case "@met":
			for by := time.Now().Add(patience); !t.met() && time.Now().Before(by); {
				time.Sleep(time.Millisecond)
			}
		case "@some":
			t.await(patience, func() bool { return t.bytes > bytes })
			t.mu.Lock()
			bytes = t.bytes
			t.mu.Unlock()
		case "@answer":
			finals++
			t.await(patience, func() bool { return t.finals >= finals })
		case "@tunnel":
			n, _ := strconv.Atoi(arg)
			t.await(patience, func() bool { return len(t.tunnel) >= n })
		case "@split":
			split = true
		default:
			if !split {
				_, _ = io.WriteString(t.c, line)
				continue
			}
			for i := range len(line) {
				_, _ = io.WriteString(t.c, line[i:i+1])
				time.Sleep(200 * time.Microsecond)
			}
		}
	}
	return false
}

// probe asks for what is always there, to see whether the connection still serves.
const probe = "GET /probe HTTP/1.1\r\nHost: probe.test\r\nConnection: close\r\n\r\n"

// finish waits for n complete answers and says how the connection ended: "open" where it
// served a further request, "closed" or "reset".
func (t *talker) finish(n int, half bool) string {
	if n < 0 { // no answer is expected, and no end
		if t.await(300*time.Millisecond, func() bool { return t.bytes > 0 }) || t.ended {
			return t.howEnded()
		}
		return "silent"
	}
	t.await(patience, func() bool { return t.finals >= n })
	t.mu.Lock()
	raw, ended, finals := t.raw, t.ended, t.finals
	last := t.text.String()
	t.mu.Unlock()
	last = last[max(0, strings.LastIndex(last, "  HTTP/1.")):]
	switch {
	case raw && !half:
		return "tunnel"
	case strings.Contains(last, "  Connection: close\n"):
	case !ended && !half && finals >= n:
		// What ends the connection may be on its way still.
		_, _ = io.WriteString(t.c, probe)
	case !ended && finals < n:
		return "unanswered"
	}
	t.await(patience, func() bool { return t.ended })
	return t.howEnded()
}

func (t *talker) howEnded() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	const served = "X-Probe: yes\n"
	switch {
	case !t.ended:
		return "hangs"
	case strings.Contains(t.text.String(), served):
		text := t.text.String()
		at := strings.LastIndex(text[:strings.Index(text, served)], "  HTTP/1.1 ")
		t.text.Reset()
		t.text.WriteString(text[:at])
		t.status = t.status[:len(t.status)-1]
		return "open"
	case strings.HasSuffix(t.text.String(), " cut\n"):
		return "cut" // an answer that is not whole; whether by a reset is all the same
	case errors.Is(t.end, syscall.ECONNRESET):
		return "reset"
	}
	return "closed"
}

func (t *talker) view() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.text.String()
	if t.raw {
		s += fmt.Sprintf("  tunnel %s\n", short(bytes.Clone(t.tunnel)))
	}
	return s
}

func (t *talker) summary(end string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.Join(t.status, " ") + " " + end)
}
