package check

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/config/decode"
)

// ownFile reports whether the router has a static file: one that is named, or one that is mounted
// where it is looked for. The file is checked if it was not given and this machine has it.
func (c *Checker) ownFile(s decode.ComposeService) bool {
	args := flags(s)
	given := c.model.static != nil
	found := func(file string) bool {
		if !given {
			c.feed(s, file, c.Static)
		}
		return c.model.static != nil
	}
	for i, a := range args {
		key, value, has := strings.Cut(c.interpolate(a.Value), "=")
		if !strings.EqualFold(strings.TrimLeft(key, "-"), "configfile") {
			continue
		}
		if !has && i+1 < len(args) {
			value = c.interpolate(args[i+1].Value)
		}
		found(path.Join("/", value))
		return true
	}
	mounted := map[string]bool{}
	for _, v := range s.Volumes {
		mounted[path.Clean(c.interpolate(v))] = true
	}
	likely := false
	for _, dir := range []string{"/etc/sluice", "/etc/traefik", "/"} {
		program := strings.TrimPrefix(path.Base(dir), "/")
		for _, base := range []string{"sluice", "traefik"} {
			if program != "" && base != program {
				continue
			}
			for _, ext := range []string{".toml", ".yaml", ".yml"} {
				file := path.Join(dir, base+ext)
				if mounted[file] {
					found(file)
					return true
				}
				if !given && mounted[dir] && found(file) {
					return true
				}
			}
		}
		likely = likely || mounted[dir] && len(args) == 0
	}
	return likely
}

// onHost is where a path of the container is on this machine: below what is mounted there.
func (c *Checker) onHost(s decode.ComposeService, file string) (string, bool) {
	best, host := "", ""
	for target, source := range s.Sources {
		target = path.Clean(c.interpolate(target))
		rest, below := strings.CutPrefix(path.Clean(file), target)
		if !below || rest != "" && rest[0] != '/' || len(target) < len(best) {
			continue
		}
		source = c.interpolate(source)
		if named := c.compose.Configs[source]; named != "" {
			source = c.interpolate(named)
		}
		if !strings.HasPrefix(source, ".") && !filepath.IsAbs(source) {
			continue // a volume
		}
		if !filepath.IsAbs(source) {
			source = filepath.Join(c.compose.Dir, source)
		}
		best, host = target, filepath.Join(source, filepath.FromSlash(rest))
	}
	return host, host != ""
}

// feed gives a file of the container, or those of a directory, to f, if this machine has them.
func (c *Checker) feed(s decode.ComposeService, file string, f func(name string, data []byte)) {
	if host, ok := c.onHost(s, file); ok && file != "" && c.world.Feed != nil {
		_ = c.world.Feed(host, f) // what cannot be read is not judged
	}
}

// settled is for a router whose static configuration is known, if it can be.
func (c *Checker) settled(s decode.ComposeService) {
	if c.model.static == nil {
		return
	}
	c.model.inContainer = true
	for _, name := range sortedKeys(c.model.static.CertificatesResolvers) {
		c.volume(s, name, c.model.static.CertificatesResolvers[name].ACME)
	}
	p := c.model.static.Providers
	if p == nil || p.File == nil || c.model.providers["file"] {
		return
	}
	for _, file := range []string{p.File.Filename, p.File.Directory} {
		if file != "" {
			c.feed(s, path.Join("/", file), c.Dynamic)
		}
	}
}

// volume warns of certificates that are lost with the container.
func (c *Checker) volume(s decode.ComposeService, name string, a *config.ACME) {
	if a == nil || strings.Contains(a.Storage, "://") || overlay(s) {
		return
	}
	key := "certificatesResolvers." + name + ".acme.storage"
	dir := path.Dir(path.Join("/", a.Storage))
	for _, v := range s.Volumes {
		v = path.Clean(c.interpolate(v))
		if v == path.Join("/", a.Storage) || v == dir || strings.HasPrefix(dir, v+"/") {
			return
		}
	}
	hint := "add a volume for " + dir
	if dir == "/" {
		hint = "write a directory with a volume, such as /data/acme.json"
	}
	c.add(c.model.staticAt(key), config.Problem{Object: "service " + s.Name, Field: key, Code: CodeStorage, Severity: config.Warning,
		Text: fmt.Sprintf("%s is in no volume: the certificates are lost with the container", a.Storage), Suggestion: hint})
}
