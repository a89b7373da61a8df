package telemetry

import (
	"math/rand/v2"
	"testing"

	"github.com/sluice-edge/sluice/config"
)

// TestMemoChangesNoLine writes random records of few routes with a memo that is kept, for two
// formats in turns, and compares with lines that were written without one.
func TestMemoChangesNoLine(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	some := func(words ...string) string { return words[random.IntN(len(words))] }
	plain, fewer := defaults(), defaults()
	plain.Format, fewer.Format = "json", "json"
	fewer.Fields.Names = map[string]string{"ServiceURL": "drop", "RequestPort": "drop"}
	formats := []*format{newFormat(plain), newFormat(fewer)}
	kept := &memo{}
	for n := range 20_000 {
		r := sample()
		r.EntryPoint, r.Proto = some("web", "websecure"), some("HTTP/1.1", "HTTP/2.0")
		r.Router, r.Balancer = some("a@file", "b\"@file", ""), some("", "child@file")
		r.ServerURL, r.ServerAddr = some("http://10.0.0.1", "http://10.0.0.2", ""), some("10.0.0.1:80", "")
		r.Host, r.Retries = some("a.test", "a.test:80", "a.test:", ""), random.IntN(2)
		r.TLSVersion = uint16(random.IntN(2)) * 0x304
		r.Duration = int64(random.IntN(3)) * 1e9
		f := formats[random.IntN(len(formats))]
		got, want := string(f.append(nil, &r, 1, kept)), string(f.append(nil, &r, 1, &memo{}))
		if got != want {
			t.Fatalf("%d: got %swant %s", n, got, want)
		}
	}
}

// BenchmarkRequestJSONManyRoutes has more routes than a memo keeps.
func BenchmarkRequestJSONManyRoutes(b *testing.B) {
	h := newHub(b, accessLog(func(c *config.AccessLog) { c.Format = "json" }))
	s := h.Shard()
	records := make([]Record, 8*memoSize)
	for i := range records {
		records[i] = sample()
		records[i].Router = string(rune('a'+i%26)) + string(rune('a'+i/26)) + "@file"
	}
	spare := batch{}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Request(&records[i%len(records)])
		if len(s.batch.lines) > 1<<18 {
			spare = s.take(spare)
		}
	}
}
