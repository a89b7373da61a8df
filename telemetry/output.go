package telemetry

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// output is where the access log goes: a file that can be opened anew, or a stream.
type output struct {
	path string

	mu     sync.Mutex
	stream io.Writer
	file   *os.File
}

func openOutput(path string, stdout io.Writer) (*output, error) {
	o := &output{path: path, stream: stdout}
	if path == "" {
		return o, nil
	}
	return o, o.reopen()
}

// reopen opens the path anew and closes the old file; on an error the old one stays.
func (o *output) reopen() error {
	if o.path == "" {
		return nil
	}
	file, err := openAppend(o.path, 0o644)
	if err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	o.mu.Lock()
	old := o.file
	o.file = file
	o.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

func (o *output) write(lines []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var w io.Writer = o.stream
	if o.path != "" {
		if o.file == nil {
			return errClosed
		}
		w = o.file
	}
	_, err := w.Write(lines)
	return err
}

func (o *output) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	err := o.file.Close()
	o.file = nil
	return err
}

// openAppend opens a log file to append to, and makes its directory. Nobody but the
// owner may write to it.
func openAppend(path string, mode os.FileMode) (*os.File, error) {
	if dir := filepath.Dir(path); dir != "." {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, mode)
}
