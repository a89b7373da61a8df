package otlp

import (
	stdbytes "bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// Signal is what is sent.
type Signal uint8

// The signals.
const (
	Traces Signal = iota
	Metrics
	Logs
)

// path is where OTLP over HTTP is taken by default, call the method over gRPC, env the part of
// the signal's environment variables.
func (s Signal) names() (path, call, env string) {
	const service = "/opentelemetry.proto.collector."
	switch s {
	case Traces:
		return "/v1/traces", service + "trace.v1.TraceService/Export", "TRACES"
	case Metrics:
		return "/v1/metrics", service + "metrics.v1.MetricsService/Export", "METRICS"
	}
	return "/v1/logs", service + "logs.v1.LogsService/Export", "LOGS"
}

// sender sends requests to one collector.
type sender struct {
	client  *http.Client
	url     string
	headers map[string]string
	grpc    bool
	timeout time.Duration
}

// defaultTimeout bounds one attempt, as OpenTelemetry has it.
const defaultTimeout = 10 * time.Second

func newSender(signal Signal, t Target, lookup func(string) (string, bool)) (*sender, error) {
	path, call, env := signal.names()
	s := &sender{timeout: defaultTimeout, grpc: t.GRPC != nil}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: defaultTimeout}).DialContext,
		TLSHandshakeTimeout: defaultTimeout, MaxIdleConnsPerHost: 1, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true,
	}
	var secure *config.ClientTLS
	var err error
	if s.grpc {
		s.url, err = grpcURL(t.GRPC, call)
		s.headers, secure = t.GRPC.Headers, t.GRPC.TLS
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP2(true)
		transport.Protocols.SetUnencryptedHTTP2(t.GRPC.Insecure)
	} else {
		if t.HTTP == nil {
			t.HTTP = &config.OTLPHTTP{}
			t.HTTP.SetDefaults()
		}
		s.url, err = httpURL(t.HTTP.Endpoint, path)
		s.headers, secure = t.HTTP.Headers, t.HTTP.TLS
	}
	if err != nil {
		return nil, err
	}
	if secure != nil {
		if transport.TLSClientConfig, err = clientTLS(secure); err != nil {
			return nil, err
		}
	}
	s.environment(env, lookup)
	s.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s, nil
}

// environment takes what OpenTelemetry's variables say and the configuration does not.
func (s *sender) environment(signal string, lookup func(string) (string, bool)) {
	get := func(name string) string {
		if lookup == nil {
			return ""
		}
		if v, ok := lookup("OTEL_EXPORTER_OTLP_" + signal + "_" + name); ok {
			return v
		}
		v, _ := lookup("OTEL_EXPORTER_OTLP_" + name)
		return v
	}
	if ms, err := strconv.Atoi(get("TIMEOUT")); err == nil && ms > 0 {
		s.timeout = time.Duration(ms) * time.Millisecond
	}
	if list := get("HEADERS"); list != "" && len(s.headers) == 0 {
		s.headers = map[string]string{}
		for _, pair := range strings.Split(list, ",") {
			if k, v, ok := strings.Cut(pair, "="); ok {
				s.headers[strings.TrimSpace(k)] = unescape(strings.TrimSpace(v))
			}
		}
	}
}

func unescape(s string) string {
	if plain, err := url.PathUnescape(s); err == nil {
		return plain
	}
	return s
}

func grpcURL(c *config.OTLPGRPC, call string) (string, error) {
	if _, _, err := net.SplitHostPort(c.Endpoint); err != nil {
		return "", fmt.Errorf("grpc.endpoint %q is not host:port", c.Endpoint)
	}
	if c.Insecure {
		return "http://" + c.Endpoint + call, nil
	}
	return "https://" + c.Endpoint + call, nil
}

func httpURL(endpoint, path string) (string, error) {
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("http.endpoint %q is not http(s)://host:port/path", endpoint)
	}
	if u.Path == "" {
		u.Path = path
	}
	return u.String(), nil
}

// failure is an attempt that was not taken.
type failure struct {
	err error
	// again is set where the collector may take the same later, after is what it asked for.
	again bool
	after time.Duration
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// send makes one attempt to deliver body.
func (s *sender) send(ctx context.Context, body []byte) *failure {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := s.request(ctx, body)
	if err != nil {
		return &failure{err: err}
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return &failure{err: err, again: true}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if s.grpc && resp.StatusCode == http.StatusOK {
		return grpcStatus(resp, err)
	}
	if resp.StatusCode/100 == 2 {
		return nil
	}
	f := &failure{err: fmt.Errorf("the collector answered %s %s", resp.Status, printable(text))}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		f.again = true
		if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && n > 0 {
			f.after = time.Duration(n) * time.Second
		}
	}
	return f
}

func (s *sender) request(ctx context.Context, body []byte) (*http.Request, error) {
	var out stdbytes.Buffer
	if s.grpc {
		out.Write(make([]byte, 5)) // flag and length of the message
	}
	zip := gzip.NewWriter(&out)
	_, err := zip.Write(body)
	if err = errors.Join(err, zip.Close()); err != nil {
		return nil, err
	}
	b := out.Bytes()
	if s.grpc {
		b[0] = 1 // compressed
		binary.BigEndian.PutUint32(b[1:], uint32(len(b)-5))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, stdbytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "sluice")
	if s.grpc {
		req.Header.Set("Content-Type", "application/grpc")
		req.Header.Set("Te", "trailers")
		req.Header.Set("Grpc-Encoding", "gzip")
		req.Header.Set("Grpc-Accept-Encoding", "identity")
		req.Header.Set("Grpc-Timeout", strconv.FormatInt(s.timeout.Milliseconds(), 10)+"m")
	} else {
		req.Header.Set("Content-Type", "application/x-protobuf")
		req.Header.Set("Content-Encoding", "gzip")
	}
	for k, v := range s.headers {
		req.Header.Set(k, v)
	}
	return req, nil
}

// grpcStatus reads the end of a call. The codes that may be tried again are those that the
// protocol names: CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, OUT_OF_RANGE,
// UNAVAILABLE and DATA_LOSS.
func grpcStatus(resp *http.Response, err error) *failure {
	if err != nil {
		return &failure{err: err, again: true}
	}
	from := resp.Trailer
	if from.Get("Grpc-Status") == "" {
		from = resp.Header // an answer without a message
	}
	code := from.Get("Grpc-Status")
	switch code {
	case "0":
		return nil
	case "":
		return &failure{err: errors.New("the collector's answer has no gRPC status"), again: true}
	}
	f := &failure{err: fmt.Errorf("the collector answered gRPC status %s %s", printable([]byte(code)), printable([]byte(unescape(from.Get("Grpc-Message")))))}
	switch code {
	case "1", "4", "8", "10", "11", "14", "15":
		f.again = true
	}
	return f
}

// printable is the beginning of what a collector said, for a log.
func printable(b []byte) string {
	const most = 200
	if len(b) > most {
		b = b[:most]
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return ' '
		}
		return r
	}, string(b))
}

// clientTLS makes the TLS towards a collector. CA, certificate and key are files, or PEM
// themselves.
func clientTLS(c *config.ClientTLS) (*tls.Config, error) {
	out := &tls.Config{InsecureSkipVerify: c.InsecureSkipVerify, MinVersion: tls.VersionTLS12}
	read := func(s string) ([]byte, error) {
		if strings.Contains(s, "-----BEGIN") {
			return []byte(s), nil
		}
		return os.ReadFile(s)
	}
	if c.CA != "" {
		pem, err := read(c.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls.ca: holds no certificate")
		}
	}
	if c.Cert == "" && c.Key == "" {
		return out, nil
	}
	cert, err := read(c.Cert)
	if err != nil {
		return nil, fmt.Errorf("tls.cert: %w", err)
	}
	key, err := read(c.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert and tls.key: %w", err)
	}
	out.Certificates = []tls.Certificate{pair}
	return out, nil
}
