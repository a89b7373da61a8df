package lanes

import (
	"crypto/tls"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.TraceLevel)
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// case_ is a conversation: what a client sends, what the server answers, and what must come of it.
type case_ struct {
	name  string
	entry string // "web" if empty
	// clear leaves the case out over TLS.
	clear bool
	// send is the client's script, see talker.play. "$H" is the case's host name.
	send []string
	// say is the server's, see backend; nil answers ok. again is for further requests of a connection.
	say, again []string
	// answers is how many complete final answers are awaited: 1 if 0, none if negative.
	answers int
	// want are the statuses the client got and how its connection ended.
	want string
	// body is what the client's view must hold, and lacks what it must not.
	body, lacks string
	// seen is how many requests the server has met, or -1 for any number; where it is 0
	// nothing was forwarded.
	seen int
	// has and hasNot is what the server's view must and must not hold.
	has, hasNot []string
	// differs says why the lanes may give different views; what is wanted holds for both.
	differs string
}

// outcome is what came of a conversation in a lane.
type outcome struct {
	summary, client, server string
	requests                int
}

// methods are those of the requests in the script, for the answers that have no body.
func (c *case_) methods() (out []string) {
	var all strings.Builder
	for _, s := range c.send {
		if !strings.HasPrefix(s, "@") {
			all.WriteString(s)
		}
	}
	for l := range strings.Lines(all.String()) {
		if m, _, found := strings.Cut(l, " "); found && strings.Contains(l, " HTTP/1") {
			out = append(out, m)
		}
	}
	return out
}

// run plays the conversation through e with b as its server.
func (c *case_) run(t *testing.T, e *edge, b *backend, host string) outcome {
	t.Helper()
	entry := c.entry
	if entry == "" || entry == "patient" {
		entry = "web"
	}
	nc := e.dial(t, entry)
	defer func() { _ = nc.Close() }()
	if strings.HasPrefix(host, secure) {
		tc := tls.Client(e.dial(t, "secure"), &tls.Config{InsecureSkipVerify: true, ServerName: host, NextProtos: []string{"http/1.1"}}) //nolint:gosec // the edge's own certificate
		defer func() { _ = tc.Close() }()
		if err := tc.Handshake(); err != nil {
			t.Errorf("%s: %v", e.lane, err)
			return outcome{}
		}
		nc = tc
	}
	tk := newTalker(nc, c.methods())
	tk.met = b.met
	script := make([]string, len(c.send))
	half := false
	for i, s := range c.send {
		script[i] = strings.ReplaceAll(s, "$H", host)
		half = half || s == "@half"
	}
	answers := c.answers
	if answers == 0 {
		answers = 1
	}
	end := "gone"
	if !tk.play(script) {
		end = tk.finish(answers, half)
	}
	_ = nc.Close()
	tk.await(patience, func() bool { return tk.ended })
	return outcome{tk.summary(end), tk.view(), b.view(), b.count()}
}

// clear and secure begin the hosts of a case by how it is asked.
const (
	clear_ = "c"
	secure = "s"
)

func hostOf(kind string, i int) string { return fmt.Sprintf("%s%03d.test", kind, i) }

// overTLS is the case over TLS; false where it is about an entry point, or makes no sense there.
func (c *case_) overTLS() (case_, bool) {
	if c.entry != "" && c.entry != "patient" || c.clear {
		return case_{}, false
	}
	s := *c
	s.has = slices.Clone(c.has)
	for i := range s.has {
		for _, r := range [][2]string{{"Proto: http\n", "Proto: https\n"}, {"Proto: ws\n", "Proto: wss\n"}, {"Port: 80\n", "Port: 443\n"}} {
			s.has[i] = strings.ReplaceAll(s.has[i], r[0], r[1])
		}
		s.has[i] = strings.ReplaceAll(s.has[i], "Host: c", "Host: s")
	}
	return s, true
}

// TestCorpus is the corpus, each conversation through both lanes, in clear and over TLS.
func TestCorpus(t *testing.T) {
	began := time.Now()
	var cases []case_
	var hosts []string
	known := map[string]bool{}
	for _, table := range corpus {
		for _, c := range table() {
			if known[c.name] {
				t.Fatalf("two cases are named %q", c.name)
			}
			known[c.name] = true
			cases, hosts = append(cases, c), append(hosts, hostOf(clear_, len(cases)))
			if s, ok := c.overTLS(); ok {
				s.name += " over TLS"
				cases, hosts = append(cases, s), append(hosts, hostOf(secure, len(cases)))
			}
		}
	}
	well := newBackend(t, []string{"HTTP/1.1 200 OK\r\nX-Probe: yes\r\nContent-Length: 0\r\n\r\n"}, nil)
	var edges, patient [2]*edge
	backends := make([][2]*backend, len(cases))
	for lane := range names {
		var y strings.Builder
		y.WriteString("http:\n  routers:\n    probe: {rule: \"Host(`probe.test`)\", service: probe}\n")
		for i, h := range hosts {
			fmt.Fprintf(&y, "    c%d: {rule: \"Host(`%s`)\", service: c%d}\n", i, h, i)
		}
		fmt.Fprintf(&y, "  services:\n    probe: {loadBalancer: {servers: [{url: \"http://%s\"}]}}\n", well.addr())
		for i, c := range cases {
			backends[i][lane] = newBackend(t, c.say, c.again)
			fmt.Fprintf(&y, "    c%d: {loadBalancer: {servers: [{url: \"http://%s\"}]}}\n", i, backends[i][lane].addr())
		}
		edges[lane] = startEdge(t, names[lane], y.String())
		patient[lane] = startEdge(t, names[lane], y.String(), "--sluice.finishHalfClosed")
	}
	// Most of the time of a conversation is waiting: many run at once, whatever -parallel says.
	got := make([][2]outcome, len(cases))
	var wg sync.WaitGroup
	room := make(chan struct{}, 16)
	for i := range cases {
		of := edges
		if cases[i].entry == "patient" {
			of = patient
		}
		for lane := range names {
			room <- struct{}{}
			wg.Go(func() {
				got[i][lane] = cases[i].run(t, of[lane], backends[i][lane], hosts[i])
				<-room
			})
		}
	}
	wg.Wait()
	for i := range cases {
		t.Run(cases[i].name, func(t *testing.T) { cases[i].compare(t, got[i]) })
	}
	for lane := range names {
		edges[lane].stop()
		patient[lane].stop()
	}
	t.Logf("%d conversations through %d lanes in %v", len(cases), len(names), time.Since(began).Round(time.Millisecond))
}

func (c *case_) compare(t *testing.T, got [2]outcome) {
	t.Helper()
	for i, o := range got {
		bad := func(format string, args ...any) {
			t.Helper()
			t.Errorf("%s: %s\nclient (%s):\n%sserver:\n%s", names[i], fmt.Sprintf(format, args...), o.summary, o.client, o.server)
		}
		if !slices.Contains(strings.Split(c.want, "|"), o.summary) {
			bad("%q, not %q", o.summary, c.want)
		}
		if c.body != "" && !strings.Contains(o.client, c.body) {
			bad("the answer does not have %q", c.body)
		}
		if c.lacks != "" && strings.Contains(o.client, c.lacks) {
			bad("the answer has %q", c.lacks)
		}
		if c.seen >= 0 && o.requests != c.seen {
			bad("the server met %d requests, not %d", o.requests, c.seen)
		}
		for _, s := range c.has {
			if !strings.Contains(o.server, s) {
				bad("the server did not see %q", s)
			}
		}
		for _, s := range c.hasNot {
			if strings.Contains(o.server, s) {
				bad("the server saw %q", s)
			}
		}
	}
	if c.differs == "" && (got[0].client != got[1].client || got[0].server != got[1].server || got[0].summary != got[1].summary) {
		t.Errorf("the lanes differ:\n-- %s (%s)\n%s->\n%s-- %s (%s)\n%s->\n%s", names[0], got[0].summary, got[0].client, got[0].server,
			names[1], got[1].summary, got[1].client, got[1].server)
	}
}
