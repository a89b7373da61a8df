package config

import (
	"fmt"
	"strconv"
	"strings"
)

// StatusRanges is a set of HTTP statuses, written as "404", "500-599" or lists of them.
// The zero value contains nothing.
type StatusRanges [][2]int

// ParseStatusRanges reads statuses and ranges. A reversed range is an error: the
// reference takes it and never matches.
func ParseStatusRanges(in []string) (StatusRanges, error) {
	var out StatusRanges
	for _, s := range in {
		for part := range strings.SplitSeq(s, ",") {
			part = strings.TrimSpace(part)
			lo, hi, ranged := strings.Cut(part, "-")
			a, err := strconv.Atoi(lo)
			b := a
			if err == nil && ranged {
				b, err = strconv.Atoi(hi)
			}
			if err != nil || a < 100 || b > 999 {
				return nil, fmt.Errorf("%q is not a status such as 404 or a range such as 500-599", part)
			}
			if b < a {
				return nil, fmt.Errorf("the range %q is reversed; write %d-%d", part, b, a)
			}
			out = append(out, [2]int{a, b})
		}
	}
	return out, nil
}

// Contains reports whether status is in the set.
func (r StatusRanges) Contains(status int) bool {
	for _, p := range r {
		if status >= p[0] && status <= p[1] {
			return true
		}
	}
	return false
}
