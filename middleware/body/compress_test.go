package body

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

func newCompress(t testing.TB, cfg *config.Compress) exchange.Stage {
	t.Helper()
	s, err := NewCompress(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sized answers n bytes of text, with the fields asked for.
func sized(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	w.Header().Set("Content-Type", "application/json")
	for _, f := range q["h"] {
		name, value, _ := strings.Cut(f, ":")
		w.Header().Set(name, value)
	}
	n, _ := strconv.Atoi(q.Get("n"))
	if q.Get("cl") != "" {
		w.Header().Set("Content-Length", q.Get("n"))
	}
	status := 200
	if s := q.Get("s"); s != "" {
		status, _ = strconv.Atoi(s)
	}
	w.WriteHeader(status)
	for n > 0 {
		k := min(n, 700)
		if _, err := w.Write([]byte(strings.Repeat("x", k))); err != nil {
			return
		}
		n -= k
		if q.Get("flush") != "" {
			_ = http.NewResponseController(w).Flush()
		}
	}
}

func TestCompress(t *testing.T) {
	url, _ := serve(t, newCompress(t, &config.Compress{}), sized)
	some, _ := serve(t, newCompress(t, &config.Compress{IncludedContentTypes: []string{"application/json"}, Encodings: []string{"zstd", "br"}, MinResponseBodyBytes: 10}), sized)
	exc, _ := serve(t, newCompress(t, &config.Compress{ExcludedContentTypes: []string{"application/x-up"}, DefaultEncoding: "gzip"}), sized)
	br, _ := serve(t, newCompress(t, &config.Compress{DefaultEncoding: "br"}), sized)
	for _, c := range []struct {
		name, url, method, path string
		fields                  []string
		coding, vary            string
		size                    int
	}{
		{"no Accept-Encoding", url, "GET", "/?n=3000", nil, "", "", 3000},
		{"too small", url, "GET", "/?n=1023", []string{"Accept-Encoding", "gzip"}, "", "Accept-Encoding", 1023},
		{"too small, sized", url, "GET", "/?n=1023&cl=1", []string{"Accept-Encoding", "gzip"}, "", "Accept-Encoding", 1023},
		{"too small, streamed", url, "GET", "/?n=600&flush=1", []string{"Accept-Encoding", "gzip"}, "", "Accept-Encoding", 600},
		{"just large enough", url, "GET", "/?n=1024", []string{"Accept-Encoding", "gzip"}, "gzip", "Accept-Encoding", 1024},
		{"sized", url, "GET", "/?n=1024&cl=1", []string{"Accept-Encoding", "gzip"}, "gzip", "Accept-Encoding", 1024},
		{"br", url, "GET", "/?n=3000", []string{"Accept-Encoding", "br"}, "br", "Accept-Encoding", 3000},
		{"zstd", url, "GET", "/?n=3000", []string{"Accept-Encoding", "zstd"}, "zstd", "Accept-Encoding", 3000},
		{"order of the list", url, "GET", "/?n=3000", []string{"Accept-Encoding", "br, gzip"}, "gzip", "Accept-Encoding", 3000},
		{"large", url, "GET", "/?n=300000", []string{"Accept-Encoding", "zstd"}, "zstd", "Accept-Encoding", 300000},
		{"streamed", url, "GET", "/?n=3000&flush=1", []string{"Accept-Encoding", "br"}, "br", "Accept-Encoding", 3000},
		{"encoded already", url, "GET", "/?n=3000&h=Content-Encoding:br", []string{"Accept-Encoding", "gzip"}, "raw", "Accept-Encoding", 3000},
		{"identity already", url, "GET", "/?n=3000&h=Content-Encoding:identity", []string{"Accept-Encoding", "gzip"}, "raw", "Accept-Encoding", 3000},
		{"image", url, "GET", "/?n=3000&h=Content-Type:image/png", []string{"Accept-Encoding", "gzip"}, "gzip", "Accept-Encoding", 3000},
		{"gRPC", url, "GET", "/?n=3000&h=Content-Type:application/grpc", []string{"Accept-Encoding", "gzip"}, "", "Accept-Encoding", 3000},
		{"gRPC asked", url, "GET", "/?n=3000", []string{"Accept-Encoding", "gzip", "Content-Type", "application/grpc"}, "", "", 3000},
		{"range", url, "GET", "/?n=3000&s=206&h=Content-Range:bytes+0-2999/9000", []string{"Accept-Encoding", "gzip"}, "", "Accept-Encoding", 3000},
		{"error", url, "GET", "/?n=3000&s=404", []string{"Accept-Encoding", "gzip"}, "gzip", "Accept-Encoding", 3000},
		{"304", url, "GET", "/?s=304", []string{"Accept-Encoding", "gzip"}, "", "Accept-Encoding", 0},
		{"HEAD", url, "HEAD", "/?n=3000", []string{"Accept-Encoding", "gzip"}, "", "", 0},
		{"other Vary", url, "GET", "/?n=3000&h=Vary:Accept", []string{"Accept-Encoding", "gzip"}, "gzip", "Accept-Encoding || Accept", 3000},
		{"same Vary", url, "GET", "/?n=3000&h=Vary:accept-encoding,+Accept", []string{"Accept-Encoding", "gzip"}, "gzip", "accept-encoding, Accept", 3000},
		{"included", some, "GET", "/?n=3000", []string{"Accept-Encoding", "gzip, br"}, "br", "Accept-Encoding", 3000},
		{"not included", some, "GET", "/?n=3000&h=Content-Type:text/plain", []string{"Accept-Encoding", "br"}, "", "Accept-Encoding", 3000},
		{"own minimum", some, "GET", "/?n=10", []string{"Accept-Encoding", "zstd"}, "zstd", "Accept-Encoding", 10},
		{"excluded", exc, "GET", "/?n=3000&h=Content-Type:application/x-up%3B+a=b", []string{"Accept-Encoding", "br"}, "", "Accept-Encoding", 3000},
		{"excluded request", exc, "GET", "/?n=3000", []string{"Accept-Encoding", "br", "Content-Type", "application/x-up"}, "", "", 3000},
		{"default encoding", br, "GET", "/?n=3000", nil, "br", "Accept-Encoding", 3000},
		{"default encoding gzip", exc, "GET", "/?n=3000", nil, "", "Accept-Encoding", 3000},
		{"wildcard", br, "GET", "/?n=3000", []string{"Accept-Encoding", "*"}, "br", "Accept-Encoding", 3000},
		{"wildcard for gzip", url, "GET", "/?n=3000", []string{"Accept-Encoding", "*"}, "", "Accept-Encoding", 3000},
		{"wildcard beside gzip", url, "GET", "/?n=3000", []string{"Accept-Encoding", "gzip;q=0.5, *"}, "gzip", "Accept-Encoding", 3000},
		{"empty", br, "GET", "/?n=3000", []string{"Accept-Encoding", ""}, "", "", 3000},
		{"unknown", br, "GET", "/?n=3000", []string{"Accept-Encoding", "compress, rar"}, "", "", 3000},
		{"nothing acceptable", br, "GET", "/?n=3000", []string{"Accept-Encoding", "gzip;q=0, *;q=0, identity;q=0"}, "", "", 3000},
	} {
		resp, body := do(t, c.method, c.url+c.path, "", c.fields...)
		coding := resp.Header.Get("Content-Encoding")
		if vary := strings.Join(resp.Header["Vary"], " || "); vary != c.vary {
			t.Errorf("%s: Vary %q, want %q", c.name, vary, c.vary)
		}
		if c.coding == "raw" {
			coding = "raw"
		}
		if coding != c.coding {
			t.Errorf("%s: coding %q, want %q", c.name, coding, c.coding)
			continue
		}
		if got := unpack(t, coding, body); len(got) != c.size {
			t.Errorf("%s: %d bytes, want %d", c.name, len(got), c.size)
		}
		if c.coding != "" && c.coding != "raw" && c.size > 1000 && len(body) > c.size/2 {
			t.Errorf("%s: %d bytes for %d", c.name, len(body), c.size)
		}
	}
}

func TestNegotiate(t *testing.T) {
	three := []string{"gzip", "br", "zstd"}
	for _, c := range []struct {
		accept   string
		list     []string
		standard string
		want     string
		named    bool
	}{
		{"gzip, br", three, "", "gzip", true}, {"br;q=1, gzip;q=0.5", three, "", "br", true}, {"gzip;q=0.5, zstd", three, "", "zstd", true},
		{"deflate", three, "", identity, false}, {"", three, "br", identity, false}, {"compress, rar;q=0.5", three, "br", identity, false},
		{"*", three, "", "gzip", false}, {"*", []string{"zstd", "gzip"}, "", "zstd", false}, {"*;q=0.5", three, "zstd", "zstd", false},
		{"br, *", three, "", "gzip", false}, {"br, *;q=0.9", three, "", "br", true}, {"gzip, *;q=0", three, "", "gzip", true}, {"gzip;q=0.1, *", three, "gzip", "gzip", true},
		{"gzip;q=0", three, "br", identity, false}, {"*;q=0", three, "", identity, false}, {"identity;q=0", three, "br", identity, false},
		{"br;q=0, gzip;q=0, zstd;q=0", three, "br", identity, false}, {"GZIP", three, "", "gzip", true}, {"x-gzip", three, "", "gzip", true},
		{"gzip;q=0.3,br;q=0.3", three, "", "gzip", true}, {"br;q=0.3 , gzip; q=0.3", []string{"br", "gzip"}, "gzip", "br", true},
		{"gzip;q=abc", three, "", identity, false}, {"gzip;v=b3, br", three, "", "gzip", true},
		{"identity, gzip;q=0.1", three, "", identity, true}, {"identity;q=0.8, br;q=0.8", three, "", "br", true},
	} {
		if got, named := negotiate([]string{c.accept}, c.list, c.standard); got != c.want || named != c.named {
			t.Errorf("%q of %v: %q %v, want %q %v", c.accept, c.list, got, named, c.want, c.named)
		}
	}
}

// FuzzNegotiate holds: the answer is one that was offered, or none.
func FuzzNegotiate(f *testing.F) {
	f.Add("gzip;q=0.5, br;q=1.0, *;q=0")
	f.Fuzz(func(t *testing.T, accept string) {
		got, named := negotiate([]string{accept}, []string{"gzip", "zstd"}, "")
		if got != "gzip" && got != "zstd" && got != identity {
			t.Fatalf("%q: %q", accept, got)
		}
		if named && !strings.Contains(strings.ToLower(accept), got) || got == "zstd" && !named {
			t.Fatalf("%q: %q was not asked for", accept, got)
		}
	})
}

// TestEventsAreNotHeldBack: each event reaches the client before the next is made.
func TestEventsAreNotHeldBack(t *testing.T) {
	for _, kind := range []string{"text/event-stream", "application/x-ndjson"} {
		next := make(chan bool)
		url, _ := serve(t, newCompress(t, &config.Compress{}), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			for i := range 3 {
				if !<-next {
					return
				}
				fmt.Fprintf(w, "data: %d\n", i)
				_ = http.NewResponseController(w).Flush()
			}
		})
		req, _ := http.NewRequest(http.MethodGet, url, nil)
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := client(t).Do(req) // returns with the head, before any event
		if err != nil {
			t.Fatal(err)
		}
		next <- true
		z, err := gzip.NewReader(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		rd := bufio.NewReader(z)
		for i := range 3 {
			line, err := rd.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("%s: event %d: %q %v", kind, i, line, err)
			}
			if i < 2 {
				next <- true
			}
		}
		if rest, err := io.ReadAll(rd); err != nil || len(rest) != 0 {
			t.Errorf("%s: the end: %q %v", kind, rest, err)
		}
		resp.Body.Close()
	}
}

func TestCompressAbort(t *testing.T) {
	url, _ := serve(t, newCompress(t, &config.Compress{}), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	req, _ := http.NewRequest(http.MethodGet, url, nil)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a broken answer looks whole")
	}
}

func TestHesitationEndsWithAbort(t *testing.T) {
	url, _ := serve(t, newCompress(t, &config.Compress{}), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "little")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	req, _ := http.NewRequest(http.MethodGet, url, nil)
	req.Header.Set("Accept-Encoding", "gzip")
	if resp, err := client(t).Do(req); err == nil {
		_, err = io.ReadAll(resp.Body)
		if resp.Body.Close(); err == nil {
			t.Error("a broken answer looks whole")
		}
	}
	time.Sleep(3 * hesitation) // a timer that fires now would write to a dead connection
}

func TestCompressOptions(t *testing.T) {
	for want, cfg := range map[string]config.Compress{
		"encodings": {Encodings: []string{"rot13"}}, "includedContentTypes": {IncludedContentTypes: []string{"a/b"}, ExcludedContentTypes: []string{"c/d"}},
		"excludedContentTypes": {ExcludedContentTypes: []string{"not a type;;"}}, "defaultEncoding": {Encodings: []string{"gzip"}, DefaultEncoding: "br"},
	} {
		if _, err := NewCompress(&cfg, nil); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if _, err := NewCompress(&config.Compress{MinResponseBodyBytes: -1}, nil); err != nil {
		t.Error(err)
	}
}

func BenchmarkCompress(b *testing.B) {
	text := []byte(strings.Repeat(`{"id":12345,"name":"some name","tags":["a","b","c"]},`, 200))
	for _, coding := range []string{"gzip", "br", "zstd"} {
		b.Run(coding, func(b *testing.B) {
			e := newEncoders()
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				k := e.get(coding)
				_, _ = k.write(text, io.Discard)
				_ = k.end(io.Discard)
				e.put(coding, k)
			}
		})
	}
}
