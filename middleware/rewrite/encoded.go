package rewrite

import (
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/proxy/exchange"
)

type encodedCharacters struct{ refused [256]bool }

// NewEncodedCharacters refuses paths with escapes that servers are known to read in
// different ways, but for those that are allowed.
func NewEncodedCharacters(cfg *config.EncodedCharacters) exchange.Op {
	e := &encodedCharacters{}
	for _, c := range []struct {
		char  byte
		allow bool
	}{
		{'/', cfg.AllowEncodedSlash},
		{'\\', cfg.AllowEncodedBackSlash},
		{0, cfg.AllowEncodedNullCharacter},
		{';', cfg.AllowEncodedSemicolon},
		{'%', cfg.AllowEncodedPercent},
		{'?', cfg.AllowEncodedQuestionMark},
		{'#', cfg.AllowEncodedHash},
	} {
		e.refused[c.char] = !c.allow
	}
	return e
}

func (e *encodedCharacters) Request(ex *exchange.Exchange) exchange.Verdict {
	p := ex.Req.Path
	for i := 0; i+2 < len(p); i++ {
		if p[i] != '%' {
			continue
		}
		hi, lo := unhex(p[i+1]), unhex(p[i+2])
		if hi >= 0 && lo >= 0 && e.refused[byte(hi<<4|lo)] {
			return refusePath(ex)
		}
	}
	return exchange.Next
}
