// Package auth holds the middlewares that ask who a request comes from.
package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/middleware/option"
)

// source is one entry of users with the place it stands at.
type entry struct {
	field, line string
}

// load returns the entries of a file followed by those of the list; later ones win. A file
// named "env:NAME" is the content of that environment variable. Docker secrets are files
// below /run/secrets. The environment is not for the middlewares of labels: what it holds
// is the router's own. name is the middleware's.
func load(name, file string, list []string) ([]entry, error) {
	var out []entry
	if strings.HasPrefix(file, "env:") && (strings.HasSuffix(name, "@docker") || strings.HasSuffix(name, "@swarm")) {
		return nil, option.Errorf("usersFile", "write users=name:hash, or the middleware to a file", "labels cannot name a variable of the router's environment")
	}
	if file != "" {
		text, err := read(file)
		if err != nil {
			return nil, err
		}
		for _, line := range strings.Split(text, "\n") {
			line = strings.TrimSpace(line)
			if line != "" && line[0] != '#' {
				out = append(out, entry{"usersFile", line})
			}
		}
	}
	for _, line := range list {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, entry{"users", line})
		}
	}
	if len(out) == 0 {
		return nil, option.Errorf("users", "give users=name:hash (`sluice passwd NAME` prints one) or a usersFile", "there is no user")
	}
	return out, nil
}

func read(file string) (string, error) {
	if name, ok := strings.CutPrefix(file, "env:"); ok {
		v, ok := os.LookupEnv(name)
		if !ok {
			return "", option.Errorf("usersFile", "set it in the environment of the router", "the variable %s is not set", name)
		}
		return v, nil
	}
	b, err := config.ReadFile(file)
	switch cause := errors.Unwrap(err); {
	case errors.Is(err, config.ErrNotAFile):
		return "", option.Errorf("usersFile", "give a file of lines name:hash", "%s %v", file, config.ErrNotAFile)
	case errors.Is(err, fs.ErrNotExist):
		return "", option.Errorf("usersFile", "check the path inside the router's container", "%v", cause)
	case err != nil:
		return "", option.Errorf("usersFile", "check its permissions", "%v", cause)
	}
	return string(b), nil
}

// lineError says what is wrong with a line without showing its hash. Nothing is shown of a
// file: it may be another one than was meant, and hold nothing but a secret.
func lineError(e entry, want string) error {
	if e.field == "usersFile" {
		return option.Errorf(e.field, "write "+want, "an entry is not %s", want)
	}
	name, _, _ := strings.Cut(e.line, ":")
	if len(name) > 40 {
		name = name[:40] + "..."
	}
	return option.Errorf(e.field, "write "+want, "the entry that begins with %q is not %s", name, want)
}

// dollars halves doubled dollars and reports whether it did. Compose halves them in its
// files; elsewhere (docker run, the file provider) they arrive doubled, and such a hash
// can match nothing.
func dollars(hash string) (string, bool) {
	if strings.HasPrefix(hash, "$$") {
		return strings.ReplaceAll(hash, "$$", "$"), true
	}
	return hash, false
}

// explainDollars says what was done about a doubled dollar.
func explainDollars(user string) string {
	return fmt.Sprintf("the hash of %q has doubled dollars ($$), which only compose files need; it is read with single ones", user)
}
