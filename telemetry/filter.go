package telemetry

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// filter keeps requests for which any of its rules holds; without rules it keeps all.
type filter struct {
	any         bool
	statuses    []statusRange
	retries     bool
	minDuration int64
}

type statusRange struct{ from, to int }

// newFilter leaves out statuses that are none; validation has warned. Where no rule is left,
// everything is logged.
func newFilter(c *config.AccessLogFilters) filter {
	if c == nil {
		return filter{}
	}
	f := filter{retries: c.RetryAttempts, minDuration: int64(c.MinDuration)}
	for _, item := range c.StatusCodes {
		for text := range strings.SplitSeq(item, ",") {
			if r, err := parseStatusRange(strings.TrimSpace(text)); err == nil {
				f.statuses = append(f.statuses, r)
			}
		}
	}
	f.any = f.retries || f.minDuration > 0 || len(f.statuses) > 0
	return f
}

// parseStatusRange reads "404" or "500-599".
func parseStatusRange(text string) (statusRange, error) {
	first, last, ranged := strings.Cut(text, "-")
	from, err := strconv.Atoi(strings.TrimSpace(first))
	to := from
	if err == nil && ranged {
		to, err = strconv.Atoi(strings.TrimSpace(last))
	}
	if err != nil || from < 0 || to > 999 || from > to {
		return statusRange{}, fmt.Errorf("%q is not a status or a range such as 500-599", text)
	}
	return statusRange{from, to}, nil
}

func (f *filter) keeps(r *Record) bool {
	if !f.any {
		return true
	}
	for _, s := range f.statuses {
		if s.from <= r.Status && r.Status <= s.to {
			return true
		}
	}
	return f.retries && r.Retries > 0 || f.minDuration > 0 && r.Duration > f.minDuration
}
