// Package store is the storage contract: small values by key, and locks with leases. It
// knows neither certificates nor routes.
package store

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound is returned by Get for a key that is not there.
var ErrNotFound = errors.New("not found")

// ErrLost is returned by Lease.Extend where the lock has expired and belongs to nobody or
// to somebody else: what it protected must not be written any more.
var ErrLost = errors.New("the lock was lost")

// Store keeps values. Keys are made of parts joined by "/"; no part is empty. It is safe
// for concurrent use.
type Store interface {
	// Get returns the value, which the caller may keep, or ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put stores the value as a whole: a reader, or a crash at any point, sees the old value or the new one.
	Put(ctx context.Context, key string, value []byte) error
	// Delete removes the key. A key that is not there is no error.
	Delete(ctx context.Context, key string) error
	// List returns the keys below the prefix, sorted. A prefix ends at a "/".
	List(ctx context.Context, prefix string) ([]string, error)
	// Lock waits until the lock of that name is ours or ctx ends. It expires after ttl unless
	// extended, so that a holder that died does not block the others for ever.
	Lock(ctx context.Context, name string, ttl time.Duration) (Lease, error)
}

// Lease is a lock that is held.
type Lease interface {
	// Extend makes the lock last ttl from now, or returns ErrLost.
	Extend(ctx context.Context, ttl time.Duration) error
	// Release gives the lock back. Releasing a lost lock does nothing.
	Release() error
}

// Shared is a Store that other processes may change at any time.
type Shared interface {
	Store
	// Watch calls changed with the keys that anybody put or deleted, at the latest a second
	// after it happened, until ctx ends. Nil keys mean that changes may have been missed,
	// because the server was away: everything is to be looked at. It is called so at first.
	Watch(ctx context.Context, changed func(keys []string))
}
