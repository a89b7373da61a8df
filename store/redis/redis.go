// Package redis keeps values in Redis or Valkey, for several processes at once.
//
// All values are fields of one hash; each change is announced on a channel in the same
// transaction. A server that loses its data on a restart is met by the users of the store,
// who put back what they hold.
package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sluice-edge/sluice/store"
)

const (
	// defaultPrefix begins every key. Its braces keep them on one server of a cluster.
	defaultPrefix = "{sluice}:"
	// lockPoll is how often a lock that is taken is tried again.
	lockPoll = 100 * time.Millisecond
	// timeout bounds a command.
	timeout = 5 * time.Second
)

// Store is a Redis server. It is safe for concurrent use.
type Store struct {
	c       *redis.Client
	values  string
	channel string
	lock    string
}

var _ store.Shared = (*Store)(nil)

// Open readies the client for an address like redis://user:password@host:6379/0, rediss:
// for TLS, or unix:///path. Beside the client's options there are prefix= for the keys
// and passwordFile=. It does not wait for the server.
func Open(address string) (*Store, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address of the Redis server cannot be read") // it holds a password
	}
	q := u.Query()
	prefix, file := q.Get("prefix"), q.Get("passwordFile")
	q.Del("prefix")
	q.Del("passwordFile")
	u.RawQuery = q.Encode()
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("redis: passwordFile: %w", err)
		}
		o.Password = strings.TrimSpace(string(b))
	}
	if prefix == "" {
		prefix = defaultPrefix
	}
	hush()
	// Notices of maintenance are asked for by a command that most servers do not know.
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = timeout, timeout, timeout
	return &Store{c: redis.NewClient(o), values: prefix + "values", channel: prefix + "changes", lock: prefix + "lock:"}, nil
}

// hush keeps the client from writing to standard error: errors are returned.
var hush = sync.OnceFunc(func() { redis.SetLogger(silent{}) })

type silent struct{}

// Printf implements the client's logger.
func (silent) Printf(context.Context, string, ...any) {}

// Close closes the connections.
func (s *Store) Close() error { return s.c.Close() }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := s.c.HGet(ctx, s.values, key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, store.ErrNotFound
	}
	return b, err
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	_, err := s.c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, s.values, key, value)
		p.Publish(ctx, s.channel, key)
		return nil
	})
	return err
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	_, err := s.c.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HDel(ctx, s.values, key)
		p.Publish(ctx, s.channel, key)
		return nil
	})
	return err
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	keys, err := s.c.HKeys(ctx, s.values).Result()
	if err != nil {
		return nil, err
	}
	if prefix != "" {
		below := strings.TrimSuffix(prefix, "/") + "/"
		keys = slices.DeleteFunc(keys, func(k string) bool { return !strings.HasPrefix(k, below) })
	}
	slices.Sort(keys)
	return keys, nil
}

// Watch implements store.Shared. The client connects again by itself; each time the server
// confirms the channel, changes may have been missed.
func (s *Store) Watch(ctx context.Context, changed func(keys []string)) {
	p := s.c.Subscribe(ctx, s.channel)
	defer func() { _ = p.Close() }()
	events := p.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(2 * time.Second))
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			switch e := e.(type) {
			case *redis.Subscription:
				changed(nil)
			case *redis.Message:
				changed([]string{e.Payload})
			}
			if !ok {
				return
			}
		}
	}
}

type lease struct {
	s            *Store
	name, holder string
}

// Lock implements store.Store.
func (s *Store) Lock(ctx context.Context, name string, ttl time.Duration) (store.Lease, error) {
	l := &lease{s, s.lock + name, rand.Text()}
	err := store.Await(ctx, lockPoll, func() (bool, error) {
		return s.c.SetNX(ctx, l.name, l.holder, ttl).Result()
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// A lock is changed only by who holds it, in one step. The text is what EVAL takes.
const (
	extendText  = `if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0`
	releaseText = `if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0`
)

// Extend implements store.Lease.
func (l *lease) Extend(ctx context.Context, ttl time.Duration) error {
	n, err := l.s.c.Eval(ctx, extendText, []string{l.name}, l.holder, ttl.Milliseconds()).Int()
	if err == nil && n == 0 {
		return store.ErrLost
	}
	return err
}

// Release implements store.Lease.
func (l *lease) Release() error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return l.s.c.Eval(ctx, releaseText, []string{l.name}, l.holder).Err()
}
