package serve

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/sluice-edge/sluice/proxy/exchange"
	"github.com/sluice-edge/sluice/proxy/upstream"
)

// streamBody reads the body of a stream of HTTP/2 or 3, for an upstream.Source. While no answer
// has begun, a client silent for limit is cut off; from then on the stream goes both ways, and
// silence is no fault. The errors are of type upstream.Error, but for io.EOF.
type streamBody struct {
	body     io.ReadCloser
	limit    time.Duration
	answered *atomic.Bool
	timer    *time.Timer
	late     atomic.Bool
	read     int64
}

// Read implements io.Reader.
func (b *streamBody) Read(p []byte) (int, error) {
	if b.limit > 0 && !b.answered.Load() {
		if b.timer == nil {
			b.timer = time.AfterFunc(b.limit, b.expire)
		} else {
			b.timer.Reset(b.limit)
		}
	}
	n, err := b.body.Read(p)
	b.read += int64(n)
	if b.timer != nil {
		b.timer.Stop()
	}
	if err == nil || err == io.EOF { //nolint:errorlint // io.Reader's own end
		return n, err
	}
	e := &upstream.Error{Reason: exchange.ClientGone, Err: err}
	if b.late.Load() {
		e.Reason = exchange.ReadTimeout
	}
	return n, e
}

func (b *streamBody) expire() {
	if !b.answered.Load() {
		b.late.Store(true)
		_ = b.body.Close()
	}
}

// Stop implements upstream.Source. It may be called while Read waits, whose business the timer is.
func (b *streamBody) Stop() { _ = b.body.Close() }

// framed is what the fronts of all streams share: the framing of no other one is at stake,
// and the rest of a body is reset.
type framed struct{}

func (framed) doomed() {}

func (framed) stranded() bool { return false }
