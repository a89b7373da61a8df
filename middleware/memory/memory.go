// Package memory keeps what middlewares must remember beyond one table of routes:
// buckets, counts, breakers, verified passwords. An object whose configuration did not
// change finds its memory again, whatever else a reload changed.
package memory

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"strconv"
	"sync"
	"time"
)

// grace is how long a forgotten object stays open for the requests of the old table.
const grace = 30 * time.Second

// State is the memory of all middlewares, seen by one owner of middlewares: a router. It
// is safe for concurrent use; the caller compiles one table at a time:
//
//	state.Begin()
//	... Build of every middleware of the new table, with state.For(router) ...
//	state.Commit() // forgets what the new table does not name
//
// A table that was begun and given up needs no further call.
type State struct {
	*memory
	owner string
}

type memory struct {
	mu    sync.Mutex
	gen   uint64
	live  map[string]*entry
	times map[string]int
}

type entry struct {
	value any
	// owners have asked for it, each last in the table of that number.
	owners map[string]uint64
}

// New returns an empty State, seen by an owner without a name.
func New() *State { return &State{memory: &memory{live: map[string]*entry{}, times: map[string]int{}}} }

// For returns the State as owner sees it.
func (s *State) For(owner string) *State {
	if s == nil {
		return nil
	}
	return &State{s.memory, owner}
}

// Begin starts a new table.
func (s *State) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gen++
	clear(s.times)
}

// Commit forgets what was not asked for since Begin. What is an io.Closer is closed a
// while later, when the requests of the old table have ended.
func (s *State) Commit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.live {
		for owner, gen := range e.owners {
			if gen != s.gen {
				delete(e.owners, owner)
			}
		}
		s.drop(k, e)
	}
}

// CommitPart is Commit where only a part of the table was built anew: what belongs to other
// owners than those of the part, gone ones included, stays.
func (s *State) CommitPart(rebuilt map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.live {
		for owner := range rebuilt {
			if gen, ok := e.owners[owner]; ok && gen != s.gen {
				delete(e.owners, owner)
			}
		}
		s.drop(k, e)
	}
}

// drop forgets an object without owners.
func (s *State) drop(key string, e *entry) {
	if len(e.owners) > 0 {
		return
	}
	delete(s.live, key)
	if c, ok := e.value.(io.Closer); ok {
		time.AfterFunc(grace, func() { _ = c.Close() })
	}
}

// Close forgets and closes everything.
func (s *State) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.live {
		if c, ok := e.value.(io.Closer); ok {
			_ = c.Close()
		}
	}
	clear(s.live)
	return nil
}

// Len is the number of objects remembered.
func (s *State) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live)
}

// Get returns the object of key, made by fresh if there is none. A nil State remembers nothing.
func Get[T any](s *State, key string, fresh func() T) T {
	if s == nil {
		return fresh()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.live[key]; e != nil {
		if v, ok := e.value.(T); ok {
			e.owners[s.owner] = s.gen
			return v
		}
	}
	v := fresh()
	s.live[key] = &entry{value: v, owners: map[string]uint64{s.owner: s.gen}}
	return v
}

// Each is Get for objects of which each use in a table is one of its own: a middleware
// that a router names twice counts twice, as with the reference.
func Each[T any](s *State, key string, fresh func() T) T {
	if s != nil {
		s.mu.Lock()
		n := s.times[key]
		s.times[key] = n + 1
		s.mu.Unlock()
		key += "#" + strconv.Itoa(n)
	}
	return Get(s, key, fresh)
}

// Key joins names and the hash of a configuration to a key.
func Key(cfg any, names ...string) string {
	b, err := json.Marshal(cfg)
	if err != nil {
		// Configuration structs always marshal; a key without them only forgets more than needed.
		b = []byte(err.Error())
	}
	sum := sha256.Sum256(b)
	key := ""
	for _, n := range names {
		key += strconv.Quote(n) + " "
	}
	return key + hex.EncodeToString(sum[:12])
}
