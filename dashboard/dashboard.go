// Package dashboard serves the web page that shows what the API tells. The page is
// built from the TypeScript beside this file; the built files are embedded.
package dashboard

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed dist
var built embed.FS

// policy lets the page load its own files and ask its own origin, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"

// Handler serves the page at "/" and its files below "/assets/"; everything else is not
// found. Mount it with the prefix stripped. The page finds the API at "../api" of its own address.
func Handler() http.Handler {
	files, err := fs.Sub(built, "dist")
	if err != nil { // the directory is embedded: it cannot be missing
		return http.NotFoundHandler()
	}
	return &page{files: files}
}

type page struct{ files fs.FS }

// ServeHTTP implements http.Handler.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case name == "index.html": // as a file server has it, and the reference
		h.Set("Location", "./")
		w.WriteHeader(http.StatusMovedPermanently)
		return
	case name == "":
		name = "index.html"
		// Its asset names change with their content, so the page itself is never kept.
		h.Set("Cache-Control", "no-cache")
	case strings.HasPrefix(name, "assets/") && name == path.Clean(name):
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	default:
		http.NotFound(w, r)
		return
	}
	body, err := fs.ReadFile(p.files, name)
	if err != nil {
		h.Del("Cache-Control")
		http.NotFound(w, r)
		return
	}
	h.Set("Content-Type", contentType(name))
	_, _ = w.Write(body)
}

// contentType is written out: the system's table of types may be missing in a container.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "application/octet-stream"
}
