package apps

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// patience is how long the service waits for the browser to have seen an event. One that
// is held back until the next, or until the end of the stream, is never seen.
const patience = 20 * time.Second

const eventsFile = `
http:
  routers:
    all: {rule: PathPrefix("/"), service: app, middlewares: [compress]}
  services:
    app: {loadBalancer: {servers: [{url: "@url"}]}}
  middlewares:
    compress: {compress: {}}
`

// browser returns the path of Chromium, or skips the test.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("SLUICE_REQUIRE_BROWSER") != "" {
		t.Fatal("no browser is installed")
	}
	t.Skip("no browser is installed ('apt install chromium')")
	return ""
}

// TestEventsInABrowser opens a page behind compress in headless Chromium: events and lines
// of answers that go on arrive at once, compressed, beside a WebSocket.
func TestEventsInABrowser(t *testing.T) {
	chromium := browser(t)
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			inLanes(t, func(t *testing.T, env []string) { eventsInABrowser(t, chromium, env, scheme) })
		})
	}
}

// seenBy is what the page reports in the end.
type seenBy struct {
	Error    string
	Events   []string
	Echoes   []string
	Streamed struct{ Encoding, Got string }
	Encoding string
	Size     int
	Protocol string
}

func eventsInABrowser(t *testing.T, chromium string, env []string, scheme string) {
	app := newEventApp(t)
	service := httptest.NewServer(app)
	t.Cleanup(service.Close)
	dir := t.TempDir()
	file := filepath.Join(dir, "routes.yml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(eventsFile, "@url", service.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := testnet.FreeAddr(t)
	args := []string{"--entrypoints.web.address=" + addr, "--providers.file.filename=" + file}
	if scheme == "https" {
		args = append(args, "--entrypoints.web.http.tls=true")
	}
	edge := start(t, dir, env, binary, args...)
	edge.up(t, addr)
	live(t, scheme+"://"+addr+"/")
	b := start(t, dir, []string{"HOME=" + dir}, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--ignore-certificate-errors", "--remote-debugging-port=0", "--user-data-dir="+filepath.Join(dir, "profile"), scheme+"://"+addr+"/")
	var seen seenBy
	select {
	case seen = <-app.done:
	case <-b.done:
		t.Fatal("the browser ended")
	case <-time.After(time.Minute):
		t.Fatalf("the page has not reported; the service: %v", app.log())
	}
	b.stop(t)
	if trouble := app.log(); seen.Error != "" || len(trouble) > 0 {
		t.Fatalf("the page: %s; the service: %v", seen.Error, trouble)
	}
	if want := slices.Concat(app.events, []string{"line one", "line two"}); !slices.Equal(seen.Events, app.events) || !slices.Equal(seen.Echoes, want) {
		t.Errorf("events %v, echoes %v; want %v and %v", seen.Events, seen.Echoes, app.events, want)
	}
	if seen.Streamed.Got != "one\ntwo\n" || seen.Streamed.Encoding == "" {
		t.Errorf("the lines: %+v", seen.Streamed)
	}
	if seen.Size != len(app.text) || seen.Encoding == "" {
		t.Errorf("the text: %d bytes, encoded %q", seen.Size, seen.Encoding)
	}
	if want := map[string]string{"http": "http/1.1", "https": "h2"}[scheme]; seen.Protocol != want {
		t.Errorf("protocol %s, want %s", seen.Protocol, want)
	}
	t.Logf("%s, encoded %s; slowest event after %v", seen.Protocol, seen.Encoding, time.Duration(app.slowest.Load()))
}

// eventApp sends events and waits after each until the browser has it.
type eventApp struct {
	*http.ServeMux
	events  []string
	text    string
	seen    chan string
	done    chan seenBy
	trouble chan string
	slowest atomic.Int64 // nanoseconds
}

func newEventApp(t *testing.T) *eventApp {
	page, err := os.ReadFile(filepath.Join("testdata", "browser", "page.html"))
	if err != nil {
		t.Fatal(err)
	}
	a := &eventApp{ServeMux: http.NewServeMux(), events: []string{"1", "2", "3", "4", "last"}, text: strings.Repeat("tell me why ", 1000),
		seen: make(chan string, 16), done: make(chan seenBy, 1), trouble: make(chan string, 16)}
	a.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write(page)
	})
	a.HandleFunc("GET /text", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, a.text)
	})
	a.HandleFunc("GET /events", a.stream("text/event-stream", "data: %s\n\n", "", a.events...))
	a.HandleFunc("GET /lines", a.stream("text/plain; charset=utf-8", "%s\n", "line ", "one", "two"))
	a.Handle("GET /socket", websocket.Handler(func(c *websocket.Conn) {
		var text string
		for websocket.Message.Receive(c, &text) == nil {
			a.seen <- text
			_ = websocket.Message.Send(c, text)
		}
	}))
	a.HandleFunc("POST /done", func(w http.ResponseWriter, r *http.Request) {
		var s seenBy
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
			s.Error = err.Error()
		}
		a.done <- s
		w.WriteHeader(http.StatusNoContent)
	})
	return a
}

// stream sends texts, each once the browser has said over the WebSocket that it has the one before.
func (a *eventApp) stream(kind, format, prefix string, texts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			a.trouble <- "the browser does not accept gzip: " + r.Header.Get("Accept-Encoding")
		}
		w.Header().Set("Content-Type", kind)
		for _, text := range texts {
			sent := time.Now()
			_, _ = fmt.Fprintf(w, format, text)
			if err := http.NewResponseController(w).Flush(); err != nil {
				a.trouble <- err.Error()
			}
			select {
			case got := <-a.seen:
				if got != prefix+text {
					a.trouble <- fmt.Sprintf("the browser has %q, not %q", got, prefix+text)
				}
			case <-time.After(patience):
				a.trouble <- fmt.Sprintf("the browser has not seen %q within %v", text, patience)
				return // the end of the request says nothing: the page closes the stream before it tells of the last event
			}
			if took := int64(time.Since(sent)); took > a.slowest.Load() {
				a.slowest.Store(took)
			}
		}
	}
}

// log is what went wrong on the service's side.
func (a *eventApp) log() (all []string) {
	for {
		select {
		case s := <-a.trouble:
			all = append(all, s)
		default:
			return all
		}
	}
}
