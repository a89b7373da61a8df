package server

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sluice-edge/sluice/store"
	"github.com/sluice-edge/sluice/store/acmejson"
	"github.com/sluice-edge/sluice/store/file"
	"github.com/sluice-edge/sluice/store/postgres"
	"github.com/sluice-edge/sluice/store/redis"
	"github.com/sluice-edge/sluice/store/seal"
)

// errNeedsKey: private keys are readable in acme.json only, which is the reference's file.
var errNeedsKey = errors.New("private keys are encrypted there: set storageKey (make one with: sluice certs key)")

// openStorage opens what the setting "storage" of a resolver names: the path of an
// acme.json, or an address.
func openStorage(storage string, ring *seal.Keyring) (store.Store, error) {
	scheme, rest, ok := strings.Cut(storage, ":")
	if !ok || filepath.IsAbs(storage) || len(scheme) < 3 {
		return acmejson.Open(storage)
	}
	open, known := map[string]func() (store.Store, error){
		"file":       func() (store.Store, error) { return acmejson.Open(local(rest)) },
		"dir":        func() (store.Store, error) { return file.Open(local(rest)) },
		"sealed":     func() (store.Store, error) { return file.OpenSealed(local(rest), ring) },
		"redis":      func() (store.Store, error) { return redis.Open(storage) },
		"unix":       func() (store.Store, error) { return redis.Open(storage) },
		"rediss":     func() (store.Store, error) { return redis.Open(storage) },
		"postgres":   func() (store.Store, error) { return postgres.Open(storage) },
		"postgresql": func() (store.Store, error) { return postgres.Open(storage) },
	}[scheme]
	switch {
	case !known:
		return nil, fmt.Errorf("%s: is not known; write the path of an acme.json, or an address that begins with dir:, sealed:, redis:, rediss: or postgres: instead", scheme)
	case ring == nil && scheme != "file":
		return nil, fmt.Errorf("%s: %w", scheme, errNeedsKey)
	}
	return open()
}

// local takes the slashes of "dir:///data" and of "dir://data" off.
func local(rest string) string { return strings.TrimPrefix(rest, "//") }
