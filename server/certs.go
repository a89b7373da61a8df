package server

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
// many were found.
func (c *Certificates) Import(ctx context.Context, path, resolver string) (taken []string, found int, err error) {
	all, err := acme.Collect(path)
	if err != nil {
		return nil, 0, err
	}
	var errs []error
	for _, k := range all {
		if resolver != "" {
			k.Resolver = resolver
		}
		if k.Resolver == "" {
			return taken, len(all), errors.New("there are several resolvers: say which with --resolver=NAME")
		}
		ok, err := c.Manager.Import(ctx, k)
		if ok {
			taken = append(taken, strings.Join(k.Names, ","))
		}
		errs = append(errs, err)
	}
	return taken, len(all), errors.Join(errs...)
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

// Prune deletes what ended or was not used for long, and returns the names.
func (c *Certificates) Prune(ctx context.Context, now time.Time) ([]string, error) {
	gone, err := c.Manager.Prune(ctx, now)
	var out []string
	for _, k := range gone {
		out = append(out, strings.Join(k.Names, ","))
	}
	return out, err
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
