package body

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sluice-edge/sluice/config"
)

func TestGRPCWeb(t *testing.T) {
	stage, err := NewGRPCWeb(&config.GRPCWeb{AllowOrigins: []string{"https://app.test"}})
	if err != nil {
		t.Fatal(err)
	}
	frame := "\x00\x00\x00\x00\x02hi"
	var kind, got string
	url, _ := serve(t, stage, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		kind, got = r.Header.Get("Content-Type"), string(b)
		switch r.URL.Path {
		case "/json":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{}")
		case "/gone":
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "nothing")
		case "/short": // trailers only
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "5")
			w.WriteHeader(http.StatusOK)
		default:
			w.Header().Set("Content-Type", "application/grpc+proto")
			_, _ = io.WriteString(w, frame)
			_ = http.NewResponseController(w).Flush()
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
			w.Header().Set(http.TrailerPrefix+"Grpc-Message", "fine")
		}
	})
	trailer := "grpc-message: fine\r\ngrpc-status: 0\r\n"
	whole := frame + "\x80\x00\x00\x00" + string(rune(len(trailer))) + trailer
	resp, body := do(t, "POST", url+"/pkg.Svc/M", frame, "Content-Type", "application/grpc-web+proto", "X-Grpc-Web", "1", "Origin", "https://app.test")
	if body != whole || kind != "application/grpc+proto" || got != frame || resp.Header.Get("Content-Type") != "application/grpc-web+proto" {
		t.Errorf("binary: %q, the server saw %s %q", body, kind, got)
	}
	if h := resp.Header; h.Get("Access-Control-Allow-Origin") != "https://app.test" || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" ||
		!strings.Contains(h.Get("Access-Control-Expose-Headers"), "Grpc-Status") {
		t.Errorf("CORS: %v", h)
	}
	text := base64.StdEncoding.EncodeToString([]byte(frame))
	resp, body = do(t, "POST", url+"/pkg.Svc/M", text, "Content-Type", "application/grpc-web-text")
	plain, err := io.ReadAll(&textReader{r: strings.NewReader(body)})
	if err != nil || string(plain) != whole || kind != "application/grpc" || got != frame || resp.Header.Get("Content-Type") != "application/grpc-web-text+proto" {
		t.Errorf("text: %q %v, the server saw %s %q", plain, err, kind, got)
	}
	if resp, body = do(t, "POST", url+"/json", frame, "Content-Type", "application/grpc-web"); body != "{}" || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("an answer that is not gRPC: %q", body)
	}
	if resp, body = do(t, "POST", url+"/gone", text, "Content-Type", "application/grpc-web-text"); resp.StatusCode != http.StatusNotFound || body != "nothing" {
		t.Errorf("an error that is not gRPC: %d %q", resp.StatusCode, body)
	}
	if resp, body = do(t, "POST", url+"/short", frame, "Content-Type", "application/grpc-web"); body != "" || resp.Header.Get("Grpc-Status") != "5" {
		t.Errorf("trailers only: %q %v", body, resp.Header)
	}
	req, _ := http.NewRequest(http.MethodPost, url+"/json", strings.NewReader(text))
	req.Header.Set("Content-Type", "application/grpc-web-text")
	if resp, err := client(t).Do(req); err == nil {
		resp.Body.Close()
		t.Errorf("a success that is not gRPC, in text: %d", resp.StatusCode)
	}
	if _, body = do(t, "GET", url+"/json", ""); body != "{}" {
		t.Errorf("a request that is not gRPC-Web: %q", body)
	}
}

func TestGRPCWebPreflight(t *testing.T) {
	for _, c := range []struct {
		allow, origin, names string
		allowed, passed      bool
	}{
		{"https://app.test", "https://app.test", "x-grpc-web,content-type", true, false},
		{"https://app.test", "https://bad.test", "x-grpc-web,content-type", false, false},
		{"*", "https://any.test", "X-Grpc-Web", true, false},
		{"*", "https://any.test", "content-type", false, true},
	} {
		stage, _ := NewGRPCWeb(&config.GRPCWeb{AllowOrigins: []string{c.allow}})
		passed := false
		url, _ := serve(t, stage, func(http.ResponseWriter, *http.Request) { passed = true })
		resp, _ := do(t, "OPTIONS", url, "", "Origin", c.origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", c.names)
		h := resp.Header
		if resp.StatusCode != http.StatusOK || passed != c.passed {
			t.Errorf("%+v: %d, passed %v", c, resp.StatusCode, passed)
		}
		if !c.passed && strings.Join(h["Vary"], " || ") != "Origin || Access-Control-Request-Method || Access-Control-Request-Headers" {
			t.Errorf("%+v: Vary %q", c, h["Vary"])
		}
		if c.allowed != (h.Get("Access-Control-Allow-Origin") == c.origin) || c.allowed != (h.Get("Access-Control-Max-Age") == "600") || c.allowed != (h.Get("Access-Control-Allow-Methods") == "POST") {
			t.Errorf("%+v: %v", c, h)
		}
		if c.names == "x-grpc-web,content-type" && c.allowed && h.Get("Access-Control-Allow-Headers") != "X-Grpc-Web, Content-Type" {
			t.Errorf("%+v: %v", c, h)
		}
	}
	if _, err := NewGRPCWeb(&config.GRPCWeb{AllowOrigins: []string{"a b"}}); err == nil {
		t.Error("accepted")
	}
}

// FuzzTextReader holds: parts encoded by themselves and joined decode to the whole,
// whatever sizes the reads have, and no input makes it read for ever.
func FuzzTextReader(f *testing.F) {
	f.Add([]byte("hello"), []byte("x"), "AAAA=")
	f.Fuzz(func(t *testing.T, a, b []byte, raw string) {
		joined := base64.StdEncoding.EncodeToString(a) + "\r\n" + base64.StdEncoding.EncodeToString(b)
		for _, rd := range []io.Reader{strings.NewReader(joined), iotest.OneByteReader(strings.NewReader(joined))} {
			got, err := io.ReadAll(&textReader{r: rd})
			if err != nil || string(got) != string(a)+string(b) {
				t.Fatalf("%q: %q %v", joined, got, err)
			}
		}
		_, _ = io.ReadAll(&textReader{r: strings.NewReader(raw)})
	})
}
