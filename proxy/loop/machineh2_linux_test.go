package loop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// The machine test for HTTP/2: a client whose streams are random, as is how it cuts, pads and
// delays its frames, what windows and tables it gives, and when. Without faults every
// stream gets exactly its answer or is reset by its client; with faults (resets, lost
// servers, frames that break the protocol) a stream may end in a reset, but an answer that
// ends well is whole and its own. The edge never sends more than the windows allow, and at
// the end has given every window back, every stream and every buffer of one.

// errHand ends a handed stream.
var errHand = errors.New("the client has gone")

// hand is the handler lane: it answers as the servers do.
func (w *world) hand(s Stream) {
	ex := s.Exchange()
	defer ex.RunDone()
	answer := func() error {
		id, _ := strconv.Atoi(strings.TrimPrefix(ex.Req.Path, handPath+"/"))
		if id%5 != 0 { // others answer before they have read
			body, err := io.ReadAll(struct{ io.Reader }{s})
			if err != nil {
				return errHand
			}
			if !bytes.Equal(body, pattern(id, len(body))) {
				return fmt.Errorf("request %d: the body differs", id)
			}
			if f := s.Trailers(); f != nil && f.Get("x-sum") != strconv.Itoa(id) {
				return fmt.Errorf("request %d: trailers %v", id, f.All())
			}
		} else if id%2 == 0 {
			s.Stop()
		}
		n := id * 7919 % 90_000
		resp := exchange.Response{Status: 200, Framing: exchange.Streamed}
		resp.Fields.Add("X-Id", strconv.Itoa(id))
		resp.Fields.Add("X-Len", strconv.Itoa(n))
		if id%3 == 0 {
			_ = s.Head(&exchange.Response{Status: 103}, "", false)
		}
		if ex.Req.Method == "HEAD" {
			resp.Framing = exchange.NoBody
		}
		if err := s.Head(&resp, "today", ex.Req.Method == "HEAD"); err != nil {
			return errHand
		}
		data := pattern(id+1, n)
		if ex.Req.Method == "HEAD" {
			data = nil
		}
		for len(data) > 0 {
			k := min(len(data), 1+id*31%20_000)
			if _, err := s.Write(data[:k]); err != nil {
				return errHand
			}
			data = data[k:]
			if id%2 == 0 && s.Flush() != nil {
				return errHand
			}
		}
		if w.faults && id%11 == 0 {
			s.Cut()
			return nil
		}
		var trailers *exchange.Fields
		if id%4 == 0 {
			trailers = new(exchange.Fields)
			trailers.Add("X-T", "v")
		}
		_ = s.End(trailers)
		return nil
	}
	if err := answer(); err != nil && err != errHand {
		w.t.Error(err)
	}
}

// playH2 runs the world with clients of HTTP/2 until everybody is done.
func (w *world) playH2(clients int) {
	t, rng := w.t, w.k.rng
	w.e.cfg.HandStream = w.hand
	w.l.g.ctx, w.l.g.cancel = context.WithCancel(t.Context())
	defer w.l.g.cancel()
	var cs []*h2client
	for i := range clients {
		c := w.newH2(i + 1)
		cs = append(cs, c)
		w.l.admit(w.e, c.s.fd, netip.MustParseAddrPort("198.51.100.7:4000"))
	}
	for step := 0; ; step++ {
		busy := false
		for _, c := range cs {
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
		w.l.collect()
		w.l.turn(w.k.batch())
		if !busy && w.l.open == 0 && len(w.k.events) == 0 {
			break
		}
		if step > 60_000 {
			for _, c := range cs {
				if !c.over {
					t.Errorf("client stuck: %s; %s", w.stateOf(c.s), c.describe())
				}
			}
			t.Fatalf("stuck: %d clients open on the loop", w.l.open)
		}
		if step%50 == 0 {
			runtime.Gosched()
		}
		if step > 10_000 {
			time.Sleep(10 * time.Microsecond) // for who waits for a goroutine
		}
		if !busy && step%100 == 0 {
			w.now += int64(time.Second) // lingering
		}
	}
	w.l.g.cancel()
	w.l.g.helpers.Wait()
	w.l.collect()
	w.l.turn(nil)
	w.verify()
	for _, c := range cs {
		if !w.faults && c.why != "closed" {
			t.Errorf("client: %s", c.describe())
		}
	}
	// Clients and servers are made in slabs: all are back, or one is lost.
	if len(w.l.clients)%clientSlab != 0 || len(w.l.servers)%serverSlab != 0 || len(w.l.dirty)+len(w.l.ready) > 0 {
		t.Errorf("%d clients and %d servers are unused, %d have frames, %d are ready", len(w.l.clients), len(w.l.servers), len(w.l.dirty), len(w.l.ready))
	}
}

func TestMachineH2(t *testing.T) { machine(t, false, (*world).someH2) }

func TestMachineH2WithFaults(t *testing.T) { machine(t, true, (*world).someH2) }

func (w *world) someH2() { w.playH2(1 + w.k.rng.IntN(3)) }

// seedsOf returns the seeds of a run: SLUICE_SEED says "n" or "n+count".
func seedsOf(count uint64) (first, seeds uint64) {
	first, seeds = 1, count
	if testing.Short() {
		seeds = count * 2 / 5
	}
	if s := os.Getenv("SLUICE_SEED"); s != "" {
		a, b, more := strings.Cut(s, "+")
		first, _ = strconv.ParseUint(a, 10, 64)
		if seeds = 1; more {
			seeds, _ = strconv.ParseUint(b, 10, 64)
		}
	}
	return first, seeds
}
