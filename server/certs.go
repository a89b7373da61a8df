package server

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/acme"
	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/store/seal"
)

// renewSuffix is appended to the path of an acme.json for the file by which a command asks
// the running router for renewals: the router alone writes the acme.json.
const renewSuffix = ".renew"

// CertificateStatus is what is known of one set of names.
type CertificateStatus = acme.Status

// Certificates are the storages of all resolvers, for commands. Nothing runs.
type Certificates struct {
	*acme.Manager
	static *config.Static
}

// OpenCertificates opens the storages. One that is a file and is not there yet is made as
// the router would make it.
func OpenCertificates(ctx context.Context, s *config.Static, log zerolog.Logger) (*Certificates, error) {
	cfg := map[string]*config.ACME{}
	for name, r := range s.CertificatesResolvers {
		if r != nil && r.ACME != nil {
			cfg[name] = r.ACME
		}
	}
	if len(cfg) == 0 {
		return nil, errors.New("the static configuration has no certificate resolver; give the command the router's flags, file or environment")
	}
	return &Certificates{acme.New(ctx, acme.Options{Resolvers: cfg, Log: log, Open: openStorage}), s}, nil
}

// NewStorageKey makes a key for storageKey.
func NewStorageKey() string { return seal.Generate() }

// Covers reports whether a certificate for these names is good for a host.
func Covers(names []string, host string) bool { return acme.Covers(names, host) }

// Failed are the orders that failed, of names that cover the host and have no certificate.
func (c *Certificates) Failed(host string) []CertificateStatus { return c.Manager.Failed(host) }

// Import takes certificates over from a file or directory. Those of a source that names
// resolvers stay with theirs unless resolver is given. It returns the names taken and how
// many were found. What goes to an acme.json a running router takes over itself.
func (c *Certificates) Import(ctx context.Context, path, resolver string) (taken []string, found int, err error) {
	all, err := acme.Collect(path)
	if err != nil {
		return nil, 0, err
	}
	byFile := map[string][]acme.Certificate{}
	for _, k := range all {
		if resolver != "" {
			k.Resolver = resolver
		}
		if k.Resolver == "" {
			return taken, len(all), errors.New("there are several resolvers: say which with --resolver=NAME")
		}
		file := c.file(k.Resolver)
		byFile[file] = append(byFile[file], k)
	}
	var errs []error
	for _, file := range slices.Sorted(maps.Keys(byFile)) {
		names, err := c.ask(ctx, file, request{Import: byFile[file]}, time.Now())
		taken = append(taken, names...)
		errs = append(errs, err)
	}
	return taken, len(all), errors.Join(errs...)
}

// file is the acme.json of a resolver, or "" where its storage is another one.
func (c *Certificates) file(resolver string) string {
	if r := c.static.CertificatesResolvers[resolver]; r != nil && r.ACME != nil {
		if path, ok := acmeFile(r.ACME.Storage); ok {
			return path
		}
	}
	return ""
}

// ask has a running router do what changes its acme.json, or does it where none runs. Other
// storages may be written by anybody.
func (c *Certificates) ask(ctx context.Context, file string, r request, now time.Time) ([]string, error) {
	a, done := answer{}, false
	if file != "" {
		var err error
		if a, done, err = r.hand(ctx, file); err != nil {
			return nil, err
		}
	}
	if !done {
		a = r.do(ctx, c.Manager, now, func(resolver string) bool { return c.file(resolver) == file })
	}
	if a.Error != "" {
		return a.Names, errors.New(a.Error)
	}
	return a.Names, nil
}

// Export writes every certificate below dir.
func (c *Certificates) Export(dir string) (int, error) {
	all := c.Manager.Certificates()
	for i, k := range all {
		if _, err := acme.Export(dir, k); err != nil {
			return i, err
		}
	}
	return len(all), nil
}

// Prune deletes what ended or was not used for long, and returns the names. What stands in
// an acme.json a running router deletes itself.
func (c *Certificates) Prune(ctx context.Context, now time.Time) ([]string, error) {
	files := map[string]bool{}
	for _, n := range c.Usable() {
		files[c.file(n)] = true
	}
	var out []string
	var errs []error
	for _, file := range slices.Sorted(maps.Keys(files)) {
		names, err := c.ask(ctx, file, request{Prune: true}, now)
		out = append(out, names...)
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}

// acmeFile is the path of a storage that is an acme.json.
func acmeFile(storage string) (string, bool) {
	scheme, rest, ok := strings.Cut(storage, ":")
	switch {
	case !ok || filepath.IsAbs(storage) || len(scheme) < 3:
		return storage, true
	case scheme == "file":
		return local(rest), true
	}
	return "", false
}

// Renew makes certificates for a name due, in storage, and tells a running router. It
// returns how many.
func (c *Certificates) Renew(ctx context.Context, name string) (int, error) {
	n, err := c.Manager.Renew(ctx, name)
	if err != nil || n == 0 {
		return n, err
	}
	for _, r := range c.static.CertificatesResolvers {
		if r == nil || r.ACME == nil {
			continue
		}
		if path, ok := acmeFile(r.ACME.Storage); ok {
			if err := os.WriteFile(path+renewSuffix, []byte(name+"\n"), 0o600); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// renewals does what commands asked for by files beside the acme.json.
func (s *Server) renewals(ctx context.Context) {
	m := s.acme.Load()
	for _, r := range s.static.Load().CertificatesResolvers {
		if r == nil || r.ACME == nil {
			continue
		}
		path, ok := acmeFile(r.ACME.Storage)
		if !ok {
			continue
		}
		s.takeRequest(ctx, m, path)
		b, err := os.ReadFile(path + renewSuffix)
		if err != nil {
			continue // nobody asks
		}
		_ = os.Remove(path + renewSuffix)
		for name := range strings.FieldsSeq(string(b)) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			n, err := m.Renew(ctx, name)
			cancel()
			s.log.Info().Err(err).Str("name", name).Int("certificates", n).Msg("renewal asked for")
		}
	}
}
