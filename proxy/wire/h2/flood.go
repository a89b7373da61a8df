package h2

// Patience bounds what a peer may do without moving anything: frames that only make work,
// and streams that are opened and reset (CVE-2023-44487). The zero value is ready to use.
type Patience struct {
	cheap, resets int
	second        int64
}

const (
	// maxCheap is how many frames that move nothing are borne: SETTINGS, PING, PRIORITY,
	// WINDOW_UPDATE, empty DATA and CONTINUATION, unknown ones.
	maxCheap = 4000
	// minResets is how many resets are borne at least: a browser that leaves a page resets all it has.
	minResets = 200
)

// Cheap counts a frame that moves nothing, at a time in seconds. False: it was one too many.
func (p *Patience) Cheap(now int64) bool {
	p.age(now)
	p.cheap++
	return p.cheap <= maxCheap
}

// Reset counts a stream that the peer has reset before it was answered, out of streams that
// may be open at once.
func (p *Patience) Reset(now int64, streams int) bool {
	p.age(now)
	p.resets++
	return p.resets <= max(minResets, 2*streams)
}

// Moved notes that something was moved: a body's bytes, a whole answer.
func (p *Patience) Moved() {
	p.cheap = max(0, p.cheap-8)
}

// Answered notes that a stream was answered to its end.
func (p *Patience) Answered() {
	p.Moved()
	p.resets = max(0, p.resets-1)
}

// age forgives half of all with each second.
func (p *Patience) age(now int64) {
	if now == p.second {
		return
	}
	if now-p.second > 16 || p.second == 0 {
		p.cheap, p.resets = 0, 0
	}
	for ; p.second < now && p.second > 0; p.second++ {
		p.cheap /= 2
		p.resets /= 2
	}
	p.second = now
}
