//go:build !linux

package loop

import (
	"context"
	"net"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// Group is the loop lane; there is none on this system.
type Group struct{}

// New returns ErrNotAvailable.
func New(Options) (*Group, error) { return nil, ErrNotAvailable }

// Listen returns ErrNotAvailable.
func (g *Group) Listen(EntryPoint) (*Entry, error) { return nil, ErrNotAvailable }

// Run returns ErrNotAvailable.
func (g *Group) Run(context.Context) error { return ErrNotAvailable }

// Shutdown does nothing.
func (g *Group) Shutdown(context.Context) error { return nil }

// Stats returns nothing.
func (g *Group) Stats() Stats { return Stats{} }

// Sweep does nothing.
func (g *Group) Sweep() {}

// Entry is an entry point of a Group.
type Entry struct{}

// SetMatcher does nothing.
func (e *Entry) SetMatcher(exchange.Matcher) {}

// CloseListener does nothing.
func (e *Entry) CloseListener() {}

// Shutdown does nothing.
func (e *Entry) Shutdown(context.Context) error { return nil }

// Open returns 0.
func (e *Entry) Open() int { return 0 }

// Addr returns nil.
func (e *Entry) Addr() net.Addr { return nil }

// Adopt closes nothing and reports that it did not take the connection.
func (e *Entry) Adopt(net.Conn, []byte) bool { return false }
