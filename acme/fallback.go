package acme

import "slices"

// failuresBeforeFallback is how often an order fails before the fallback tries; of a CA
// that cannot be reached it is networkBeforeFallback attempts, which takes about a minute.
const (
	failuresBeforeFallback = 3
	networkBeforeFallback  = 6
)

// passOn gives names to the fallback once they failed often enough. This resolver goes on
// trying by its back-off until a certificate is there.
func (r *resolver) passOn(j job, a Attempt) {
	if r.fallback == nil || a.Failures < failuresBeforeFallback && a.Network < networkBeforeFallback {
		return
	}
	r.fallback.back(j.names)
	r.log.Warn().Strs("names", j.names).Str("fallback", r.fallback.name).Msg("certificate is ordered from the fallback")
}

// back adds names to those ordered for other resolvers.
func (r *resolver) back(names []string) {
	r.mu.Lock()
	known := slices.ContainsFunc(r.backing, func(b []string) bool { return slices.Equal(b, names) })
	if !known {
		r.backing, r.wishes = append(r.backing, names), nil
	}
	r.mu.Unlock()
	if !known {
		r.nudge()
	}
}

// rebuildBacking finds what a fallback has to keep: names that others want, have failed
// for, and hold no certificate of their own for. It runs when the wants change.
func (m *Manager) rebuildBacking() {
	for _, f := range m.resolvers {
		var keep [][]string
		for _, r := range m.resolvers {
			if r.fallback != f {
				continue
			}
			for _, w := range r.missing() {
				if f.has(w) || r.attempt(id(w)).Failures >= failuresBeforeFallback {
					keep = append(keep, w)
				}
			}
		}
		f.mu.Lock()
		f.backing, f.wishes = keep, nil
		f.mu.Unlock()
	}
}

// missing are wanted names without a certificate of this resolver.
func (r *resolver) missing() [][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out [][]string
	for _, w := range r.wants {
		if !r.certs.holds(w) {
			out = append(out, w)
		}
	}
	return out
}

func (r *resolver) has(names []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.certs.holds(names)
}
