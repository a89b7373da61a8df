package body

import (
	"slices"
	"strconv"
	"strings"
)

// The content codings that can be made.
const (
	codingGzip   = "gzip"
	codingBrotli = "br"
	codingZstd   = "zstd"
	identity     = "identity"
)

// weighed is an entry of Accept-Encoding.
type weighed struct {
	coding string
	weight float64
	rank   int // among entries of equal weight
}

// parseAccept reads Accept-Encoding (RFC 9110 §12.5.3) and keeps what is acceptable and
// known: what can be made, the wildcard and identity. Entries without a weight have 1,
// those whose weight is no number have none.
func parseAccept(fields []string, supported []string) []weighed {
	var list []weighed
	for _, f := range fields {
		for item := range strings.SplitSeq(f, ",") {
			coding, params, _ := strings.Cut(item, ";")
			w := weighed{coding: strings.ToLower(strings.TrimSpace(coding)), weight: 1}
			switch w.coding {
			case "*":
				w.rank = -1
			case identity:
				w.rank = len(supported)
			default:
				if w.coding == "x-gzip" {
					w.coding = codingGzip
				}
				if w.rank = slices.Index(supported, w.coding); w.rank < 0 {
					continue
				}
			}
			name, value, ok := strings.Cut(strings.TrimSpace(params), "=")
			if ok && strings.EqualFold(strings.TrimSpace(name), "q") {
				w.weight, _ = strconv.ParseFloat(strings.TrimSpace(value), 64)
			}
			if w.weight > 0 {
				list = append(list, w)
			}
		}
	}
	return list
}

// negotiate chooses a coding: by weight, then the wildcard before those of supported in
// their order, and identity last. It is identity where nothing else will do. named reports
// whether the client names the coding itself.
func negotiate(fields []string, supported []string, standard string) (coding string, named bool) {
	list := parseAccept(fields, supported)
	if len(list) == 0 {
		return identity, false
	}
	best := slices.MinFunc(list, func(a, b weighed) int {
		switch {
		case a.weight > b.weight:
			return -1
		case a.weight < b.weight:
			return 1
		}
		return a.rank - b.rank
	})
	coding = best.coding
	if coding == "*" {
		if coding = standard; coding == "" {
			coding = supported[0]
		}
	}
	return coding, slices.ContainsFunc(list, func(w weighed) bool { return w.coding == coding })
}
