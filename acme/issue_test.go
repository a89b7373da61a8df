package acme

import (
	"testing"
	"time"

	"github.com/sluice-edge/sluice/internal/testnet"
)

// issue makes a certificate for names without a CA.
func issue(t testing.TB, from, to time.Time, names ...string) *stored {
	t.Helper()
	s := &stored{Store: "default"}
	s.Domain.Main, s.Domain.SANs = names[0], names[1:]
	s.Certificate, s.Key = testnet.Certificate(t, from, to, names...)
	return s
}
