package cert

import (
	"os"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/config"
)

// fileState tells whether a file is still the one that was read. Symbolic links are
// followed, so that the swap of a link, as secrets and configs are mounted, is seen.
type fileState struct {
	size    int64
	changed time.Time
}

// states looks at every file that a configuration names.
func states(c *config.TLS) map[string]fileState {
	out := map[string]fileState{}
	add := func(fs ...config.FileOrContent) {
		for _, f := range fs {
			if f == "" || strings.Contains(string(f), "-----BEGIN") {
				continue
			}
			var st fileState
			if fi, err := os.Stat(string(f)); err == nil {
				st = fileState{fi.Size(), fi.ModTime()}
			}
			out[string(f)] = st
		}
	}
	for _, k := range c.Certificates {
		add(k.CertFile, k.KeyFile)
	}
	for _, s := range c.Stores {
		if s != nil && s.DefaultCertificate != nil {
			add(s.DefaultCertificate.CertFile, s.DefaultCertificate.KeyFile)
		}
	}
	for _, o := range c.Options {
		if o != nil {
			add(o.ClientAuth.CAFiles...)
		}
	}
	return out
}
