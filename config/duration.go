package config

import (
	"fmt"
	"strconv"
	"time"
)

// Duration is a time span as users write it: a Go duration ("1m30s") or a bare
// integer, which counts seconds. The zero value is no time at all.
type Duration time.Duration

// ParseDuration reads s as a Go duration, or as a number of seconds if it is a bare integer.
func ParseDuration(s string) (Duration, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n > int64(1<<63-1)/int64(time.Second) || n < -int64(1<<63-1)/int64(time.Second) {
			return 0, fmt.Errorf("%q: too many seconds", s)
		}
		return Duration(n) * Duration(time.Second), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 10s, 1m30s or a number of seconds", s)
	}
	return Duration(d), nil
}

// String formats the duration as the API shows it, for example "1m30s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it accepts what ParseDuration accepts.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = v
	return nil
}
