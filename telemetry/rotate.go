package telemetry

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sluice-edge/sluice/config"
)

const (
	defaultMaxSize = 100 << 20
	// backupStamp is the time in the name of a backup, in UTC; such names sort by age.
	backupStamp = "2006-01-02T15-04-05.000"
)

// rotatingFile is a log file that is put aside when it is full. Backups stand beside it,
// named "name-TIME.ext", oldest removed first. Rotation happens within Write: a few
// renames, and where asked for the compression of one file.
type rotatingFile struct {
	path     string
	maxSize  int64
	maxAge   time.Duration
	backups  int
	compress bool
	now      func() time.Time

	mu   sync.Mutex
	file *os.File
	size int64
}

func openRotating(c *config.Log) (*rotatingFile, error) {
	f := &rotatingFile{
		path: c.FilePath, maxSize: int64(c.MaxSize) << 20, maxAge: time.Duration(c.MaxAge) * 24 * time.Hour,
		backups: c.MaxBackups, compress: c.Compress, now: time.Now,
	}
	if f.maxSize <= 0 {
		f.maxSize = defaultMaxSize
	}
	return f, f.open()
}

func (f *rotatingFile) open() error {
	file, err := openAppend(f.path, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size = file, info.Size()
	return nil
}

// Write implements io.Writer. If putting the file aside fails, it goes on in the old one:
// a log too large is better than none.
func (f *rotatingFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return 0, os.ErrClosed
	}
	if f.size > 0 && f.size+int64(len(b)) > f.maxSize {
		if err := f.rotate(); err != nil && f.file == nil {
			return 0, err
		}
	}
	n, err := f.file.Write(b)
	f.size += int64(n)
	return n, err
}

// Close closes the file; later writes fail.
func (f *rotatingFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

func (f *rotatingFile) rotate() error {
	backup := f.backupName(f.now())
	if err := os.Rename(f.path, backup); err != nil {
		return err
	}
	old := f.file
	if err := f.open(); err != nil {
		f.file = old
		return errors.Join(err, os.Rename(backup, f.path))
	}
	err := old.Close()
	if f.compress {
		err = errors.Join(err, compressFile(backup))
	}
	return errors.Join(err, f.prune())
}

func (f *rotatingFile) backupName(at time.Time) string {
	ext := filepath.Ext(f.path)
	return strings.TrimSuffix(f.path, ext) + "-" + at.UTC().Format(backupStamp) + ext
}

// backupTime reads the time from a backup's name.
func (f *rotatingFile) backupTime(name string) (time.Time, bool) {
	ext := filepath.Ext(f.path)
	stamp, ok := strings.CutPrefix(name, strings.TrimSuffix(filepath.Base(f.path), ext)+"-")
	if !ok {
		return time.Time{}, false
	}
	stamp, ok = strings.CutSuffix(strings.TrimSuffix(stamp, ".gz"), ext)
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(backupStamp, stamp)
	return at, err == nil
}

// prune removes backups that are too many or too old.
func (f *rotatingFile) prune() error {
	dir := filepath.Dir(f.path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if _, ok := f.backupTime(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	for i, name := range names {
		at, _ := f.backupTime(name)
		many := f.backups > 0 && len(names)-i > f.backups
		old := f.maxAge > 0 && f.now().Sub(at) > f.maxAge
		if many || old {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	return err
}

// compressFile replaces path by path.gz; on an error the file stays as it is.
func compressFile(path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.OpenFile(path+".gz", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	zip := gzip.NewWriter(out)
	_, err = io.Copy(zip, in)
	if err = errors.Join(err, zip.Close(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".gz"))
	}
	return os.Remove(path)
}
