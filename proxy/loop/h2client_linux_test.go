package loop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/sluice-edge/sluice/proxy/wire"
	"github.com/sluice-edge/sluice/proxy/wire/h2"
)

// handPath begins the paths of streams that the handler lane serves.
const handPath = "/hand"

type h2ask struct {
	ask
	id       uint32
	sized    bool
	trailers bool
	fickle   bool // the client resets it, unless it is answered before; others must not get stuck
	sent     int  // of the body
	opened   bool // HEADERS are out
	ended    bool // so is the end

	window  int64 // what may be sent on the stream
	granted int64 // what the edge may send beyond the initial window
	got     int64
	head    map[string]string
	tail    map[string]string
	body    []byte
	done    bool // the answer has ended
	reset   bool // the edge has reset it
	dropped bool // the client has
}

type h2client struct {
	w      *world
	s      *sock
	asks   []*h2ask
	next   int
	buf    []byte
	over   bool
	why    string
	away   bool
	wicked bool

	enc   *hpack.Encoder
	block bytes.Buffer
	dec   *hpack.Decoder

	window    int64 // of the connection, to send
	streamWin int64 // the edge's initial window
	granted   int64 // of the connection, beyond the default
	got       int64
	inits     []int64 // initial windows of ours that may hold: the last acknowledged, and later ones
	tables    [][]int // table sizes of the SETTINGS that are not acknowledged
	table     int     // the last acknowledged
	told      int     // the one at the last block
	least     int     // the smallest since
	pings     int
	headers   []byte // a field block that is not whole
	headersOn uint32
	headersIs byte
}

func (w *world) newH2(id int) *h2client {
	rng := w.k.rng
	c := &h2client{w: w, s: w.k.socket(), window: h2.DefaultWindow, streamWin: h2.DefaultWindow, inits: []int64{h2.DefaultWindow}, table: 4096, told: 4096, least: 4096}
	c.enc = hpack.NewEncoder(&c.block)
	c.dec = hpack.NewDecoder(4096, nil)
	for i := range 1 + rng.IntN(9) {
		a := &h2ask{id: uint32(2*i + 1)}
		a.ask.id = id*100 + i
		a.method = []string{"GET", "HEAD", "POST", "PUT", "GET", "GET"}[rng.IntN(6)]
		a.path = "/" + strconv.Itoa(a.ask.id)
		a.fickle = rng.IntN(8) == 0
		switch rng.IntN(12) {
		case 0:
			a.path = "/none" + a.path
		case 1:
			a.path = "/own" + a.path
		case 2, 3, 4:
			a.path = handPath + a.path
		}
		if a.method == "POST" || a.method == "PUT" {
			a.ask.body = pattern(a.ask.id, bodySize(rng)*(1+rng.IntN(8)/7*3))
			a.sized, a.trailers = rng.IntN(2) == 0, rng.IntN(4) == 0
		}
		c.asks = append(c.asks, a)
	}
	c.s.flight = append(c.s.flight, wire.Preface...)
	c.settings()
	return c
}

// frame puts a frame on the wire.
func (c *h2client) frame(t h2.Type, flags byte, id uint32, p []byte) {
	c.s.flight = append(h2.AppendFrame(c.s.flight, len(p), t, flags, id), p...)
}

// settings sends random settings.
func (c *h2client) settings() {
	rng := c.w.k.rng
	var p []byte
	var tables []int
	for rng.IntN(2) == 0 {
		table := []int{0, 60, 300, 4096, 65536}[rng.IntN(5)]
		tables = append(tables, table)
		p = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(p, 1), uint32(table))
	}
	init := c.inits[len(c.inits)-1]
	if rng.IntN(2) == 0 {
		init = []int64{0, 1, 1000, 65535, 1 << 20}[rng.IntN(5)]
		p = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(p, 4), uint32(init))
	}
	c.inits, c.tables = append(c.inits, init), append(c.tables, tables)
	c.frame(h2.TypeSettings, 0, 0, p)
}

// acknowledged is called when the edge has taken the oldest settings.
func (c *h2client) acknowledged() {
	if len(c.tables) == 0 {
		c.w.t.Fatal("an acknowledgement of nothing")
	}
	c.inits = c.inits[1:]
	for _, t := range c.tables[0] {
		c.table = min(t, 4096)
		c.least = min(c.least, c.table)
	}
	c.tables = c.tables[1:]
}

// step lets the client do something.
func (c *h2client) step() {
	if c.over {
		return
	}
	rng := c.w.k.rng
	if !c.s.gone && !c.s.broken && !c.s.fin {
		c.speak()
	}
	c.s.arrive()
	c.buf = append(c.buf, c.s.take(1+rng.IntN(30_000))...)
	for !c.over && c.read() {
	}
	if c.w.faults && rng.IntN(400) == 0 {
		c.s.smash()
		c.over, c.why = true, "smashed"
	}
	switch {
	case c.over:
	case c.s.ended():
		c.over, c.why = true, "closed"
		c.s.fin = true
		c.s.arrive()
	case c.finished() && !c.s.fin:
		c.s.fin = true
	}
}

// finished reports that all is said and heard, and the edge has read it.
func (c *h2client) finished() bool {
	for _, a := range c.asks {
		if !(a.done && a.ended || a.reset || a.dropped) {
			return false
		}
	}
	if len(c.s.flight)+len(c.s.rx)+len(c.s.tx)+len(c.buf)+len(c.tables)+c.pings > 0 && !c.wicked {
		return false
	}
	conn := c.w.l.conns[c.s.fd]
	if conn == nil || conn.cl == nil || conn.cl.fr == nil || c.wicked {
		return true
	}
	if fr := conn.cl.fr; len(fr.streams)+fr.heads > 0 || fr.recv+fr.credit != frameWindow {
		return false // the steps run out if that stays so
	}
	return true
}

// speak sends a few frames, as the windows allow.
func (c *h2client) speak() {
	rng := c.w.k.rng
	if rng.IntN(40) == 0 && len(c.tables) < 3 {
		c.settings()
	}
	if rng.IntN(40) == 0 {
		c.pings++
		c.frame(h2.TypePing, 0, 0, []byte("12345678"))
	}
	if rng.IntN(30) == 0 {
		c.frame(h2.Type(0x20+rng.IntN(5)), byte(rng.IntN(256)), 0, make([]byte, rng.IntN(50))) // unknown: to be ignored
	}
	if c.w.faults && rng.IntN(250) == 0 {
		c.wicked = true
		typ, id := h2.Type(rng.IntN(10)), uint32(rng.IntN(12))
		if typ == h2.TypeData {
			id += 20 // it is not to change a body
		}
		c.frame(typ, byte(rng.IntN(256)), id, make([]byte, rng.IntN(30)))
	}
	if c.next < len(c.asks) && !c.away && rng.IntN(3) == 0 {
		c.open(c.asks[c.next])
		c.next++
	}
	for _, a := range c.asks[:c.next] {
		if rng.IntN(2) == 0 && !a.ended && !a.reset && !a.dropped {
			c.goOn(a)
		}
		if a.fickle && rng.IntN(30) == 0 && !a.dropped && !(a.done && a.ended) && !a.reset {
			a.dropped = true
			c.frame(h2.TypeReset, 0, a.id, []byte{0, 0, 0, 8})
		}
		if left := a.granted + slices.Min(c.inits) - a.got; left < 2_000 && rng.IntN(4) == 0 && !a.done && !a.dropped && !a.reset {
			a.granted += c.grant(a.id)
		}
	}
	if h2.DefaultWindow+c.granted-c.got < 2_000 && rng.IntN(4) == 0 {
		c.granted += c.grant(0)
	}
}

// grant opens a window.
func (c *h2client) grant(id uint32) int64 {
	n := int64(1 + c.w.k.rng.IntN([]int{300, 5_000, 60_000}[c.w.k.rng.IntN(3)]))
	c.frame(h2.TypeWindow, 0, id, binary.BigEndian.AppendUint32(nil, uint32(n)))
	return n
}

// fields sends a field block in one or more frames.
func (c *h2client) fields(id uint32, end bool, kv ...string) {
	rng := c.w.k.rng
	c.block.Reset()
	for i := 0; i < len(kv); i += 2 {
		_ = c.enc.WriteField(hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	b := bytes.Clone(c.block.Bytes())
	flags := byte(0)
	if end {
		flags = h2.FlagEndStream
	}
	cut := len(b)
	if rng.IntN(3) == 0 {
		cut = rng.IntN(len(b) + 1)
	} else {
		flags |= h2.FlagEndHeaders
	}
	p, rest := b[:cut:cut], b[cut:]
	if rng.IntN(4) == 0 {
		flags |= h2.FlagPriority
		p = append([]byte{0, 0, 0, 0, 7}, p...)
	}
	if rng.IntN(4) == 0 {
		n := rng.IntN(20)
		flags |= h2.FlagPadded
		p = append(append([]byte{byte(n)}, p...), make([]byte, n)...)
	}
	c.frame(h2.TypeHeaders, flags, id, p)
	for flags&h2.FlagEndHeaders == 0 {
		k := rng.IntN(len(rest) + 1)
		if rng.IntN(2) == 0 {
			k = len(rest)
			flags |= h2.FlagEndHeaders
		}
		c.frame(h2.TypeContinuation, flags&h2.FlagEndHeaders, id, rest[:k])
		rest = rest[k:]
	}
}

// open begins a stream.
func (c *h2client) open(a *h2ask) {
	a.opened, a.window = true, c.streamWin
	kv := []string{":method", a.method, ":scheme", "http", ":authority", "a.test", ":path", a.path, "x-same", "again"}
	hasBody := a.method == "POST" || a.method == "PUT"
	if a.sized {
		kv = append(kv, "content-length", strconv.Itoa(len(a.ask.body)))
	}
	if a.trailers {
		kv = append(kv, "trailer", "x-sum")
	}
	a.ended = !hasBody
	c.fields(a.id, a.ended, kv...)
}

// goOn sends a piece of a body.
func (c *h2client) goOn(a *h2ask) {
	rng := c.w.k.rng
	left := len(a.ask.body) - a.sent
	if left == 0 && a.trailers {
		a.ended = true
		c.fields(a.id, true, "x-sum", strconv.Itoa(a.ask.id), "x-stray", "1")
		return
	}
	pad := 0
	if rng.IntN(4) == 0 {
		pad = 1 + rng.IntN(100)
	}
	room := int(min(a.window, c.window, h2.MaxFrame)) - pad
	if room < 0 || room == 0 && left > 0 {
		return
	}
	n := min(left, room)
	if n > 1 && rng.IntN(2) == 0 {
		n = 1 + rng.IntN(n)
	}
	flags := byte(0)
	if a.sent += n; n == left && !a.trailers && rng.IntN(3) > 0 || left == 0 {
		flags, a.ended = h2.FlagEndStream, true
	}
	p := a.ask.body[a.sent-n : a.sent]
	if pad > 0 {
		flags |= h2.FlagPadded
		p = append(append([]byte{byte(pad - 1)}, p...), make([]byte, pad-1)...)
	}
	c.frame(h2.TypeData, flags, a.id, p)
	a.window -= int64(len(p))
	c.window -= int64(len(p))
}

// read takes a frame of the edge's.
func (c *h2client) read() bool {
	if len(c.buf) < 9 {
		return false
	}
	size := int(c.buf[0])<<16 | int(c.buf[1])<<8 | int(c.buf[2])
	if len(c.buf) < 9+size {
		return false
	}
	typ, flags, id := h2.Type(c.buf[3]), c.buf[4], binary.BigEndian.Uint32(c.buf[5:])
	p := c.buf[9 : 9+size]
	c.buf = c.buf[9+size:]
	t := c.w.t
	if size > h2.MaxFrame || c.headersOn != 0 && typ != h2.TypeContinuation {
		t.Fatalf("frame %d of %d bytes, field block of %d under way", typ, size, c.headersOn)
	}
	switch typ {
	case h2.TypeSettings:
		if flags&h2.FlagAck != 0 {
			c.acknowledged()
			break
		}
		for ; len(p) >= 6; p = p[6:] {
			if binary.BigEndian.Uint16(p) == 4 {
				was := c.streamWin
				c.streamWin = int64(binary.BigEndian.Uint32(p[2:]))
				for _, a := range c.asks {
					a.window += c.streamWin - was
				}
			}
		}
		c.frame(h2.TypeSettings, h2.FlagAck, 0, nil)
	case h2.TypePing:
		c.pings--
	case h2.TypeGoAway:
		if !c.w.faults {
			t.Fatalf("GOAWAY: %x", p)
		}
		c.away = true
		for _, a := range c.asks[c.next:] {
			a.dropped = true
		}
	case h2.TypeWindow:
		n := int64(binary.BigEndian.Uint32(p))
		if id == 0 {
			c.window += n
		} else {
			c.find(id).window += n
		}
	case h2.TypeHeaders:
		c.headers, c.headersOn, c.headersIs = bytes.Clone(p), id, flags
		if flags&h2.FlagEndHeaders != 0 {
			c.heads()
		}
	case h2.TypeContinuation:
		c.headers = append(c.headers, p...)
		if flags&h2.FlagEndHeaders != 0 {
			c.heads()
		}
	case h2.TypeData:
		c.data(c.find(id), p, flags&h2.FlagEndStream != 0)
	case h2.TypeReset:
		c.wasReset(c.find(id), h2.Code(binary.BigEndian.Uint32(p)))
	default:
		t.Fatalf("frame of type %d", typ)
	}
	return true
}

func (c *h2client) find(id uint32) *h2ask {
	i := int(id-1) / 2
	switch {
	case id%2 == 1 && i < len(c.asks) && c.asks[i].opened:
		return c.asks[i]
	case !c.wicked:
		c.w.t.Fatalf("a frame on stream %d", id)
	}
	return &h2ask{id: id, dropped: true}
}

// heads takes a field block.
func (c *h2client) heads() {
	t, a := c.w.t, c.find(c.headersOn)
	c.headersOn = 0
	if c.least < c.told { // RFC 7541 §4.2: the smallest is told first
		if len(c.headers) == 0 || c.headers[0]&0xe0 != 0x20 || c.least < 31 && int(c.headers[0]&31) > c.least {
			t.Fatalf("the table was made smaller, to %d, and the block begins with % x", c.least, c.headers[:min(4, len(c.headers))])
		}
	}
	c.told, c.least = c.table, c.table
	c.dec.SetAllowedMaxDynamicTableSize(uint32(c.table))
	for len(c.headers) > 0 && c.headers[0]&0xe0 == 0x20 { // the decoder errs where a second one follows and the table is not empty
		n := 1
		for c.headers[0]&31 == 31 && c.headers[n]&0x80 != 0 {
			n++
		}
		if c.headers[0]&31 == 31 {
			n++
		}
		if _, err := c.dec.DecodeFull(c.headers[:n]); err != nil {
			t.Fatalf("table size update % x: %v", c.headers[:n], err)
		}
		c.headers = c.headers[n:]
	}
	list, err := c.dec.DecodeFull(c.headers)
	if err != nil {
		t.Fatalf("field block of stream %d: %v", a.id, err)
	}
	if a.dropped || a.reset && !c.wicked {
		return
	}
	m := map[string]string{}
	for _, f := range list {
		m[f.Name] = f.Value
	}
	end := c.headersIs&h2.FlagEndStream != 0
	switch s := m[":status"]; {
	case a.done:
		t.Fatalf("stream %d: fields behind the end", a.id)
	case a.head != nil:
		if s != "" || !end {
			t.Fatalf("stream %d: trailers %v, end %v", a.id, m, end)
		}
		a.tail = m
	case strings.HasPrefix(s, "1"):
		if end {
			t.Fatalf("stream %d: an interim head ends it", a.id)
		}
		return
	default:
		a.head = m
	}
	if end {
		c.answered(a)
	}
}

// data takes a piece of an answer.
func (c *h2client) data(a *h2ask, p []byte, end bool) {
	t := c.w.t
	a.got += int64(len(p))
	c.got += int64(len(p))
	if c.got > h2.DefaultWindow+c.granted || a.got > slices.Max(c.inits)+a.granted && len(p) > 0 {
		t.Fatalf("stream %d: more than the window: %d of %d, connection %d of %d", a.id, a.got, slices.Max(c.inits)+a.granted, c.got, h2.DefaultWindow+c.granted)
	}
	if a.dropped {
		return
	}
	if a.head == nil || a.done {
		t.Fatalf("stream %d: DATA before the head or behind the end", a.id)
	}
	a.body = append(a.body, p...)
	if end {
		c.answered(a)
	}
}

// answered holds that a whole answer is the one to a.
func (c *h2client) answered(a *h2ask) {
	t := c.w.t
	a.done = true
	status := a.head[":status"]
	switch {
	case c.wicked && status != "200":
	case strings.HasPrefix(a.path, "/none"):
		if status != "404" {
			t.Fatalf("%s: %s", a.path, status)
		}
	case strings.HasPrefix(a.path, "/own"):
		if status != "403" {
			t.Fatalf("%s: %s", a.path, status)
		}
	case status == "200":
		if a.head["x-id"] != strconv.Itoa(a.ask.id) {
			t.Fatalf("request %d got the answer to %s", a.ask.id, a.head["x-id"])
		}
		n, _ := strconv.Atoi(a.head["x-len"])
		want := pattern(a.ask.id+1, n)
		if a.method == "HEAD" {
			want = nil
		}
		if !bytes.Equal(a.body, want) {
			t.Fatalf("request %d: body of %d bytes differs from %d", a.ask.id, len(a.body), len(want))
		}
		if l := a.head["content-length"]; l != "" && a.method != "HEAD" && l != strconv.Itoa(len(a.body)) {
			t.Fatalf("request %d: content-length %s of %d bytes", a.ask.id, l, len(a.body))
		}
	case !c.w.faults:
		t.Fatalf("request %d: status %s %q", a.ask.id, status, a.body)
	case status != "502" && status != "503" && status != "504" && status != "499":
		t.Fatalf("request %d: status %s", a.ask.id, status)
	}
}

// wasReset takes the edge's reset of a stream.
func (c *h2client) wasReset(a *h2ask, code h2.Code) {
	if a.dropped {
		return // they may have crossed
	}
	if code == h2.NoError && a.done || c.w.faults {
		a.reset = true
		return
	}
	c.w.t.Fatalf("stream %d (%s %s) was reset with %d; answered %v, head %v", a.id, a.method, a.path, code, a.done, a.head)
}

func (c *h2client) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, window %d, granted %d, got %d, unacknowledged %d, pings %d, wicked %v, away %v\n", c.why, c.window, c.granted, c.got, len(c.tables), c.pings, c.wicked, c.away)
	if conn := c.w.l.conns[c.s.fd]; conn != nil && conn.cl != nil && conn.cl.fr != nil {
		fr := conn.cl.fr
		fmt.Fprintf(&b, "edge: %d streams, recv %d, credit %d, window %d\n", len(fr.streams), fr.recv, fr.credit, fr.window)
	}
	for _, a := range c.asks {
		fmt.Fprintf(&b, "%d %s %s: opened %v, sent %d of %d, ended %v, done %v, reset %v, dropped %v, window %d, granted %d, got %d, head %v\n",
			a.id, a.method, a.path, a.opened, a.sent, len(a.ask.body), a.ended, a.done, a.reset, a.dropped, a.window, a.granted, a.got, a.head)
	}
	return b.String()
}
