package decode_test

import (
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/config/decode"
)

func TestDocument(t *testing.T) {
	for name, c := range map[string]struct {
		ext, text string
		whole     bool
		problem   string // how a Source begins; empty for no Problem
	}{
		"good":    {".yaml", "http: {routers: {a: {rule: Path(`/`), service: b}}}", true, ""},
		"JSON":    {".json", `{"http": {"routers": {"a": {"rule": "Path(` + "`/`" + `)", "service": "b"}}}}`, true, ""},
		"broken":  {".json", `{"http": `, false, "endpoint x"},
		"unknown": {".pdf", "x", false, "endpoint x"},
		"placed":  {".yaml", "http:\n  services:\n    a: {loadBalancer: {servers: [{url: 'http://a', weight: many}]}}\n", false, "endpoint x:3:"},
	} {
		t.Run(name, func(t *testing.T) {
			dyn, problems := decode.Document("endpoint x", c.ext, []byte(c.text))
			if (dyn != nil) != c.whole || (len(problems) == 0) != (c.problem == "") {
				t.Fatalf("%+v, %v", dyn, problems)
			}
			for _, q := range problems {
				if !strings.HasPrefix(q.Source, c.problem) {
					t.Errorf("source %q", q.Source)
				}
			}
		})
	}
}
