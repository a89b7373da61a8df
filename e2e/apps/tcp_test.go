package apps

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
)

const tcpFile = `
tcp:
  routers:
    one: {rule: HostSNI("*"), service: one, entryPoints: [one]}
    two: {rule: HostSNI("*"), service: two, entryPoints: [two]}
    refused: {rule: HostSNI("*"), service: one, entryPoints: [refused], middlewares: [nobody]}
  services:
    one: {loadBalancer: {servers: [{address: "@server"}], proxyProtocol: {version: 1}}}
    two: {loadBalancer: {servers: [{address: "@server"}], proxyProtocol: {version: 2}}}
  middlewares:
    nobody: {ipAllowList: {sourceRange: [192.0.2.1]}}
`

// first accepts connections and answers each with the line "N bytes: " and what came first.
func first(t *testing.T) string {
	t.Helper()
	return testnet.Accept(t, 20*time.Second, func(c net.Conn) {
		var got []byte
		buf := make([]byte, 256)
		for !strings.HasSuffix(string(got), "hello\n") {
			n, err := c.Read(buf)
			if got = append(got, buf[:n]...); err != nil {
				return
			}
		}
		_, _ = fmt.Fprintf(c, "%q\n", got)
	})
}

// TestTCPServerLearnsTheClient: a server behind a TCP route reads who connected, and where
// to, from the PROXY header, whichever lane accepted the connection.
func TestTCPServerLearnsTheClient(t *testing.T) {
	inLanes(t, func(t *testing.T, env []string) {
		dir, server := t.TempDir(), first(t)
		file := filepath.Join(dir, "routes.yml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(tcpFile, "@server", server)), 0o600); err != nil {
			t.Fatal(err)
		}
		one, two, refused := testnet.FreeAddr(t), testnet.FreeAddr(t), testnet.FreeAddr(t)
		edge := start(t, dir, env, binary, "--providers.file.filename="+file, "--entrypoints.one.address="+one,
			"--entrypoints.two.address="+two, "--entrypoints.refused.address="+refused)
		edge.up(t, two)
		ask := func(addr string) (answer string, local net.Addr, err error) {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return "", nil, err
			}
			defer func() { _ = c.Close() }()
			// Before the first table a short beginning waits for more, in vain.
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			if _, err := io.WriteString(c, "hello\n"); err != nil {
				return "", nil, err
			}
			answer, err = bufio.NewReader(c).ReadString('\n')
			return strings.TrimSpace(answer), c.LocalAddr(), err
		}
		testnet.Eventually(t, 30*time.Second, func() error {
			got, local, err := ask(one)
			if err != nil {
				return err
			}
			_, port, _ := net.SplitHostPort(local.String())
			if want := fmt.Sprintf("%q", "PROXY TCP4 127.0.0.1 127.0.0.1 "+port+" "+testnet.Port(one)+"\r\nhello\n"); got != want {
				return fmt.Errorf("version 1: the server got %s, want %s", got, want)
			}
			return nil
		})
		got, _, err := ask(two)
		if want := `"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\f\x7f\x00\x00\x01\x7f\x00\x00\x01`; err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("version 2: the server got %s, %v", got, err)
		}
		if got, _, err := ask(refused); err == nil {
			t.Errorf("who is not allowed got %s", got)
		}
	})
}
