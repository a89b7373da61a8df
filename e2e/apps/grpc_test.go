package apps

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/sluice-edge/sluice/internal/testnet"
)

type text = wrapperspb.StringValue

// lab is a gRPC service with a method of each kind, without generated code.
type lab struct {
	// cancelled tells of calls whose client has gone.
	cancelled chan string
	health    *health.Server
	addr      string
}

// methods describes the service as generated code would.
func (l *lab) methods() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "lab.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: l.unary(l.say)}, {MethodName: "Where", Handler: l.unary(l.where)}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Count", ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return l.count(s) }},
			{StreamName: "Join", ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return join(s) }},
			{StreamName: "Chat", ClientStreams: true, ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error { return chat(s) }},
		},
	}
}

func (l *lab) unary(f func(context.Context, *text) (*text, error)) grpc.MethodHandler {
	return func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := &text{}
		if err := decode(in); err != nil {
			return nil, err
		}
		return f(ctx, in)
	}
}

// where gives the server's address.
func (l *lab) where(context.Context, *text) (*text, error) { return wrapperspb.String(l.addr), nil }

// say gives the text back with the client's fields, fails or waits as the text says.
func (l *lab) say(ctx context.Context, in *text) (*text, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	switch {
	case in.Value == "fail":
		return nil, status.Error(codes.FailedPrecondition, "no: 100% schön")
	case in.Value == "fail after head":
		_ = grpc.SendHeader(ctx, metadata.Pairs("lab-head", "h"))
		return nil, status.Error(codes.Aborted, "late")
	case in.Value == "wait":
		<-ctx.Done()
		l.cancelled <- "Say"
		return nil, ctx.Err()
	}
	_ = grpc.SetHeader(ctx, metadata.Pairs("lab-head", "h", "lab-bytes-bin", "\x00\xff"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs("lab-end", "t", "lab-seen", strings.Join(md["lab-ask"], "+")))
	return wrapperspb.String(in.Value), nil
}

// count sends a few numbers, then ends, or waits for the client to go.
func (l *lab) count(s grpc.ServerStream) error {
	in := &text{}
	if err := s.RecvMsg(in); err != nil {
		return err
	}
	for i := range 3 {
		if err := s.SendMsg(wrapperspb.String(fmt.Sprint(in.Value, i))); err != nil {
			return err
		}
	}
	switch in.Value {
	case "fail":
		return status.Error(codes.DataLoss, "in the middle")
	case "wait":
		<-s.Context().Done()
		l.cancelled <- "Count"
	}
	return nil
}

func join(s grpc.ServerStream) error {
	var all []string
	for {
		in := &text{}
		switch err := s.RecvMsg(in); {
		case errors.Is(err, io.EOF):
			return s.SendMsg(wrapperspb.String(strings.Join(all, " ")))
		case err != nil:
			return err
		}
		all = append(all, in.Value)
	}
}

// chat answers each message before the next comes.
func chat(s grpc.ServerStream) error {
	for {
		in := &text{}
		switch err := s.RecvMsg(in); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := s.SendMsg(wrapperspb.String("re: " + in.Value)); err != nil {
			return err
		}
	}
}

// startLab serves until the test's end; with a certificate it speaks TLS.
func startLab(t *testing.T, cert *tls.Certificate) *lab {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var opts []grpc.ServerOption
	if cert != nil {
		opts = append(opts, grpc.Creds(credentials.NewServerTLSFromCert(cert)))
	}
	srv := grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(16<<20))...)
	l := &lab{cancelled: make(chan string, 8), health: health.NewServer(), addr: lis.Addr().String()}
	srv.RegisterService(l.methods(), l)
	grpc_health_v1.RegisterHealthServer(srv, l.health)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(srv.Stop)
	return l
}

const grpcFile = `
http:
  routers:
    clear: {rule: Host("clear.lab"), service: clear, middlewares: [web]}
    tls: {rule: Host("tls.lab"), service: tls, middlewares: [web]}
    stage: {rule: Host("stage.lab"), service: clear, middlewares: [compress, retry, web]}
    dead: {rule: Host("dead.lab"), service: dead}
    denied: {rule: Host("denied.lab"), service: clear, middlewares: [nobody]}
    health: {rule: Host("health.lab"), service: health}
  services:
    clear: {loadBalancer: {servers: [{url: "h2c://@clear"}]}}
    tls: {loadBalancer: {servers: [{url: "https://@tls"}], serversTransport: trust}}
    dead: {loadBalancer: {servers: [{url: "h2c://127.0.0.1:1"}]}}
    health: {loadBalancer: {healthCheck: {mode: grpc, interval: 100ms, unhealthyInterval: 100ms, timeout: 5s}, servers: [{url: "h2c://@clear"}, {url: "h2c://@two"}]}}
  middlewares:
    web: {grpcWeb: {allowOrigins: ["*"]}}
    compress: {compress: {}}
    retry: {retry: {attempts: 2}}
    nobody: {ipAllowList: {sourceRange: [192.0.2.1]}}
  serversTransports:
    trust: {insecureSkipVerify: true}
`

// grpcLab is an edge with gRPC servers behind it.
type grpcLab struct {
	clear, tls, two *lab
	web, websecure  string
	metrics         string
}

func startGRPC(t *testing.T, env []string) *grpcLab {
	some := httptest.NewTLSServer(nil)
	cert := some.TLS.Certificates[0]
	some.Close()
	g := &grpcLab{clear: startLab(t, nil), two: startLab(t, nil), tls: startLab(t, &cert), web: testnet.FreeAddr(t), websecure: testnet.FreeAddr(t), metrics: testnet.FreeAddr(t)}
	dir := t.TempDir()
	file := filepath.Join(dir, "routes.yml")
	routes := strings.NewReplacer("@clear", g.clear.addr, "@tls", g.tls.addr, "@two", g.two.addr).Replace(grpcFile)
	if err := os.WriteFile(file, []byte(routes), 0o600); err != nil {
		t.Fatal(err)
	}
	edge := start(t, dir, env, binary, "--providers.file.filename="+file, "--entrypoints.web.address="+g.web,
		"--entrypoints.websecure.address="+g.websecure, "--entrypoints.websecure.http.tls=true",
		"--entrypoints.metrics.address="+g.metrics, "--metrics.prometheus.entrypoint=metrics")
	edge.up(t, g.web)
	edge.up(t, g.websecure)
	return g
}
