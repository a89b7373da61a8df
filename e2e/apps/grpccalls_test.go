package apps

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// TestGRPC calls a real gRPC server by a real client through the edge: every kind of call,
// in clear text and by TLS on either side.
func TestGRPC(t *testing.T) {
	inLanes(t, func(t *testing.T, env []string) {
		g := startGRPC(t, env)
		for _, host := range []string{"clear.lab", "tls.lab", "stage.lab"} {
			back := g.clear
			if host == "tls.lab" {
				back = g.tls
			}
			for _, scheme := range []string{"h2c", "https"} {
				t.Run(scheme+" "+host, func(t *testing.T) {
					c := g.dial(t, scheme, host)
					unary(t, c)
					failures(t, c)
					deadlines(t, c, back)
					streams(t, c, back)
				})
			}
		}
		t.Run("answers of the edge", func(t *testing.T) { ownAnswers(t, g) })
		t.Run("health", func(t *testing.T) { healthOf(t, g) })
		t.Run("series", func(t *testing.T) { seriesOf(t, g) })
	})
}

// seriesOf checks that calls count by the status of gRPC, which stands in the trailers or, for
// an answer without messages, in the head.
func seriesOf(t *testing.T, g *grpcLab) {
	testnet.Eventually(t, 20*time.Second, func() error {
		resp, err := http.Get("http://" + g.metrics + "/metrics")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		for _, code := range []codes.Code{codes.OK, codes.FailedPrecondition, codes.Aborted, codes.Unimplemented} {
			series := fmt.Sprintf("traefik_service_requests_total{code=\"%d\",method=\"POST\",protocol=\"grpc\",service=\"clear@file\"}", code)
			if !strings.Contains(string(page), series) {
				return fmt.Errorf("no series %s", series)
			}
		}
		if strings.Contains(string(page), `code="200",method="POST",protocol="grpc"`) {
			return errors.New("a call counts by the status of HTTP")
		}
		return nil
	})
}

// dial connects to the edge and waits until it routes.
func (g *grpcLab) dial(t *testing.T, scheme, host string) *grpc.ClientConn {
	t.Helper()
	addr, opts := g.web, []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(host)}
	if scheme == "https" {
		addr = g.websecure
		opts = []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, ServerName: host}))} //nolint:gosec // the edge's own certificate
	}
	c, err := grpc.NewClient("passthrough:///"+addr, append(opts, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func brief(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func say(ctx context.Context, c *grpc.ClientConn, what string, opts ...grpc.CallOption) (string, error) {
	out := &text{}
	err := c.Invoke(ctx, "/lab.Echo/Say", wrapperspb.String(what), out, opts...)
	return out.Value, err
}

func unary(t *testing.T, c *grpc.ClientConn) {
	t.Helper()
	testnet.Eventually(t, 20*time.Second, func() error {
		_, err := say(brief(t), c, "there?")
		return err
	})
	var head, end metadata.MD
	ctx := metadata.AppendToOutgoingContext(brief(t), "lab-ask", "a", "lab-ask", "b")
	got, err := say(ctx, c, "hello", grpc.Header(&head), grpc.Trailer(&end))
	if err != nil || got != "hello" {
		t.Errorf("unary: %q %v", got, err)
	}
	if !slices.Equal(head["lab-head"], []string{"h"}) || !slices.Equal(head["lab-bytes-bin"], []string{"\x00\xff"}) || !slices.Equal(end["lab-end"], []string{"t"}) {
		t.Errorf("head %v, trailers %v", head, end)
	}
	if s := strings.Join(end["lab-seen"], ""); s != "a+b" && s != "a, b" {
		t.Errorf("the server saw %q", s)
	}
	large := strings.Repeat("flow control ", 200_000)
	if got, err := say(brief(t), c, large); err != nil || got != large {
		t.Errorf("%d bytes: %d came back, %v", len(large), len(got), err)
	}
}

// failures are answers with trailers only, and with a head before them.
func failures(t *testing.T, c *grpc.ClientConn) {
	t.Helper()
	for what, want := range map[string]*status.Status{
		"fail":            status.New(codes.FailedPrecondition, "no: 100% schön"),
		"fail after head": status.New(codes.Aborted, "late"),
	} {
		var head metadata.MD
		_, err := say(brief(t), c, what, grpc.Header(&head))
		if s := status.Convert(err); s.Code() != want.Code() || s.Message() != want.Message() {
			t.Errorf("%s: %v", what, err)
		}
		if what == "fail after head" && !slices.Equal(head["lab-head"], []string{"h"}) {
			t.Errorf("%s: head %v", what, head)
		}
	}
	err := c.Invoke(brief(t), "/lab.Echo/Nothing", wrapperspb.String(""), &text{})
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "Nothing") {
		t.Errorf("an unknown method: %v", err)
	}
}

// gone waits until the server has noticed that the client went.
func (l *lab) gone(t *testing.T, method string) {
	t.Helper()
	select {
	case m := <-l.cancelled:
		if m != method {
			t.Errorf("%s was cancelled, not %s", m, method)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("the server never learnt that the client of %s went", method)
	}
}

func deadlines(t *testing.T, c *grpc.ClientConn, back *lab) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := say(ctx, c, "wait"); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a deadline: %v", err)
	}
	back.gone(t, "Say")
}

func open(ctx context.Context, t *testing.T, c *grpc.ClientConn, method string) grpc.ClientStream {
	t.Helper()
	s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/lab.Echo/"+method)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func recv(s grpc.ClientStream) string {
	out := &text{}
	if err := s.RecvMsg(out); err != nil {
		if errors.Is(err, io.EOF) {
			return "EOF"
		}
		return status.Code(err).String()
	}
	return out.Value
}

func streams(t *testing.T, c *grpc.ClientConn, back *lab) {
	t.Helper()
	for what, want := range map[string]string{"x": "x0 x1 x2 EOF", "fail": "fail0 fail1 fail2 DataLoss"} {
		s := open(brief(t), t, c, "Count")
		err := errors.Join(s.SendMsg(wrapperspb.String(what)), s.CloseSend())
		if got := fmt.Sprint(recv(s), " ", recv(s), " ", recv(s), " ", recv(s)); err != nil || got != want {
			t.Errorf("server stream: %s, %v; want %s", got, err, want)
		}
	}
	ctx, cancel := context.WithCancel(brief(t))
	s := open(ctx, t, c, "Count")
	err := errors.Join(s.SendMsg(wrapperspb.String("wait")), s.CloseSend())
	if got := fmt.Sprint(recv(s), recv(s), recv(s)); err != nil || got != "wait0wait1wait2" {
		t.Errorf("a server stream that goes on: %s, %v", got, err)
	}
	cancel()
	back.gone(t, "Count")

	s = open(brief(t), t, c, "Join")
	for _, w := range []string{"one", "two", "three"} {
		err = errors.Join(err, s.SendMsg(wrapperspb.String(w)))
	}
	err = errors.Join(err, s.CloseSend())
	if got := recv(s); err != nil || got != "one two three" {
		t.Errorf("client stream: %s, %v", got, err)
	}

	s = open(brief(t), t, c, "Chat")
	for i := range 5 {
		if err := s.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		if got := recv(s); got != fmt.Sprint("re: ", i) {
			t.Errorf("bidirectional stream: %s", got)
		}
	}
	if err := s.CloseSend(); err != nil || recv(s) != "EOF" {
		t.Errorf("bidirectional stream: it does not end: %v", err)
	}
}

// ownAnswers are those of the edge itself: a gRPC client makes codes of their statuses.
func ownAnswers(t *testing.T, g *grpcLab) {
	for host, want := range map[string]codes.Code{
		"nowhere.lab": codes.Unimplemented,    // 404
		"dead.lab":    codes.Unavailable,      // 502
		"denied.lab":  codes.PermissionDenied, // 403
	} {
		for _, scheme := range []string{"h2c", "https"} {
			if _, err := say(brief(t), g.dial(t, scheme, host), "x"); status.Code(err) != want {
				t.Errorf("%s over %s: %v, want %s", host, scheme, err, want)
			}
		}
	}
}

// healthOf switches one of two servers to NOT_SERVING and back.
func healthOf(t *testing.T, g *grpcLab) {
	c := g.dial(t, "h2c", "health.lab")
	both := func() (map[string]bool, error) {
		seen := map[string]bool{}
		for range 8 {
			out := &text{}
			if err := c.Invoke(brief(t), "/lab.Echo/Where", wrapperspb.String(""), out); err != nil {
				return nil, err
			}
			seen[out.Value] = true
		}
		return seen, nil
	}
	for _, step := range []struct {
		state grpc_health_v1.HealthCheckResponse_ServingStatus
		want  int
	}{
		{grpc_health_v1.HealthCheckResponse_SERVING, 2}, {grpc_health_v1.HealthCheckResponse_NOT_SERVING, 1},
		{grpc_health_v1.HealthCheckResponse_SERVING, 2}, {grpc_health_v1.HealthCheckResponse_UNKNOWN, 1},
	} {
		g.two.health.SetServingStatus("", step.state)
		testnet.Eventually(t, 20*time.Second, func() error {
			seen, err := both()
			if err == nil && (len(seen) != step.want || !seen[g.clear.addr]) {
				err = fmt.Errorf("with the other %s, answers from %v", step.state, seen)
			}
			return err
		})
	}
}
