package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

// Names stand for ranges in the lists of trusted addresses, a file of the user's for its lines.
func TestNamedRangesAreTrusted(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lb.txt")
	if err := os.WriteFile(file, []byte("# ours\n192.0.2.0/24\n127.0.0.1 # here\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	}))
	t.Cleanup(echo.Close)
	for _, c := range []struct {
		trusted, ranges string
		want            bool
	}{
		{"loopback", "", true}, {"private", "", false}, {"cloudflare", "", false}, {"lb", "  ranges:\n    lb: " + file + "\n", true},
		{"cloudflare", "  ranges:\n    cloudflare: " + file + "\n", true}, {"127.0.0.1/32", "", true},
	} {
		both(t, func(t *testing.T, lane string) {
			e := start(t, lane, "entryPoints:\n  web:\n    address: 127.0.0.1:0\n    forwardedHeaders:\n      trustedIPs: ["+c.trusted+"]\n"+
				"providers:\n  file:\n    filename: DYNAMIC\nsluice:\n  lane: LANE\n"+c.ranges, routes("a.test", echo.URL))
			var got string
			e.eventually("the route", func() bool {
				q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.address("web")+"/", nil)
				if err != nil {
					t.Fatal(err)
				}
				q.Host = "a.test"
				q.Header.Set("X-Forwarded-For", "198.51.100.7")
				resp, err := http.DefaultClient.Do(q)
				if err != nil || resp.StatusCode != http.StatusOK {
					return false
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				got = string(b)
				return err == nil
			})
			http.DefaultClient.CloseIdleConnections()
			if trusted := strings.HasPrefix(got, "198.51.100.7"); trusted != c.want {
				t.Errorf("%s %q: X-Forwarded-For %q, trusted should be %v", c.trusted, c.ranges, got, c.want)
			}
		})
	}
}

func TestRangesOfAFileThatIsNotThere(t *testing.T) {
	s := &Server{}
	s.static.Store(&config.Static{Sluice: &config.Sluice{Ranges: map[string]string{"lb": "/nowhere/lb.txt"}}})
	if _, err := s.ranges([]string{"lb"}); err == nil || !strings.Contains(err.Error(), "sluice.ranges.lb") {
		t.Errorf("error %v", err)
	}
}

// What providers notice around the process is a Problem of the API, once.
func TestNoticesAreProblems(t *testing.T) {
	e := start(t, "auto", "log:\n  level: INFO\nentryPoints:\n  web:\n    address: 127.0.0.1:0\n", "")
	p := config.Problem{Source: "clients", Code: config.CodeLostAddress, Severity: config.Warning, Text: "clients arrive with another address", Suggestion: "mode: host"}
	e.notice(p)
	e.notice(p)
	n := 0
	for _, o := range e.runtime().Problems {
		if o == p {
			n++
		}
	}
	if n != 1 || strings.Count(e.log.String(), p.Text) != 1 {
		t.Errorf("%d problems\n%s", n, e.log)
	}
}
