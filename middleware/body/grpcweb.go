package body

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

// The media types of gRPC-Web (gRPC's PROTOCOL-WEB.md). Suffixes such as +proto follow.
const (
	typeGRPC    = "application/grpc"
	typeWeb     = "application/grpc-web"
	typeWebText = "application/grpc-web-text"
)

// trailerFlag marks the frame that holds the trailers as text.
const trailerFlag = 0x80

type grpcWeb struct{ origins []string }

// NewGRPCWeb translates gRPC-Web requests to gRPC and their answers back, and answers the
// preflights of browsers for them.
func NewGRPCWeb(cfg *config.GRPCWeb) (exchange.Stage, error) {
	for _, o := range cfg.AllowOrigins {
		if strings.ContainsAny(o, "\r\n ") {
			return nil, option.Errorf("allowOrigins", "write for example https://app.example.com", "%q is not an origin", o)
		}
	}
	g := &grpcWeb{cfg.AllowOrigins}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), typeWeb):
				g.translate(w, r, next)
			case r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" && asksForWeb(r):
				g.preflight(w, r)
			default:
				next.ServeHTTP(w, r)
			}
		})
	}, nil
}

// asksForWeb reports whether a preflight names the field of gRPC-Web clients.
func asksForWeb(r *http.Request) bool {
	for name := range strings.SplitSeq(r.Header.Get("Access-Control-Request-Headers"), ",") {
		if strings.EqualFold(strings.TrimSpace(name), "X-Grpc-Web") {
			return true
		}
	}
	return false
}

func (g *grpcWeb) allowed(origin string) bool {
	return origin != "" && (slices.Contains(g.origins, "*") || slices.Contains(g.origins, origin))
}

func (g *grpcWeb) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Vary"] = append(h["Vary"], "Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers")
	if origin := r.Header.Get("Origin"); g.allowed(origin) && r.Header.Get("Access-Control-Request-Method") == http.MethodPost {
		var names []string
		for n := range strings.SplitSeq(r.Header.Get("Access-Control-Request-Headers"), ",") {
			names = append(names, http.CanonicalHeaderKey(strings.TrimSpace(n)))
		}
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Methods", http.MethodPost)
		h.Set("Access-Control-Allow-Headers", strings.Join(names, ", "))
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Max-Age", "600")
	}
	h.Set("Content-Length", "0")
	if ex := exchange.FromContext(r.Context()); ex != nil {
		ex.Reason = exchange.Preflight
	}
	w.WriteHeader(http.StatusOK)
}

func (g *grpcWeb) translate(w http.ResponseWriter, r *http.Request, next http.Handler) {
	kind := r.Header.Get("Content-Type")
	text := strings.HasPrefix(kind, typeWebText)
	web := typeWeb
	if text {
		web = typeWebText
	}
	r2 := r.WithContext(r.Context())
	r2.Header = r.Header.Clone()
	r2.Header.Set("Content-Type", typeGRPC+kind[len(web):])
	if text && hasBody(r) {
		r2.Header.Del("Content-Length")
		r2.ContentLength = -1
		r2.Body = struct {
			io.Reader
			io.Closer
		}{&textReader{r: r.Body}, r.Body}
	}
	h := w.Header()
	h["Vary"] = append(h["Vary"], "Origin")
	if origin := r.Header.Get("Origin"); g.allowed(origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	ww := &webWriter{w: w, header: http.Header{}, text: text, web: web}
	next.ServeHTTP(ww, r2)
	ww.finish()
}

// textReader decodes base64 of which each message may be padded by itself.
type textReader struct {
	r    io.Reader
	in   []byte // undecoded
	out  []byte // decoded, unread
	done error
}

// Read implements io.Reader.
func (t *textReader) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.done != nil {
			return 0, t.done
		}
		var buf [4096]byte
		n, err := t.r.Read(buf[:])
		for _, c := range buf[:n] {
			if c != '\r' && c != '\n' {
				t.in = append(t.in, c)
			}
		}
		if err != nil {
			t.done = err
			if err == io.EOF && len(t.in)%4 != 0 {
				t.done = io.ErrUnexpectedEOF
			}
		}
		if err := t.decode(); err != nil {
			t.done = err
		}
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// decode decodes the whole groups of four that are there.
func (t *textReader) decode() error {
	whole := len(t.in) / 4 * 4
	var group [3]byte
	for i := 0; i < whole; i += 4 {
		n, err := base64.StdEncoding.Decode(group[:], t.in[i:i+4])
		if err != nil {
			return err
		}
		t.out = append(t.out, group[:n]...)
	}
	t.in = append(t.in[:0], t.in[whole:]...)
	return nil
}

// webWriter turns a gRPC answer into one of gRPC-Web. Answers that are not gRPC pass.
type webWriter struct {
	w      http.ResponseWriter
	header http.Header
	text   bool
	web    string
	wrote  bool
	grpc   bool
}

// Header implements http.ResponseWriter.
func (w *webWriter) Header() http.Header { return w.header }

// Unwrap serves http.ResponseController.
func (w *webWriter) Unwrap() http.ResponseWriter { return w.w }

// WriteHeader implements http.ResponseWriter.
func (w *webWriter) WriteHeader(status int) {
	switch {
	case w.wrote:
		return
	case informational(status):
		inform(w.w, w.header, status)
		return
	}
	w.wrote = true
	kind := w.header.Get("Content-Type")
	w.grpc = strings.HasPrefix(kind, typeGRPC) && !strings.HasPrefix(kind, typeWeb)
	switch {
	case w.grpc:
		w.header.Set("Content-Type", w.web+kind[len(typeGRPC):])
		w.header.Del("Content-Length")
		w.header.Del("Trailer")
	case w.text && status == http.StatusOK:
		// A success that is not gRPC cannot be put into frames of base64: a client of this
		// mode would misread it. The connection ends, as with the reference.
		panic(http.ErrAbortHandler)
	}
	h := w.w.Header()
	addHeader(h, w.header)
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Expose-Headers", strings.Join(w.exposed(), ", "))
	}
	w.w.WriteHeader(status)
}

// exposed names the fields that scripts may read.
func (w *webWriter) exposed() []string {
	names := []string{"Grpc-Status", "Grpc-Message"}
	for n := range w.header {
		if !slices.Contains(names, n) && !strings.HasPrefix(n, http.TrailerPrefix) {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

// Write implements http.ResponseWriter.
func (w *webWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.encode(p)
}

func (w *webWriter) encode(p []byte) (int, error) {
	if !w.text || !w.grpc {
		return w.w.Write(p)
	}
	b := make([]byte, base64.StdEncoding.EncodedLen(len(p)))
	base64.StdEncoding.Encode(b, p)
	if _, err := w.w.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush implements http.Flusher.
func (w *webWriter) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *webWriter) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return http.NewResponseController(w.w).Flush()
}

// finish sends the trailers as the last frame.
func (w *webWriter) finish() {
	w.WriteHeader(http.StatusOK)
	if !w.grpc {
		addTrailers(w.w.Header(), w.header)
		return
	}
	var names []string
	for k := range w.header {
		if strings.HasPrefix(k, http.TrailerPrefix) {
			names = append(names, k)
		}
	}
	if len(names) == 0 {
		return // an answer of trailers only has them in its head
	}
	slices.Sort(names)
	var lines bytes.Buffer
	for _, k := range names {
		for _, v := range w.header[k] {
			lines.WriteString(strings.ToLower(strings.TrimPrefix(k, http.TrailerPrefix)) + ": " + v + "\r\n")
		}
	}
	frame := append([]byte{trailerFlag}, binary.BigEndian.AppendUint32(nil, uint32(lines.Len()))...) //nolint:gosec // heads are bounded
	_, _ = w.encode(append(frame, lines.Bytes()...))
}

// addTrailers hands on the trailers of an answer that was not translated.
func addTrailers(to, from http.Header) {
	for k, v := range from {
		if strings.HasPrefix(k, http.TrailerPrefix) {
			to[k] = v
		}
	}
}
