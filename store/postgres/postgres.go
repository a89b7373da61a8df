// Package postgres keeps values in PostgreSQL, for several processes at once.
//
// Changes are announced by NOTIFY in the transaction that makes them. Locks are rows with
// an expiry by the clock of the server, so that they neither need a session to stay open
// nor outlive a holder that died.
package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sluice-edge/sluice/store"
)

const (
	// lockPoll is how often a lock that is taken is tried again.
	lockPoll = 100 * time.Millisecond
	// timeout bounds a statement, the connection included.
	timeout = 10 * time.Second
	// again is the pause before a lost connection is made anew.
	again = 500 * time.Millisecond
	// maxPayload is what NOTIFY carries; a longer key is announced as "look at everything".
	maxPayload = 7900
	// setupLock is an advisory lock for the making of the tables.
	setupLock = 0x736c756963650001
)

// Store is a PostgreSQL database. It is safe for concurrent use.
type Store struct {
	pool  *pgxpool.Pool
	table string

	mu    sync.Mutex
	ready bool
}

var _ store.Shared = (*Store)(nil)

var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,40}$`)

// Open readies the client for an address like postgres://user:password@host/database.
// Beside the client's options there are table= for the name of the table ("sluice") and
// passwordFile=. It does not wait for the server; tables are made at the first use.
func Open(address string) (*Store, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("the address of the PostgreSQL server cannot be read") // it holds a password
	}
	q := u.Query()
	table, file := q.Get("table"), q.Get("passwordFile")
	q.Del("table")
	q.Del("passwordFile")
	u.RawQuery = q.Encode()
	if table == "" {
		table = "sluice"
	}
	if !tableName.MatchString(table) {
		return nil, fmt.Errorf("postgres: table %q is not a name of small letters, digits and underscores", table)
	}
	o, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("postgres: passwordFile: %w", err)
		}
		o.ConnConfig.Password = strings.TrimSpace(string(b))
	}
	o.ConnConfig.ConnectTimeout = timeout
	o.MaxConns, o.MinConns = 4, 0
	pool, err := pgxpool.NewWithConfig(context.Background(), o)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return &Store{pool: pool, table: table}, nil
}

// Close closes the connections.
func (s *Store) Close() error {
	s.pool.Close()
	return nil
}

// setup makes the tables once. Two processes may come at the same time.
func (s *Store) setup(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready {
		return nil
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(setupLock)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(`
CREATE TABLE IF NOT EXISTS %[1]s (key text COLLATE "C" PRIMARY KEY, value bytea NOT NULL, changed timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS %[1]s_locks (name text COLLATE "C" PRIMARY KEY, holder text NOT NULL, until timestamptz NOT NULL)`, s.table))
		return err
	})
	s.ready = err == nil
	return err
}

// do runs f with the tables made and its time bounded.
func (s *Store) do(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.setup(ctx); err != nil {
		return err
	}
	return f(ctx)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (value []byte, err error) {
	err = s.do(ctx, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, `SELECT value FROM `+s.table+` WHERE key = $1`, key).Scan(&value)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, store.ErrNotFound
	}
	return value, err
}

// change runs a statement and announces the key in the same transaction.
func (s *Store) change(ctx context.Context, key, statement string, args ...any) error {
	payload := key
	if len(payload) > maxPayload {
		payload = ""
	}
	return s.do(ctx, func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, statement, args...); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `SELECT pg_notify($1, $2)`, s.table+"_changes", payload)
			return err
		})
	})
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	if value == nil {
		value = []byte{}
	}
	return s.change(ctx, key, `INSERT INTO `+s.table+` (key, value) VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, changed = now()`, key, value)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.change(ctx, key, `DELETE FROM `+s.table+` WHERE key = $1`, key)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) (keys []string, err error) {
	if prefix != "" {
		prefix = strings.TrimSuffix(prefix, "/") + "/"
	}
	err = s.do(ctx, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, `SELECT key FROM `+s.table+` WHERE starts_with(key, $1) ORDER BY key`, prefix)
		if err != nil {
			return err
		}
		keys, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	return keys, err
}

// Watch implements store.Shared.
func (s *Store) Watch(ctx context.Context, changed func(keys []string)) {
	for ctx.Err() == nil {
		s.listen(ctx, changed)
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// listen follows the announcements as long as one connection lasts.
func (s *Store) listen(ctx context.Context, changed func(keys []string)) {
	c, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return
	}
	defer func() {
		end, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(end)
	}()
	if _, err := c.Exec(ctx, `LISTEN `+s.table+`_changes`); err != nil {
		return
	}
	changed(nil)
	for {
		// A connection that is silent is asked for a sign of life, as its end may go unseen.
		wait, cancel := context.WithTimeout(ctx, timeout)
		n, err := c.WaitForNotification(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && n.Payload == "":
			changed(nil)
		case err == nil:
			changed([]string{n.Payload})
		case wait.Err() != nil:
			ping, cancel := context.WithTimeout(ctx, timeout)
			err := c.Ping(ping)
			cancel()
			if err != nil {
				return
			}
		default:
			return
		}
	}
}

type lease struct {
	s            *Store
	name, holder string
}

// Lock implements store.Store.
func (s *Store) Lock(ctx context.Context, name string, ttl time.Duration) (store.Lease, error) {
	l := &lease{s, name, rand.Text()}
	err := store.Await(ctx, lockPoll, func() (bool, error) {
		return l.exec(ctx, `INSERT INTO `+s.table+`_locks AS l (name, holder, until) VALUES ($1, $2, clock_timestamp() + $3)
ON CONFLICT (name) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until WHERE l.until < clock_timestamp()`, l.name, l.holder, ttl)
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// exec reports whether the statement changed a row.
func (l *lease) exec(ctx context.Context, statement string, args ...any) (bool, error) {
	var n int64
	err := l.s.do(ctx, func(ctx context.Context) error {
		tag, err := l.s.pool.Exec(ctx, statement, args...)
		n = tag.RowsAffected()
		return err
	})
	return n > 0, err
}

// Extend implements store.Lease.
func (l *lease) Extend(ctx context.Context, ttl time.Duration) error {
	ours, err := l.exec(ctx, `UPDATE `+l.s.table+`_locks SET until = clock_timestamp() + $3
WHERE name = $1 AND holder = $2 AND until >= clock_timestamp()`, l.name, l.holder, ttl)
	if err == nil && !ours {
		return store.ErrLost
	}
	return err
}

// Release implements store.Lease.
func (l *lease) Release() error {
	_, err := l.exec(context.Background(), `DELETE FROM `+l.s.table+`_locks WHERE name = $1 AND holder = $2`, l.name, l.holder)
	return err
}
