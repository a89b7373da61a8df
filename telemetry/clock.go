package telemetry

import "time"

// clock keeps the texts of one second, as most requests of a moment share it. It is not
// safe for concurrent use.
type clock struct {
	location *time.Location
	sec      int64
	valid    bool
	// clf and clfLocal are "02/Jan/2006:15:04:05 -0700"; utc and local "2006-01-02T15:04:05";
	// zone is what follows local, "+02:00" or "Z".
	clf, clfLocal, utc, local, zone []byte
}

func (c *clock) set(sec int64) {
	if c.valid && c.sec == sec {
		return
	}
	const clf, iso = "02/Jan/2006:15:04:05 -0700", "2006-01-02T15:04:05"
	if c.location == nil {
		c.location = time.Local
	}
	t := time.Unix(sec, 0)
	here, utc := t.In(c.location), t.UTC()
	c.sec, c.valid = sec, true
	c.clf = utc.AppendFormat(c.clf[:0], clf)
	c.clfLocal = here.AppendFormat(c.clfLocal[:0], clf)
	c.utc = utc.AppendFormat(c.utc[:0], iso)
	c.local = here.AppendFormat(c.local[:0], iso)
	c.zone = here.AppendFormat(c.zone[:0], "Z07:00")
}

// appendNano appends the fraction of a second as RFC 3339 has it: without trailing zeros.
func appendNano(dst []byte, nano int64) []byte {
	if nano == 0 {
		return dst
	}
	var digits [10]byte
	digits[0] = '.'
	for i := 9; i > 0; i-- {
		digits[i] = byte('0' + nano%10)
		nano /= 10
	}
	n := len(digits)
	for digits[n-1] == '0' {
		n--
	}
	return append(dst, digits[:n]...)
}
