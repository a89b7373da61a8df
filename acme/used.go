package acme

import (
	"context"
	"maps"
	"time"
)

// noteEvery is how often it is noted which certificates routers name; pruning counts in days.
const noteEvery = 24 * time.Hour

// usage says when routers last named each certificate. It is one value, as one a
// certificate would be written thousands of times a day.
type usage map[string]time.Time

// noteUse notes which certificates are in use and prunes those that were not for long.
func (r *resolver) noteUse(ctx context.Context, now time.Time) {
	if r.cfg.PruneAfter <= 0 {
		return
	}
	r.mu.Lock()
	ready, wanted := r.loaded, r.wanted
	used := map[string]bool{}
	wants := r.wanting()
	for k, h := range r.certs.all {
		used[k] = wants.use(h.names)
	}
	r.mu.Unlock()
	if !ready || !wanted { // before the routers are known nothing is unused
		return
	}
	lock, err := r.vault.Lock(ctx, r.name+"/@used", r.lease)
	if err != nil {
		return // the next time
	}
	defer func() { _ = lock.Release() }() // it expires anyhow
	key := r.stateKey("@used")
	last := usage{}
	if err := r.vault.getJSON(ctx, key, &last); err != nil {
		return
	}
	before := maps.Clone(last)
	var old []string
	for k, yes := range used {
		switch seen, known := last[k]; {
		case yes && now.Sub(seen) >= noteEvery, !known:
			last[k] = now
		case !yes && now.Sub(seen) >= time.Duration(r.cfg.PruneAfter):
			old = append(old, k)
		}
	}
	for k := range last {
		if _, ok := used[k]; !ok {
			delete(last, k)
		}
	}
	for _, k := range old {
		if err := r.forget(ctx, k); err != nil {
			r.log.Warn().Err(err).Str("names", k).Msg("unused certificate not deleted")
			continue
		}
		delete(last, k)
		r.log.Info().Str("names", k).Msg("certificate deleted: no router named it for long")
	}
	if !maps.Equal(before, last) {
		if err := r.vault.putJSON(ctx, key, last); err != nil {
			r.log.Warn().Err(err).Msg("use of certificates not stored")
		}
	}
	if len(old) > 0 {
		r.changed()
	}
}

// forget deletes a certificate and its state.
func (r *resolver) forget(ctx context.Context, k string) error {
	if err := r.vault.Delete(ctx, r.certificateKey(k)); err != nil {
		return err
	}
	r.mu.Lock()
	r.certs.drop(k)
	_, tried := r.tries[k]
	delete(r.tries, k)
	r.mu.Unlock()
	if tried {
		return r.vault.Delete(ctx, r.stateKey(k))
	}
	return nil
}
