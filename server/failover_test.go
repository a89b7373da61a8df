package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReasonOfWhatSucceeded: a request that a second server answers is no failure of the
// edge, whatever the first did.
func TestReasonOfWhatSucceeded(t *testing.T) {
	both(t, func(t *testing.T, lane string) {
		one, _ := backend(t, "one")
		dynamic := strings.Replace(routes("a.test", "http://127.0.0.1:1"), "- url: http://127.0.0.1:1", "- url: http://127.0.0.1:1\n          - url: "+one, 1)
		e := start(t, lane, plain+"accessLog:\n  filePath: DIR/access.log\n  format: json\n", dynamic)
		for range 4 {
			if got := e.get("web", "a.test/"); got != "200 one" {
				t.Fatal(got)
			}
		}
		var text string
		e.eventually("four requests are logged", func() bool {
			b, _ := os.ReadFile(filepath.Join(filepath.Dir(e.static), "access.log"))
			text = string(b)
			return strings.Count(text, "\n") == 4
		})
		if !strings.Contains(text, `"RetryAttempts":1`) || strings.Contains(text, "dial_refused") {
			t.Error(text)
		}
	})
}
