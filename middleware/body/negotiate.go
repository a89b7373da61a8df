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
	refused      = "" // nothing that can be sent is acceptable
)

// weighed is an entry of Accept-Encoding.
type weighed struct {
	coding string
	weight float64
}

// parseAccept reads Accept-Encoding (RFC 9110 §12.5.3) and keeps what can be made, and
// the wildcard and identity. weights reports whether an entry has a weight.
func parseAccept(fields []string, supported []string) (list []weighed, weights bool) {
	for _, f := range fields {
		for item := range strings.SplitSeq(f, ",") {
			coding, params, _ := strings.Cut(item, ";")
			w := weighed{strings.ToLower(strings.TrimSpace(coding)), 1}
			if w.coding == "x-gzip" {
				w.coding = codingGzip
			}
			if w.coding != "*" && w.coding != identity && !slices.Contains(supported, w.coding) {
				continue
			}
			name, value, ok := strings.Cut(strings.TrimSpace(params), "=")
			if ok && strings.EqualFold(strings.TrimSpace(name), "q") {
				if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && q >= 0 && q <= 1 {
					w.weight, weights = q, true
				}
			}
			list = append(list, w)
		}
	}
	slices.SortStableFunc(list, func(a, b weighed) int {
		switch {
		case a.weight > b.weight:
			return -1
		case a.weight < b.weight:
			return 1
		}
		return slices.Index(supported, a.coding) - slices.Index(supported, b.coding)
	})
	return list, weights
}

// negotiate chooses a coding: by weight, then by the order of supported.
func negotiate(fields []string, supported []string, standard string) string {
	list, weights := parseAccept(fields, supported)
	if standard == "" {
		standard = supported[0]
		if slices.Contains(supported, codingBrotli) {
			standard = codingBrotli
		}
	}
	if !weights {
		for _, s := range supported {
			if slices.ContainsFunc(list, func(w weighed) bool { return w.coding == s }) {
				return s
			}
		}
		if slices.ContainsFunc(list, func(w weighed) bool { return w.coding == "*" }) {
			return standard
		}
		return identity
	}
	if len(list) == 0 {
		return identity
	}
	switch best := list[0]; {
	case best.weight == 0 && (best.coding == identity || best.coding == "*"):
		return refused
	case best.weight == 0:
		return identity
	case best.coding == "*":
		return standard
	default:
		return best.coding
	}
}
