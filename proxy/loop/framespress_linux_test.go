package loop

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// TestStreamsToASlowReader: windows are open, but the client's socket takes little at a time.
// Frames of many streams wait and go on, and what was asked meanwhile is answered.
func TestStreamsToASlowReader(t *testing.T) {
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{backend(t, echo)}}, nil, nil)
	f := dialFar(t, ed.addr, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	_ = f.c.(*net.TCPConn).SetReadBuffer(128 << 10)
	_ = f.fr.WriteWindowUpdate(0, 1<<30)
	const streams = 12
	for i := range streams {
		f.ask(uint32(2*i+1), true, "GET", "/big")
	}
	time.Sleep(300 * time.Millisecond) // all buffers are full
	for i := range 50 {
		_ = f.fr.WritePing(false, [8]byte{byte(i)})
	}
	_ = f.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	sums, pings := map[uint32]int{}, 0
	for ended := 0; ended < streams-1; {
		fr, err := f.fr.ReadFrame()
		if err != nil {
			t.Fatalf("%v after %v", err, sums)
		}
		switch fr := fr.(type) {
		case *http2.DataFrame:
			id := fr.StreamID
			for j, c := range fr.Data() {
				if want := byte('0' + (sums[id]+j)%10); c != want {
					t.Fatalf("stream %d: %q at %d", id, c, sums[id]+j)
				}
			}
			sums[id] += len(fr.Data())
			if fr.StreamEnded() && id != 1 {
				ended++
				if sums[id] != 1_000_000 {
					t.Errorf("stream %d: %d bytes", id, sums[id])
				}
			}
		case *http2.PingFrame:
			pings++
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			t.Fatalf("%v", fr)
		}
	}
	if pings != 50 {
		t.Errorf("%d pings were answered", pings)
	}
	f.ask(99, true, "GET", "/")
	f.until(`data 99 "ok" END`)
}

// TestStreamsInPieces sends what a client says in pieces of any size.
func TestStreamsInPieces(t *testing.T) {
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{backend(t, echo)}}, nil, nil)
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 1))
		f := dialFar(t, ed.addr)
		r, w := net.Pipe()
		f.fr = http2.NewFramer(w, f.c)
		f.fr.AllowIllegalWrites = true
		f.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		go func() {
			buf, pieces := make([]byte, 40), rand.New(rand.NewPCG(seed, 2))
			for {
				n, err := r.Read(buf[:1+pieces.IntN(len(buf)-1)])
				if _, werr := f.c.Write(buf[:n]); err != nil || werr != nil {
					_, _ = io.Copy(io.Discard, r)
					return
				}
			}
		}()
		for i := range 20 {
			id := uint32(2*i + 1)
			n := rng.IntN(300)
			f.ask(id, false, "POST", "/", "content-length", fmt.Sprint(n))
			_ = f.fr.WriteDataPadded(id, true, []byte(strings.Repeat("x", n)), make([]byte, rng.IntN(20)))
			if got := f.until("END"); !strings.Contains(got[0], fmt.Sprintf("POST / a.test %d ", n)) {
				t.Errorf("seed %d: %q", seed, got)
			}
		}
		w.Close()
		r.Close()
	}
}

// TestStreamHeadsAreBounded: one byte can say a field of kilobytes, so that the heads of all
// streams together are bounded, and streams beyond that refused so that they may be tried again.
func TestStreamHeadsAreBounded(t *testing.T) {
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{backend(t, echo)}}, nil, nil)
	f := dialFar(t, ed.addr)
	big := []string{}
	for range 240 {
		big = append(big, "x-big", strings.Repeat("b", 3900))
	}
	for i := range 6 {
		f.ask(uint32(2*i+1), true, "GET", "/wait", big...)
	}
	for _, want := range []string{"reset 9 REFUSED_STREAM", "reset 11 REFUSED_STREAM"} {
		if got := f.until("reset"); got[len(got)-1] != want {
			t.Fatalf("%q, want %s", got, want)
		}
	}
	_ = f.fr.WriteRSTStream(1, http2.ErrCodeCancel)
	f.ask(13, true, "GET", "/a", big...)
	if got := f.until("END"); !strings.HasPrefix(got[0], "head 13 :status=200") {
		t.Errorf("%.100q", got)
	}
}

// TestFaultBehindARequest: a request that is whole is passed on, though what came together
// with it ends the connection; one that is not is not.
func TestFaultBehindARequest(t *testing.T) {
	seen := make(chan string, 4)
	ep := backend(t, func(w http.ResponseWriter, r *http.Request) { seen <- r.Method })
	ed := startFrames(t, &fixed{eps: []*exchange.Endpoint{ep}}, nil, nil)
	f := dialFar(t, ed.addr)
	var together bytes.Buffer
	f.fr = http2.NewFramer(&together, f.c)
	f.fr.AllowIllegalWrites = true
	f.ask(3, false, "POST", "/")
	f.ask(5, true, "GET", "/")
	f.ask(1, true, "PUT", "/")
	if _, err := f.c.Write(together.Bytes()); err != nil {
		t.Fatal(err)
	}
	f.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if got := f.until("goaway"); got[len(got)-1] != "goaway 5 PROTOCOL_ERROR" {
		t.Errorf("%q", got)
	}
	if got := <-seen; got != "GET" {
		t.Errorf("the server got %s", got)
	}
	if got := f.until("end"); len(got) != 1 {
		t.Errorf("%q behind GOAWAY", got)
	}
	if len(seen) > 0 {
		t.Errorf("the server got %s, too", <-seen)
	}
}
