package dashboard

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
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
		{http.MethodGet, "/index.html", 301},
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

// TestEveryReasonHasAMeaning compares what the page can explain with what the edge says.
func TestEveryReasonHasAMeaning(t *testing.T) {
	said := words(t, "../proxy/exchange/reason.go", `(?m)^\s+\w+\s+Reason = "(\w+)"`)
	explained := words(t, "src/reasons.ts", `(?m)^  (\w+): \{ status: "`)
	if len(said) < 30 {
		t.Fatalf("only %d Reasons were found", len(said))
	}
	for word := range said {
		if !explained[word] {
			t.Errorf("%s has no meaning in src/reasons.ts", word)
		}
	}
}

// TestBuiltFromTheSource fails where the source was changed and the built page was not: the
// texts of the source are in what is built.
func TestBuiltFromTheSource(t *testing.T) {
	scripts, err := fs.Glob(built, "dist/assets/*.js")
	if err != nil || len(scripts) != 1 {
		t.Fatalf("%v, %v", scripts, err)
	}
	script, err := fs.ReadFile(built, scripts[0])
	if err != nil {
		t.Fatal(err)
	}
	for text := range words(t, "src/reasons.ts", `text: "([^"]+)" }`) {
		if !strings.Contains(string(script), text) {
			t.Errorf("%q is not in %s; run npm run build", text, scripts[0])
		}
	}
}

func words(t *testing.T, file, pattern string) map[string]bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(b), -1) {
		found[m[1]] = true
	}
	return found
}
