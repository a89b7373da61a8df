package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"
)

// A nonce is good for nonceLife; browsers renew it without asking their users.
const nonceLife = 30 * time.Minute

// noncesMax bounds how many nonces are followed. Only nonces that a right password came
// with are, so no stranger can fill the table.
const noncesMax = 20_000

// nonces makes and follows the nonces of digest challenges. A nonce proves itself by a
// MAC, so that a challenge costs no memory. It is safe for concurrent use.
type nonces struct {
	secret [32]byte
	opaque string

	mu   sync.Mutex
	seen map[[nonceRaw]byte]*counts
}

// counts are the nonce counts that were used: the highest, and which of the 63 below it.
// Browsers send several requests at once, and those may overtake each other.
type counts struct {
	top  uint64
	bits uint64
}

// nonceRaw is the length of a nonce: seconds, random bytes, MAC.
const nonceRaw = 8 + 8 + 16

type nonceUse uint8

const (
	nonceGood nonceUse = iota
	nonceStale
	nonceBad
)

func newNonces() *nonces {
	n := &nonces{seen: map[[nonceRaw]byte]*counts{}}
	_, _ = rand.Read(n.secret[:])
	var b [16]byte
	_, _ = rand.Read(b[:])
	n.opaque = hex.EncodeToString(b[:])
	return n
}

func (n *nonces) mac(head []byte) []byte {
	h := hmac.New(sha256.New, n.secret[:])
	h.Write(head)
	return h.Sum(nil)[:16]
}

// issue makes a nonce at now (ns since 1970).
func (n *nonces) issue(now int64) string {
	var b [nonceRaw]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now)) //nolint:gosec // a time since 1970
	_, _ = rand.Read(b[8:16])
	copy(b[16:], n.mac(b[:16]))
	return hex.EncodeToString(b[:])
}

// use checks that nonce is ours and fresh and that its count nc was not used before.
func (n *nonces) use(nonce string, nc uint64, now int64) nonceUse {
	var b [nonceRaw]byte
	if len(nonce) != 2*nonceRaw {
		return nonceBad
	}
	if _, err := hex.Decode(b[:], []byte(nonce)); err != nil || !hmac.Equal(b[16:], n.mac(b[:16])) {
		return nonceBad
	}
	made := int64(binary.BigEndian.Uint64(b[:8])) //nolint:gosec // see issue
	if now-made > int64(nonceLife) {
		return nonceStale
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.seen[b]
	if c == nil {
		if len(n.seen) >= noncesMax {
			n.sweep(now)
		}
		c = &counts{}
		n.seen[b] = c
	}
	return c.take(nc)
}

// take notes a count; one that was used, or is too old to know, makes the nonce stale.
func (c *counts) take(nc uint64) nonceUse {
	switch {
	case nc == 0:
		return nonceBad
	case nc > c.top:
		shift := nc - c.top
		c.bits = c.bits<<min(shift, 64) | 1
		c.top = nc
		return nonceGood
	case c.top-nc >= 64 || c.bits>>(c.top-nc)&1 == 1:
		return nonceStale
	}
	c.bits |= 1 << (c.top - nc)
	return nonceGood
}

// sweep drops old nonces; where that is not enough, any.
func (n *nonces) sweep(now int64) {
	for k := range n.seen {
		if made := int64(binary.BigEndian.Uint64(k[:8])); now-made > int64(nonceLife) { //nolint:gosec // see issue
			delete(n.seen, k)
		}
	}
	for k := range n.seen {
		if len(n.seen) < noncesMax*7/8 {
			return
		}
		delete(n.seen, k)
	}
}
