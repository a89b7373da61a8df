// Package page makes the HTML pages that browsers get in place of the plain text of the
// edge's own answers, where sluice.pages is on. It changes bodies, never statuses.
package page

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// maxPage bounds a page of the user's own, in bytes.
const maxPage = 1 << 20

//go:embed page.html
var files embed.FS

// kind is one of the built-in pages.
type kind struct {
	name, title, text string
	refresh           int // seconds until the page loads itself again; 0 never
}

var kinds = [...]kind{
	{"not-found", "Not found", "There is no site at this address.", 0},
	{"starting", "Starting", "The application is starting. This page loads again by itself.", 2},
	{"unavailable", "Unavailable", "The application does not answer at the moment. Please come back in a little while.", 0},
	{"maintenance", "Maintenance", "", 0},
}

// Set holds the pages. It is immutable; nil has none.
type Set struct {
	byKind   map[string][]byte
	byStatus map[int][]byte // the user's own, by status
	own      map[string]bool
}

// Load makes the built-in pages; those in dir take their place: STATUS.html (404.html,
// 503.html ...) or KIND.html (not-found, starting, unavailable, maintenance), of which the
// kind counts more. dir may be empty.
func Load(dir string) (*Set, error) {
	s := &Set{byKind: map[string][]byte{}, byStatus: map[int][]byte{}, own: map[string]bool{}}
	t, err := template.ParseFS(files, "page.html")
	if err != nil {
		return nil, err
	}
	for _, k := range kinds {
		var b bytes.Buffer
		if err := t.Execute(&b, map[string]any{"Title": k.title, "Text": k.text, "Refresh": k.refresh}); err != nil {
			return nil, err
		}
		s.byKind[k.name] = b.Bytes()
		own, err := read(dir, k.name)
		if err != nil {
			return nil, err
		}
		if own != nil {
			s.byKind[k.name], s.own[k.name] = own, true
		}
	}
	for _, status := range []int{404, 500, 502, 503, 504} {
		own, err := read(dir, strconv.Itoa(status))
		if err != nil {
			return nil, err
		}
		if own != nil {
			s.byStatus[status] = own
		}
	}
	return s, nil
}

// read gives nil where there is no such file.
func read(dir, name string) ([]byte, error) {
	if dir == "" {
		return nil, nil
	}
	b, err := os.ReadFile(filepath.Join(dir, name+".html"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && len(b) > maxPage {
		err = fmt.Errorf("page %s.html is larger than %d bytes", name, maxPage)
	}
	return b, err
}

// Dress gives the answer of the edge that is in ex its page, if the client is a browser
// that asks for one and the answer is about a site that is not there.
func (s *Set) Dress(ex *exchange.Exchange) {
	k := kindOf(ex.Reason)
	if k == "" || !ex.Browses() {
		return
	}
	if ex.Reason == exchange.InMaintenance && !s.own[k] {
		return // it has made its own
	}
	b := s.byKind[k]
	if own := s.byStatus[ex.Resp.Status]; own != nil && !s.own[k] {
		b = own
	}
	ex.Body = b
	f := &ex.Resp.Fields
	f.Set("Content-Type", "text/html; charset=utf-8")
	f.Set("X-Content-Type-Options", "nosniff")
	f.Set("Cache-Control", "no-store")
	f.Set("Vary", "Accept")
	ex.Resp.Framing, ex.Resp.Length = exchange.Sized, int64(len(b))
}

// DressWaking is Dress for what wakes alone: whoever lets an application sleep wants its visitors
// to see it start, also where pages are not switched on.
func (s *Set) DressWaking(ex *exchange.Exchange) {
	if ex.Reason == exchange.Waking {
		s.Dress(ex)
	}
}

// kindOf is the page that goes with a reason; "" for none.
func kindOf(r exchange.Reason) string {
	switch r {
	case exchange.NoRouter, exchange.WrongEntryPoint, exchange.WrongScheme:
		return "not-found"
	case exchange.Starting, exchange.Waking:
		return "starting"
	case exchange.InMaintenance:
		return "maintenance"
	case exchange.NoServer, exchange.NoServerUp, exchange.RouterBroken, exchange.Draining, exchange.BreakerOpen,
		exchange.DialRefused, exchange.DialTimeout, exchange.DialFailed, exchange.DialNoHost,
		exchange.UpstreamTLS, exchange.UpstreamEOF, exchange.UpstreamBad, exchange.UpstreamSlow:
		return "unavailable"
	}
	return ""
}
