package apps

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	bin "encoding/binary"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// TestGRPCWeb calls the gRPC servers as a browser's scripts do, over both versions of HTTP
// and in both forms, binary and text.
func TestGRPCWeb(t *testing.T) {
	inLanes(t, func(t *testing.T, env []string) {
		g := startGRPC(t, env)
		for _, host := range []string{"clear.lab", "tls.lab", "stage.lab"} {
			for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
				for _, form := range []string{"application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text"} {
					t.Run(host+" "+version+" "+form, func(t *testing.T) {
						c := &webClient{addr: g.websecure, host: host, version: version, form: form}
						c.http = &http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{
							TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: host}, //nolint:gosec // the edge's own certificate
							ForceAttemptHTTP2: version == "HTTP/2.0",
						}}
						defer c.http.CloseIdleConnections()
						back := g.clear
						if host == "tls.lab" {
							back = g.tls
						}
						c.calls(t, back)
					})
				}
			}
		}
	})
}

type webClient struct {
	addr, host, version, form string
	http                      *http.Client
}

// webAnswer reads the frames of an answer as they come.
type webAnswer struct {
	*http.Response
	frames io.Reader
}

func (c *webClient) call(method, what string) (*webAnswer, error) {
	msg, err := proto.Marshal(wrapperspb.String(what))
	if err != nil {
		return nil, err
	}
	body := append(bin.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))), msg...) //nolint:gosec // short
	if strings.HasSuffix(c.form, "-text") {
		body = []byte(base64.StdEncoding.EncodeToString(body))
	}
	req, err := http.NewRequest(http.MethodPost, "https://"+c.addr+"/lab.Echo/"+method, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Host = c.host
	for k, v := range map[string]string{"Content-Type": c.form, "Accept": c.form, "X-Grpc-Web": "1", "Origin": "https://app.test", "Lab-Ask": "web"} {
		req.Header.Set(k, v)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	a := &webAnswer{Response: resp, frames: resp.Body}
	if strings.HasSuffix(c.form, "-text") {
		a.frames = &groups{r: resp.Body}
	}
	return a, nil
}

// groups decodes base64 that may be padded anywhere, four characters at a time.
type groups struct {
	r    io.Reader
	left []byte
}

func (g *groups) Read(p []byte) (int, error) {
	if len(g.left) == 0 {
		var four [4]byte
		if _, err := io.ReadFull(g.r, four[:]); err != nil {
			return 0, err
		}
		b, err := base64.StdEncoding.DecodeString(string(four[:]))
		if err != nil {
			return 0, err
		}
		g.left = b
	}
	n := copy(p, g.left)
	g.left = g.left[n:]
	return n, nil
}

// next is the next frame: a message, or the trailers in angle brackets.
func (a *webAnswer) next() string {
	var head [5]byte
	if _, err := io.ReadFull(a.frames, head[:]); err != nil {
		return err.Error()
	}
	b := make([]byte, bin.BigEndian.Uint32(head[1:]))
	if _, err := io.ReadFull(a.frames, b); err != nil {
		return err.Error()
	}
	if head[0] == 0x80 {
		lines := strings.Split(strings.TrimSuffix(string(b), "\r\n"), "\r\n")
		slices.Sort(lines)
		return "<" + strings.Join(lines, "|") + ">"
	}
	var out text
	if err := proto.Unmarshal(b, &out); err != nil {
		return err.Error()
	}
	return out.Value
}

func (c *webClient) calls(t *testing.T, back *lab) {
	testnet.Eventually(t, 20*time.Second, func() error {
		a, err := c.call("Say", "there?")
		if err == nil {
			_ = a.Body.Close()
			if a.StatusCode != 200 {
				err = fmt.Errorf("status %d", a.StatusCode)
			}
		}
		return err
	})
	for _, call := range []struct {
		method, what, kind string
		frames             []string
		status             string // in the head: an answer of trailers only
	}{
		{"Say", "hello", "", []string{"hello", "<grpc-message: |grpc-status: 0|lab-end: t|lab-seen: web>"}, ""},
		{"Count", "n", "", []string{"n0", "n1", "n2", "<grpc-message: |grpc-status: 0>"}, ""},
		{"Count", "fail", "", []string{"fail0", "fail1", "fail2", "<grpc-message: in the middle|grpc-status: 15>"}, ""},
		{"Say", "fail", "", nil, "9"},
		{"Nothing", "", "", nil, "12"},
	} {
		a, err := c.call(call.method, call.what)
		if err != nil {
			t.Errorf("%s %s: %v", call.method, call.what, err)
			continue
		}
		var frames []string
		for range call.frames {
			frames = append(frames, a.next())
		}
		// Servers may leave an empty message out.
		if n := len(frames) - 1; n >= 0 {
			frames[n] = strings.Replace(frames[n], "<grpc-status", "<grpc-message: |grpc-status", 1)
		}
		if !slices.Equal(frames, call.frames) || a.next() != "EOF" {
			t.Errorf("%s %s: %q, want %q and the end", call.method, call.what, frames, call.frames)
		}
		if a.StatusCode != 200 || a.Proto != c.version || a.Header.Get("Grpc-Status") != call.status || !strings.HasPrefix(a.Header.Get("Content-Type"), c.form) {
			t.Errorf("%s %s: %s %d %v", call.method, call.what, a.Proto, a.StatusCode, a.Header)
		}
		if a.Header.Get("Access-Control-Allow-Origin") != "https://app.test" || !strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), "Grpc-Status") {
			t.Errorf("%s %s: a script may not read %v", call.method, call.what, a.Header)
		}
		_ = a.Body.Close()
	}
	// Messages of a call that goes on arrive at once, and its server learns that the client went.
	a, err := c.call("Count", "wait")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.next() + a.next() + a.next(); got != "wait0wait1wait2" { // compressed, behind compress
		t.Errorf("a call that goes on: %q", got)
	}
	_ = a.Body.Close()
	back.gone(t, "Count")
}
