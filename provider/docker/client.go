package docker

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/connhelper"
	"github.com/docker/docker/client"
	"github.com/docker/go-connections/sockets"
	"github.com/docker/go-connections/tlsconfig"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/provider"
)

// defaultEndpoint is the endpoint where none is configured; there, and only there,
// DOCKER_HOST counts, and the sockets of Podman.
const defaultEndpoint = "unix:///var/run/docker.sock"

// findEndpoint gives the endpoint to use. Where the default is asked for and does not exist,
// it is a socket of Podman: the user's, else the machine's.
func findEndpoint(configured string, env func(string) string, there func(path string) bool) string {
	if cmp.Or(configured, defaultEndpoint) != defaultEndpoint {
		return configured
	}
	if host := env(client.EnvOverrideHost); host != "" {
		return host
	}
	if there(strings.TrimPrefix(defaultEndpoint, "unix://")) {
		return defaultEndpoint
	}
	for _, dir := range []string{env("XDG_RUNTIME_DIR"), "/run"} {
		if path := dir + "/podman/podman.sock"; filepath.IsAbs(dir) && there(path) {
			return "unix://" + path
		}
	}
	return defaultEndpoint
}

// socketThere reports whether path exists. One that may not be looked at counts: the error of
// asking it says more.
func socketThere(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// dialTimeout bounds a connection attempt to the engine. A dead host must not hold up
// the next attempt for the minutes TCP would take.
const dialTimeout = 10 * time.Second

// NewClient returns a client of the engine that e names, and the endpoint it uses. The
// API version is negotiated with the first request, or taken from DOCKER_API_VERSION.
// Nothing is asked yet. Endpoints are unix, npipe, tcp, http, https and ssh addresses.
func NewClient(e *config.Engine) (*client.Client, string, error) {
	endpoint := findEndpoint(e.Endpoint, os.Getenv, socketThere)
	opts, err := transportOptions(e, endpoint)
	if err != nil {
		return nil, endpoint, fmt.Errorf("endpoint %q: %w", endpoint, err)
	}
	headers := map[string]string{}
	if e.Username != "" || e.Password != "" {
		headers["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(e.Username+":"+e.Password))
	}
	opts = append(opts, client.WithHTTPHeaders(headers), client.WithUserAgent("sluice"),
		client.WithVersionFromEnv(), client.WithAPIVersionNegotiation())
	cli, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, endpoint, fmt.Errorf("endpoint %q: %w", endpoint, err)
	}
	return cli, endpoint, nil
}

func transportOptions(e *config.Engine, endpoint string) ([]client.Opt, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("is not an address such as unix:///var/run/docker.sock or tcp://host:2376")
	}
	transport := &http.Transport{MaxIdleConns: inspectLimit + 2, MaxIdleConnsPerHost: inspectLimit + 2, IdleConnTimeout: 30 * time.Second}
	c := &http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}
	switch u.Scheme {
	case "ssh":
		helper, err := connhelper.GetConnectionHelper(endpoint)
		if err != nil {
			return nil, err
		}
		return []client.Opt{client.WithHTTPClient(c), client.WithHost(helper.Host), client.WithDialContext(helper.Dialer)}, nil
	case "unix", "npipe":
		return []client.Opt{client.WithHTTPClient(c), client.WithHost(endpoint)}, nil
	case "tcp", "http", "https":
	default:
		return nil, fmt.Errorf("scheme %q is not supported; use unix, tcp, http, https or ssh", u.Scheme)
	}
	if u.Host == "" {
		return nil, errors.New("has no host")
	}
	tlsConf, err := clientTLS(e, u.Scheme)
	if err != nil {
		return nil, err
	}
	host := "tcp://" + u.Host + u.Path
	hostURL, err := client.ParseHostURL(host)
	if err != nil {
		return nil, err
	}
	if err := sockets.ConfigureTransport(transport, "tcp", hostURL.Host); err != nil {
		return nil, err
	}
	transport.TLSClientConfig = tlsConf
	scheme := "http"
	if tlsConf != nil {
		scheme = "https"
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", addr)
	}
	return []client.Opt{client.WithHTTPClient(c), client.WithHost(host), client.WithScheme(scheme), client.WithDialContext(dial)}, nil
}

// clientTLS is the TLS towards the engine: the configured one, else that of the
// environment's DOCKER_CERT_PATH, else plain TLS for https addresses.
func clientTLS(e *config.Engine, scheme string) (*tls.Config, error) {
	if e.TLS != nil {
		return provider.ClientTLS(e.TLS)
	}
	if dir := os.Getenv(client.EnvOverrideCertPath); dir != "" && scheme != "http" {
		return tlsconfig.Client(tlsconfig.Options{
			CAFile: filepath.Join(dir, "ca.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem"),
			InsecureSkipVerify: os.Getenv(client.EnvTLSVerify) == "", ExclusiveRootPools: true,
		})
	}
	if scheme == "https" {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	return nil, nil
}

// byGroup tells how the group of a socket is given to this process; nothing where the group
// is root's, or has no right itself.
func byGroup(socket string) string {
	st, err := os.Stat(socket)
	if err != nil || st.Mode().Perm()&0o060 != 0o060 {
		return ""
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	if !ok || owner.Gid == 0 {
		return ""
	}
	return fmt.Sprintf("; its group is %d: in compose group_add: [%q], with docker run --group-add %d, on the host usermod -aG", owner.Gid, fmt.Sprint(owner.Gid), owner.Gid)
}

// Unreachable is the Problem of an engine that cannot be asked, with what to do about it.
func Unreachable(endpoint string, err error) config.Problem {
	p := config.Problem{Source: "engine " + redact(endpoint), Code: config.CodeUnreachable, Severity: config.Error,
		Text: "cannot be asked: " + shorten(err), Suggestion: "it is asked again until it answers; what it said last is kept"}
	socket, local := strings.CutPrefix(endpoint, "unix://")
	if _, serr := os.Stat(socket); local && errors.Is(serr, fs.ErrNotExist) {
		// The client's error does not say so.
		err = fmt.Errorf("there is no socket: %w", serr)
		p.Text = "cannot be asked: the socket does not exist"
	}
	switch text := err.Error(); {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EACCES) || strings.Contains(text, "permission denied"):
		p.Suggestion = "let the user of this process read and write the socket" + byGroup(socket)
	case errors.Is(err, fs.ErrNotExist):
		p.Suggestion = "mount the socket, for example with -v /var/run/docker.sock:/var/run/docker.sock:ro, or set the endpoint"
	case strings.Contains(text, "is too old") || strings.Contains(text, "is too new"):
		p.Suggestion = "remove DOCKER_API_VERSION, so that the version is negotiated"
	case strings.Contains(text, "connection refused") || strings.Contains(text, "Is the docker daemon running"):
		p.Suggestion = "start the engine; it is asked again until it answers"
	case errdefs.IsPermissionDenied(err):
		p.Suggestion = "let the socket proxy allow GET on events, containers, networks, version and _ping"
	case strings.Contains(text, "malformed HTTP response"), strings.Contains(text, "HTTPS server"):
		p.Suggestion = "the engine probably wants TLS: set tls.ca, tls.cert and tls.key"
	}
	return p
}

// shorten drops the standard words of the client's errors.
func shorten(err error) string {
	s := strings.TrimPrefix(err.Error(), "error during connect: ")
	s, _, _ = strings.Cut(s, ". Is the docker daemon running?")
	return strings.TrimSpace(s)
}

// redact drops a password from an endpoint.
func redact(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.User == nil {
		return endpoint
	}
	return u.Redacted()
}
