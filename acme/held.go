package acme

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/seal"
)

// stored is a certificate in the reference's JSON form.
type stored struct {
	Domain struct {
		Main string   `json:"main,omitempty"`
		SANs []string `json:"sans,omitempty"`
	} `json:"domain"`
	Certificate []byte `json:"certificate"`
	Key         []byte `json:"key"`
	Store       string `json:"Store"`
}

// held is a certificate in hand.
type held struct {
	names []string
	pair  *tls.Certificate
	text  *stored
}

func id(names []string) string { return strings.Join(names, ",") }

func (r *resolver) certificateKey(k string) string { return r.name + "/certificates/" + k }

func (r *resolver) stateKey(k string) string { return r.name + "/state/" + k }

// load reads everything of this resolver from storage. A certificate that cannot be read
// is left out, not lost. Where a shared storage lost what it had, it gets back what we hold.
func (r *resolver) load(ctx context.Context) error {
	if err := r.loadHosts(ctx); err != nil {
		return err
	}
	restore, err := r.newEpoch(ctx)
	if err != nil {
		return err
	}
	keys, err := r.vault.List(ctx, r.name+"/")
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, k := range keys {
		there[k] = true
		if err := r.read(ctx, k); err != nil {
			return err
		}
	}
	r.mu.Lock()
	var lost []*held
	for k, h := range r.certs.all {
		switch {
		case there[r.certificateKey(k)]:
		case restore:
			lost = append(lost, h)
		default:
			r.certs.drop(k)
		}
	}
	for k := range r.tries {
		if !there[r.stateKey(k)] {
			delete(r.tries, k)
		}
	}
	r.loaded = true
	r.mu.Unlock()
	if !there[r.name+"/account"] {
		if err := r.restoreAccount(ctx); err != nil {
			return err
		}
	}
	if len(lost) > 0 {
		r.log.Warn().Int("certificates", len(lost)).Msg("storage lost what it held; it gets it back from memory")
		for _, h := range lost {
			if err := r.vault.putCertificate(ctx, r.certificateKey(id(h.names)), h.text); err != nil {
				return err
			}
		}
	}
	return nil
}

// newEpoch reports whether a shared storage is another one than at the last look: it lost
// its data, and what is not in it was not deleted on purpose.
func (r *resolver) newEpoch(ctx context.Context) (bool, error) {
	if r.vault.shared() == nil {
		return false, nil
	}
	var now struct{ Epoch string }
	key := r.stateKey("@epoch")
	if err := r.vault.getJSON(ctx, key, &now); err != nil {
		return false, err
	}
	if now.Epoch == "" {
		// Should two replicas come here at once, both look again and find that nothing is missing.
		now.Epoch = rand.Text()
		if err := r.vault.putJSON(ctx, key, now); err != nil {
			return false, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	lost := r.epoch != "" && r.epoch != now.Epoch
	r.epoch = now.Epoch
	return lost, nil
}

// read takes one value of storage over into memory, or forgets what is not there any more.
func (r *resolver) read(ctx context.Context, key string) error {
	if n, ok := strings.CutPrefix(key, r.name+"/state/"); ok {
		if strings.HasPrefix(n, "@") {
			return nil // read where it is used
		}
		var a Attempt
		b, err := r.vault.Get(ctx, key)
		if err == nil {
			if a, ok = decodeAttempt(b); !ok {
				return nil
			}
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if err != nil {
			delete(r.tries, n)
		} else {
			r.tries[n] = &a
		}
		return nil
	}
	if key == r.name+"/account" {
		b, err := r.vault.Get(ctx, key)
		if err == nil {
			r.mu.Lock()
			r.accountText = b
			r.mu.Unlock()
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	}
	n, ok := strings.CutPrefix(key, r.name+"/certificates/")
	if !ok {
		return nil
	}
	s, err := r.vault.getCertificate(ctx, key)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(err, store.ErrNotFound):
		r.certs.drop(n)
		return nil
	case errors.Is(err, errSealed), errors.Is(err, seal.ErrKey):
		return err // without its key the whole storage would be ordered anew
	case err == nil:
		err = r.keep(s)
	}
	if err != nil {
		r.log.Warn().Err(err).Str("key", key).Msg("stored certificate left out")
	}
	return nil
}

// keep puts a certificate in hand; one that is in hand already stays the same object.
func (r *resolver) keep(s *stored) error {
	h, err := newHeld(s)
	if err != nil {
		return err
	}
	if old := r.certs.get(id(h.names)); old == nil || !slices.EqualFunc(old.pair.Certificate, h.pair.Certificate, slices.Equal) {
		r.certs.put(h)
	}
	return nil
}

func newHeld(s *stored) (*held, error) {
	p, err := tls.X509KeyPair(s.Certificate, s.Key)
	if err != nil {
		return nil, err
	}
	if p.Leaf == nil {
		if p.Leaf, err = x509.ParseCertificate(p.Certificate[0]); err != nil {
			return nil, err
		}
	}
	return &held{names: clean(config.Domain{Main: s.Domain.Main, SANs: s.Domain.SANs}), pair: &p, text: s}, nil
}

// sync takes over what others changed in a shared storage.
func (r *resolver) sync(ctx context.Context, keys []string) {
	r.syncing.Lock()
	defer r.syncing.Unlock()
	var err error
	if keys == nil || slices.Contains(keys, r.stateKey("@epoch")) {
		keys, err = nil, r.load(ctx)
	}
	for _, k := range keys {
		if strings.HasPrefix(k, r.name+"/") && err == nil {
			err = r.read(ctx, k)
		}
	}
	if err != nil && ctx.Err() == nil {
		r.log.Warn().Err(err).Msg("storage not read; what is in memory stays in use")
	}
	r.changed()
	r.nudge()
}

// covers reports whether a certificate in hand is good for the names and stays so: one that
// nobody of this resolver uses is not renewed, so that for another resolver it ends when
// its renewal would be due.
func (r *resolver) covers(names []string, now time.Time, own bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for h := range r.certs.covering(names) {
		if now.Before(h.pair.Leaf.NotAfter) && (own || now.Before(r.renewByTable(h)) || r.wanting().use(h.names)) {
			return true
		}
	}
	return false
}

// keeps reports whether a certificate is good for the names that is wanted for a set of its own.
func (r *resolver) keeps(names []string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for h := range r.certs.covering(names) {
		if now.Before(h.pair.Leaf.NotAfter) && r.wanting().use(h.names) {
			return true
		}
	}
	return false
}

func (r *resolver) pairs() []*tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*tls.Certificate, 0, len(r.certs.all))
	for _, h := range r.certs.all {
		out = append(out, h.pair)
	}
	slices.SortFunc(out, func(a, b *tls.Certificate) int {
		return strings.Compare(string(a.Certificate[0]), string(b.Certificate[0]))
	})
	return out
}
