package server

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-edge/sluice/acme"
)

const (
	// requestSuffix and answerSuffix are appended to the path of an acme.json for the files by
	// which a command has a running router change it: the router holds the file in memory and
	// writes it whole, so that nobody else may write it.
	requestSuffix = ".request"
	answerSuffix  = ".answer"
	takenSuffix   = ".taken"
	// requestWait is how long a command waits until a router takes its request; one that
	// runs looks every certificateWatch.
	requestWait = 5 * certificateWatch
	// answerWait bounds what the router may take to answer.
	answerWait = time.Minute
)

// request is what a command asks of the router. It holds private keys.
type request struct {
	Import []acme.Certificate `json:"import,omitempty"`
	Prune  bool               `json:"prune,omitempty"`
}

// answer is what became of it: the names of the certificates imported or deleted.
type answer struct {
	Names []string `json:"names"`
	Error string   `json:"error,omitempty"`
}

// do does what is asked with the storages of m, in whichever process.
func (r request) do(ctx context.Context, m *acme.Manager, now time.Time, only func(resolver string) bool) answer {
	var a answer
	var errs []error
	for _, c := range r.Import {
		taken, err := m.Import(ctx, c)
		if taken {
			a.Names = append(a.Names, strings.Join(c.Names, ","))
		}
		errs = append(errs, err)
	}
	if r.Prune {
		gone, err := m.Prune(ctx, now, only)
		for _, c := range gone {
			a.Names = append(a.Names, strings.Join(c.Names, ","))
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		a.Error = err.Error()
	}
	return a
}

// hand leaves a request beside an acme.json and waits for a running router to do it. It
// reports false where no router took it: then nothing else writes the file.
func (r request) hand(ctx context.Context, path string) (answer, bool, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return answer{}, false, err
	}
	_ = os.Remove(path + answerSuffix) // of an earlier command that did not wait
	if err := writePrivate(path+requestSuffix, b); err != nil {
		return answer{}, false, err
	}
	if !eventuallyGone(ctx, path+requestSuffix) {
		if err := os.Remove(path + requestSuffix); !errors.Is(err, fs.ErrNotExist) {
			return answer{}, false, err // nil: it was still there, and nobody will take it now
		}
	}
	for end := time.Now().Add(answerWait); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(requestPoll) {
		b, err := os.ReadFile(path + answerSuffix)
		if err != nil {
			continue
		}
		_ = os.Remove(path + answerSuffix)
		var a answer
		return a, true, json.Unmarshal(b, &a)
	}
	return answer{}, true, errors.New("the running router took the request and did not answer")
}

const requestPoll = 50 * time.Millisecond

func eventuallyGone(ctx context.Context, path string) bool {
	for end := time.Now().Add(requestWait); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(requestPoll) {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// writePrivate writes a file for its owner only, as a whole.
func writePrivate(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".request.*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// takeRequest does what a command left beside an acme.json. The rename decides whether it is
// done here or by the command.
func (s *Server) takeRequest(ctx context.Context, m *acme.Manager, path string) {
	if os.Rename(path+requestSuffix, path+takenSuffix) != nil {
		return // nobody asks
	}
	b, err := os.ReadFile(path + takenSuffix)
	_ = os.Remove(path + takenSuffix)
	var r request
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		s.log.Warn().Err(err).Msg("request of a command not read")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait/2)
	defer cancel()
	a := r.do(ctx, m, time.Now(), func(resolver string) bool { return s.storedAt(resolver, path) })
	s.log.Info().Strs("names", a.Names).Bool("prune", r.Prune).Msg("certificates changed by a command")
	if b, err = json.Marshal(a); err == nil {
		err = writePrivate(path+answerSuffix, b)
	}
	if err != nil {
		s.log.Warn().Err(err).Msg("command not answered")
	}
}

// storedAt reports whether a resolver keeps its certificates in the acme.json of that path.
func (s *Server) storedAt(resolver, path string) bool {
	r := s.static.Load().CertificatesResolvers[resolver]
	if r == nil || r.ACME == nil {
		return false
	}
	p, ok := acmeFile(r.ACME.Storage)
	return ok && p == path
}
