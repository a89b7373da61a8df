package balance

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// mirrorLimit bounds how long a mirrored request may take after the client was answered.
const mirrorLimit = 30 * time.Second

// mirrorsAtOnce bounds mirrored requests under way; above it requests are not mirrored,
// so that a slow mirror never fills the memory.
const mirrorsAtOnce = 256

// mirroring sends copies of requests to other services and drops their answers.
type mirroring struct {
	main    Child
	mainH   http.Handler
	body    bool
	max     int64
	checked bool
	slots   chan struct{}
	mirrors []mirror
	rot     *rotation // counts what was sent, over tables
}

type mirror struct {
	h   http.Handler
	key mirrorKey
}

// mirrorKey names the counters of a mirror. Another share begins to count anew.
type mirrorKey struct {
	name       string
	nth        int // mirrors may have the same name
	percent    int
	candidates bool // counts the requests that might have been sent, else those that were
}

// Mirroring builds a mirroring service; mirrors are in the order of cfg.Mirrors.
func (d *Draft) Mirroring(name string, cfg *config.Mirroring, main Child, mirrors []Child, f Forward) (Child, error) {
	m := &mirroring{main: main, mainH: main.handler(f), body: true, max: -1, checked: cfg.HealthCheck != nil, slots: make(chan struct{}, mirrorsAtOnce)}
	if cfg.MirrorBody != nil {
		m.body = *cfg.MirrorBody
	}
	if cfg.MaxBodySize != nil {
		m.max = *cfg.MaxBodySize
	}
	for i, c := range cfg.Mirrors {
		if c.Percent < 0 || c.Percent > 100 {
			return Child{}, errors.New("mirrors: percent must be between 0 and 100")
		}
		m.mirrors = append(m.mirrors, mirror{mirrors[i].handler(f), mirrorKey{name: c.Name, nth: i, percent: c.Percent}})
	}
	d.book.mu.Lock()
	m.rot = d.book.positions[name]
	d.book.mu.Unlock()
	if m.rot == nil || len(m.rot.current) > 16*(len(m.mirrors)+1) {
		m.rot = &rotation{}
	}
	d.positions[name] = m.rot
	return Child{Name: name, Handler: m}, nil
}

// Up reports whether the main service is up.
func (m *mirroring) Up(now int64) bool { return childUp(m.main, now) }

// Checked reports whether the service passes the main service's health on.
func (m *mirroring) Checked() bool { return m.checked }

// due returns the mirrors whose turn it is.
func (m *mirroring) due() (hs []http.Handler) {
	m.rot.mu.Lock()
	defer m.rot.mu.Unlock()
	if m.rot.current == nil {
		m.rot.current = map[any]int{}
	}
	for _, mi := range m.mirrors {
		sent, of := mi.key, mi.key
		of.candidates = true
		m.rot.current[of]++
		if m.rot.current[sent]*100 < m.rot.current[of]*mi.key.percent {
			m.rot.current[sent]++
			hs = append(hs, mi.h)
		}
	}
	return hs
}

// ServeHTTP answers by the main service and copies the request afterwards.
func (m *mirroring) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hs := m.due()
	ex := exchange.FromContext(r.Context()) // nil for a request that a middleware made by itself
	if len(hs) == 0 || ex != nil && ex.Req.Upgrade != "" {
		m.mainH.ServeHTTP(w, r)
		return
	}
	var kept []byte
	if m.body && r.Body != nil && r.Body != http.NoBody {
		body, whole, err := keepBody(r.Body, m.max)
		if err != nil {
			m.mainH.ServeHTTP(w, r) // the main service finds out by itself what is wrong
			return
		}
		r.Body = replay{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
		if !whole {
			m.mainH.ServeHTTP(w, r)
			return
		}
		kept = body
	}
	copies := make([]*http.Request, len(hs))
	for i := range hs {
		copies[i] = copyRequest(r, ex, kept, m.body)
	}
	m.mainH.ServeHTTP(w, r)
	if r.Context().Err() != nil || ex != nil && ex.Reason == exchange.ClientGone {
		return // the client has taken the request back
	}
	for i, h := range hs {
		select {
		case m.slots <- struct{}{}:
		default:
			continue
		}
		go func() {
			defer func() { <-m.slots }()
			ctx, cancel := detach(copies[i], mirrorLimit)
			defer cancel()
			h.ServeHTTP(&discard{h: http.Header{}}, copies[i].WithContext(ctx))
		}()
	}
}

// copyRequest makes a request of its own, with an exchange of its own where r has one.
func copyRequest(r *http.Request, ex *exchange.Exchange, body []byte, withBody bool) *http.Request {
	var cx *exchange.Exchange
	if ex != nil {
		cx = ex.Clone()
	}
	c := r.Clone(exchange.NewContext(context.WithoutCancel(r.Context()), cx))
	framing := exchange.Sized
	c.Body, c.ContentLength, c.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	if !withBody || len(body) == 0 {
		framing = exchange.NoBody
		c.Body, c.ContentLength = http.NoBody, 0
		c.Header.Del("Content-Length")
	}
	if cx != nil {
		cx.Req.Framing, cx.Req.Length = framing, c.ContentLength
		if framing == exchange.NoBody {
			cx.Req.Fields.Del("Content-Length")
		}
	}
	return c
}

// keepBody reads up to limit bytes (negative: all) and reports whether that was all.
func keepBody(r io.Reader, limit int64) ([]byte, bool, error) {
	if limit < 0 {
		b, err := io.ReadAll(r)
		return b, true, err
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	return b, int64(len(b)) <= limit, err
}

// replay is a body whose first bytes were read already.
type replay struct {
	io.Reader
	io.Closer
}

// discard is a ResponseWriter for answers nobody reads.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) Flush()                      {}
