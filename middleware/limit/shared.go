package limit

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/memory"
	"github.com/sluice-edge/sluice/middleware/option"
	"github.com/sluice-edge/sluice/middleware/trust"
)

// redisPause is how long Redis is not asked again after it failed: meanwhile requests are
// limited by this router alone, and none waits for a connection that does not come.
const redisPause = time.Second

// takeScript takes a token: KEYS[1] holds when the bucket is full again, in microseconds;
// ARGV are the interval, the bucket and the longest wait. It returns the wait; a longer one
// takes nothing. The clock is that of Redis, so routers need not agree on theirs.
const takeScript = `
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local full = tonumber(redis.call('GET', KEYS[1]) or '0')
local interval, burst, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local after = math.max(full, now) + interval
local early = math.max(after - burst - now, 0)
if early <= longest then
  redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000) + 1000)
end
return string.format('%.0f', early)
`

// shared is a rate limit whose buckets are in Redis.
type shared struct {
	client *redisClient
	script *redis.Script
	prefix string
	rate   rate
}

// redisClient is one Redis for all limits that name it alike. It is safe for concurrent use.
type redisClient struct {
	redis.UniversalClient
	timeout time.Duration
	retryAt atomic.Int64 // ns; before it Redis is not asked
	log     zerolog.Logger
}

var errPaused = errors.New("the store of rate limits failed a moment ago")

func newShared(name string, cfg *config.Redis, r rate, state *memory.State, log zerolog.Logger) (*shared, error) {
	opts, err := redisOptions(cfg)
	if err != nil {
		return nil, err
	}
	client := memory.Get(state, memory.Key(cfg, "redis"), func() *redisClient {
		return &redisClient{
			UniversalClient: redis.NewUniversalClient(opts),
			timeout:         opts.ReadTimeout + opts.WriteTimeout, log: log,
		}
	})
	return &shared{client: client, script: redis.NewScript(takeScript), prefix: "sluice:rate:" + name + ":", rate: r}, nil
}

func redisOptions(cfg *config.Redis) (*redis.UniversalOptions, error) {
	for _, n := range []struct {
		field string
		value int
	}{{"db", cfg.DB}, {"poolSize", cfg.PoolSize}, {"minIdleConns", cfg.MinIdleConns}, {"maxActiveConns", cfg.MaxActiveConns}} {
		if n.value < 0 {
			return nil, option.Errorf("redis."+n.field, "write zero or more", "%d is negative", n.value)
		}
	}
	o := &redis.UniversalOptions{
		Addrs: cfg.Endpoints, Username: cfg.Username, Password: cfg.Password, DB: cfg.DB,
		PoolSize: cfg.PoolSize, MinIdleConns: cfg.MinIdleConns, MaxActiveConns: cfg.MaxActiveConns,
		ReadTimeout: either(cfg.ReadTimeout, 3*time.Second), WriteTimeout: either(cfg.WriteTimeout, 3*time.Second),
		DialTimeout: either(cfg.DialTimeout, 5*time.Second),
		// A request must not wait for several attempts, and no command but ours is needed.
		MaxRetries: -1, ContextTimeoutEnabled: true, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if len(o.Addrs) == 0 {
		o.Addrs = []string{"localhost:6379"}
	}
	if cfg.TLS != nil {
		var err error
		if o.TLSConfig, err = trust.ClientTLS("redis.tls", cfg.TLS); err != nil {
			return nil, err
		}
		o.TLSConfig.MinVersion = tls.VersionTLS12
	}
	return o, nil
}

// either returns the configured time, or standard where none is set or it is negative.
func either(d *config.Duration, standard time.Duration) time.Duration {
	if d == nil || *d <= 0 {
		return standard
	}
	return time.Duration(*d)
}

// take takes a token and returns how long to wait for it.
func (s *shared) take(ctx context.Context, group string) (time.Duration, error) {
	c := s.client
	now := time.Now().UnixNano()
	at := c.retryAt.Load()
	// After a failure one request at a time finds out whether Redis is back.
	if at > now || at != 0 && !c.retryAt.CompareAndSwap(at, now+int64(redisPause)) {
		return 0, errPaused
	}
	if ctx == nil {
		ctx = context.Background()
	}
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	us, err := s.script.Run(ctx, c, []string{s.prefix + group},
		s.rate.interval/1000, s.rate.burst/1000, s.rate.maxDelay/1000).Int64()
	if err != nil {
		if parent.Err() == nil {
			if c.retryAt.Swap(time.Now().UnixNano()+int64(redisPause)) == 0 {
				c.log.Warn().Err(err).Msg("Redis cannot be asked for rate limits; limiting by this router alone")
			}
		}
		return 0, err
	}
	if at != 0 {
		c.retryAt.Store(0)
		c.log.Info().Msg("Redis answers again; rate limits are shared")
	}
	return time.Duration(us) * time.Microsecond, nil
}
