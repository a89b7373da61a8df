package lanes

import (
	"bytes"
	"cmp"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// seeds are the requests of the corpus, for a host that is there.
func seeds() (out [][]byte) {
	for _, table := range corpus {
		for _, c := range table() {
			var all strings.Builder
			for _, s := range c.send {
				if !strings.HasPrefix(s, "@") {
					all.WriteString(strings.ReplaceAll(s, "$H", "probe.test"))
				}
			}
			if all.Len() > 0 && all.Len() < 4<<10 {
				out = append(out, []byte(all.String()))
			}
		}
	}
	return out
}

// pair starts an edge of each lane with one route.
func pair(t testing.TB) (edges [2]*edge) {
	for lane := range names {
		well := newBackend(t, nil, nil)
		edges[lane] = startEdge(t, names[lane], "http:\n  routers:\n    probe: {rule: \"Host(`probe.test`)\", service: probe}\n"+
			"  services:\n    probe: {loadBalancer: {servers: [{url: \"http://"+well.addr()+"\"}]}}\n", "--sluice.finishHalfClosed")
	}
	return edges
}

// aside is what may differ: the second, and what depends on whether the client's end was
// seen before the answer, or before it was told to go on.
var aside = regexp.MustCompile("(Date: [^\r]*|Connection: close|Connection: keep-alive|HTTP/1.1 100 Continue\r\n)\r\n")

// agree sends first and then rest, and then the end, through both lanes: what comes back
// must be the same.
func agree(t *testing.T, edges [2]*edge, first, rest []byte) {
	t.Helper()
	if all := slices.Concat(first, rest); bytes.HasPrefix(all, []byte{0x16}) || bytes.HasPrefix(all, []byte("PRI ")) {
		return // TLS and HTTP/2 are the same code in both lanes
	}
	var got [2]string
	var wg sync.WaitGroup
	for lane, e := range edges {
		c := e.dial(t, "web")
		wg.Go(func() {
			_, _ = c.Write(first)
			time.Sleep(time.Millisecond)
			_, _ = c.Write(rest)
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
			text, _ := io.ReadAll(c)
			_ = c.Close()
			got[lane] = aside.ReplaceAllString(string(text), "")
		})
	}
	wg.Wait()
	if got[0] != got[1] {
		t.Errorf("%q, %q\n-- %s\n%s\n-- %s\n%s", first, rest, names[0], got[0], names[1], got[1])
	}
}

// FuzzConversation is agree for any bytes.
func FuzzConversation(f *testing.F) {
	for _, s := range seeds() {
		f.Add(s, uint16(len(s)/2))
	}
	edges := pair(f)
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		at := int(cut) % (len(data) + 1)
		agree(t, edges, data[:at], data[at:])
	})
}

// pieces are what mutations put in.
var pieces = []string{
	"\r\n", "\n", "\r", " ", "\t", ":", ";", "\x00", "%", "*", "%2F", "/../", "0\r\n\r\n", "5\r\nhello\r\n", "HTTP/1.0",
	"GET / HTTP/1.1\r\nHost: probe.test\r\n\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n",
	"Expect: 100-continue\r\n", "Host: x\r\n", "Upgrade: x\r\nConnection: upgrade\r\n", "Trailer: A\r\n", "A: b\r\n",
}

// TestMutations is agree for some hundred damaged conversations: the same in every run, others
// with SLUICE_SEED set to a number.
func TestMutations(t *testing.T) {
	edges, all := pair(t), seeds()
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("SLUICE_SEED"), "1"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // no secret
	for range 400 {
		d := bytes.Clone(all[rng.IntN(len(all))])
		if rng.IntN(3) == 0 {
			d = append(d, all[rng.IntN(len(all))]...)
		}
		for range rng.IntN(4) {
			at := rng.IntN(len(d) + 1)
			switch rng.IntN(4) {
			case 0:
				d = slices.Delete(d, min(at, len(d)), min(at+1, len(d)))
			case 1:
				d = slices.Insert(d, at, []byte(pieces[rng.IntN(len(pieces))])...)
			case 2:
				d = slices.Replace(d, min(at, len(d)), min(at+1, len(d)), byte(rng.IntN(256)))
			case 3:
				d = d[:at]
			}
		}
		at := rng.IntN(len(d) + 1)
		agree(t, edges, d[:at], d[at:])
	}
}
