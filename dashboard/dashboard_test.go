package dashboard

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func answer(method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

// TestPageAndItsFiles loads the page and everything it names, as a browser would.
func TestPageAndItsFiles(t *testing.T) {
	page := answer(http.MethodGet, "/")
	if page.Code != 200 || page.Header().Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", page.Code, page.Header())
	}
	if got := page.Header().Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") {
		t.Errorf("policy %q", got)
	}
	files := regexp.MustCompile(`(?:src|href)="\./(assets/[^"]+)"`).FindAllStringSubmatch(page.Body.String(), -1)
	if len(files) < 2 {
		t.Fatalf("the page names %d files: %s", len(files), page.Body)
	}
	for _, f := range files {
		w := answer(http.MethodGet, "/"+f[1])
		if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Body.Len() == 0 {
			t.Errorf("%s: %d %v", f[1], w.Code, w.Header())
		}
		want := map[string]string{".js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}[f[1][len(f[1])-3:]]
		if got := w.Header().Get("Content-Type"); got != want {
			t.Errorf("%s: type %q", f[1], got)
		}
	}
	if strings.Contains(page.Body.String(), `="/assets`) || strings.Contains(page.Body.String(), "://") && !strings.Contains(page.Body.String(), "www.w3.org") {
		t.Error("the page names an absolute address")
	}
}

func TestEverythingElseIsRefused(t *testing.T) {
	tests := []struct {
		method, path string
		status       int
	}{
		{http.MethodHead, "/", 200},
		{http.MethodGet, "/index.html", 200},
		{http.MethodGet, "/dashboard/", 404},
		{http.MethodGet, "/api/version", 404},
		{http.MethodGet, "/assets/", 404},
		{http.MethodGet, "/assets/none.js", 404},
		{http.MethodGet, "/assets/../index.html", 404},
		{http.MethodGet, "/package.json", 404},
		{http.MethodPost, "/", 405},
	}
	for _, tt := range tests {
		if w := answer(tt.method, tt.path); w.Code != tt.status {
			t.Errorf("%s %s: %d", tt.method, tt.path, w.Code)
		}
	}
}
