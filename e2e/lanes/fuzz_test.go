package lanes

import (
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
)

// FuzzConversation sends bytes in two pieces, and then the end, through both lanes: what
// comes back must be the same. The seeds are the corpus.
func FuzzConversation(f *testing.F) {
	for _, table := range corpus {
		for _, c := range table() {
			var all strings.Builder
			for _, s := range c.send {
				if !strings.HasPrefix(s, "@") {
					all.WriteString(strings.ReplaceAll(s, "$H", "probe.test"))
				}
			}
			if all.Len() < 4<<10 {
				f.Add([]byte(all.String()), uint16(all.Len()/2))
			}
		}
	}
	var edges [2]*edge
	for lane := range names {
		well := newBackend(f, nil, nil)
		edges[lane] = startEdge(f, names[lane], "http:\n  routers:\n    probe: {rule: \"Host(`probe.test`)\", service: probe}\n"+
			"  services:\n    probe: {loadBalancer: {servers: [{url: \"http://"+well.addr()+"\"}]}}\n", "--sluice.finishHalfClosed")
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		if len(data) > 0 && data[0] == 0x16 || strings.HasPrefix(string(data), "PRI ") {
			t.Skip("TLS and HTTP/2 are the same code in both lanes")
		}
		at := int(cut) % (len(data) + 1)
		var got [2]string
		for lane, e := range edges {
			c := e.dial(t, "web")
			_, _ = c.Write(data[:at])
			time.Sleep(time.Millisecond)
			_, _ = c.Write(data[at:])
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
			text, _ := io.ReadAll(c)
			_ = c.Close()
			got[lane] = aside.ReplaceAllString(string(text), "")
		}
		if got[0] != got[1] {
			t.Errorf("%q, %q\n-- %s\n%s\n-- %s\n%s", data[:at], data[at:], names[0], got[0], names[1], got[1])
		}
	})
}

// aside is what may differ: the second, and what depends on whether the client's end was
// seen before the answer, or before it was told to go on.
var aside = regexp.MustCompile("(Date: [^\r]*|Connection: close|Connection: keep-alive|HTTP/1.1 100 Continue\r\n)\r\n")
