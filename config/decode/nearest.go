package decode

import "strings"

// Nearest returns the candidate that word was most likely meant to be, without regard
// to case, or "" if none is near: within two edits, or a third of the longer word.
func Nearest(word string, candidates []string) string {
	best, least := "", -1
	lower := strings.ToLower(word)
	for _, c := range candidates {
		lc := strings.ToLower(c)
		d := distance(lower, lc)
		limit := max(2, max(len(lower), len(lc))/3)
		// Short words are near to everything; a changed word must keep half of itself.
		if d > limit || 2*d > max(len(lower), len(lc)) {
			continue
		}
		if least < 0 || d < least {
			best, least = c, d
		}
	}
	if best == "" && len(lower) >= 4 {
		for _, c := range candidates {
			if lc := strings.ToLower(c); strings.HasPrefix(lc, lower) || len(lc) >= 4 && strings.HasPrefix(lower, lc) {
				return c
			}
		}
	}
	return best
}

// distance counts the edits from a to b: insert, delete, change, swap of neighbours.
func distance(a, b string) int {
	if len(a) > 128 || len(b) > 128 {
		return 1 << 20
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
