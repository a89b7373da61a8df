package config

import (
	"net/url"
	"strings"
)

// The probes of sluice.ready beside "http:/path".
const (
	ReadyTCP  = "tcp"
	ReadyNone = "none"
)

// CheckReady tells what is wrong with a value of sluice.ready; "" means nothing. The empty
// value stands for the default.
func CheckReady(v string) string {
	if v == "" || v == ReadyTCP || v == ReadyNone {
		return ""
	}
	if p, ok := strings.CutPrefix(v, "http:"); ok && strings.HasPrefix(p, "/") {
		if u, err := url.Parse(p); err == nil && u.Host == "" {
			return ""
		}
	}
	return "it is not tcp, http:/path or none"
}

func (c *checker) ready(s *Sluice) {
	if why := CheckReady(s.Ready); why != "" {
		c.add(Error, "sluice.ready", CodeInvalidValue, "write tcp, http:/path or none", "%s", why)
	}
	if s.Hold != nil && *s.Hold < 0 {
		c.add(Error, "sluice.hold", CodeInvalidValue, "", "must not be negative")
	}
}

// HoldTime is how long requests wait for the replacement of a container.
func (s *Sluice) HoldTime() Duration {
	if s == nil || s.Hold == nil {
		return DefaultHold
	}
	return *s.Hold
}
