package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"runtime"
	"sync"

	"golang.org/x/sync/singleflight"
)

// Bounds of a cache of verified credentials. Only right passwords get in, so it is full
// only where more than this many users are active.
const (
	cacheShards   = 16
	cachePerShard = 512
)

// cache remembers credentials that were verified, as SHA-256 under a secret of its own,
// so that a request does not pay for bcrypt each time. It is safe for concurrent use.
type cache struct {
	secret [32]byte
	shards [cacheShards]struct {
		mu sync.RWMutex
		m  map[[32]byte]string
	}
	flight singleflight.Group
	slots  chan struct{}
}

func newCache() *cache {
	c := &cache{slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)))}
	_, _ = rand.Read(c.secret[:]) // never fails (Go 1.24)
	for i := range c.shards {
		c.shards[i].m = map[[32]byte]string{}
	}
	return c
}

// key is what a credential is remembered by; it does not allocate.
func (c *cache) key(token string) [32]byte {
	var buf [32 + 512]byte
	n := copy(buf[:], c.secret[:])
	n += copy(buf[n:], token)
	return sha256.Sum256(buf[:n])
}

// maxToken is the longest credential that key covers whole.
const maxToken = 512

// user returns the user whose credential was verified under k.
func (c *cache) user(k [32]byte) (string, bool) {
	s := &c.shards[k[0]%cacheShards]
	s.mu.RLock()
	u, ok := s.m[k]
	s.mu.RUnlock()
	return u, ok
}

func (c *cache) put(k [32]byte, user string) {
	s := &c.shards[k[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.m) >= cachePerShard {
		for old := range s.m { // the order of maps is random enough
			delete(s.m, old)
			break
		}
	}
	s.m[k] = user
}

// check runs verify in one of a few slots, equal checks at one time only once: a flood of
// wrong passwords costs a bounded share of the machine.
func (c *cache) check(k [32]byte, verify func() bool) bool {
	ok, _, _ := c.flight.Do(string(k[:]), func() (any, error) {
		c.slots <- struct{}{}
		defer func() { <-c.slots }()
		return verify(), nil
	})
	return ok.(bool)
}
