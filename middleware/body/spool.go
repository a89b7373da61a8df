package body

import (
	"bytes"
	"errors"
	"io"
	"os"
)

var errTooLarge = errors.New("the body is larger than allowed")

// spool keeps a body: its beginning in memory, the rest in a file that has no name. It is
// written once and may then be read several times.
type spool struct {
	memory int64 // bytes kept in memory
	limit  int64 // bytes allowed; 0: any
	size   int64
	head   bytes.Buffer
	file   *os.File
}

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	if s.limit > 0 && s.size+int64(len(p)) > s.limit {
		return 0, errTooLarge
	}
	n := len(p)
	if room := s.memory - int64(s.head.Len()); s.file == nil && room > 0 {
		take := min(int64(len(p)), room)
		s.head.Write(p[:take])
		s.size += take
		p = p[take:]
	}
	if len(p) == 0 {
		return n, nil
	}
	if s.file == nil {
		f, err := os.CreateTemp("", "sluice-body-*")
		if err != nil {
			return 0, err
		}
		// Without a name it is gone when it is closed, or when the process dies.
		if err := os.Remove(f.Name()); err != nil {
			_ = f.Close()
			return 0, err
		}
		s.file = f
	}
	w, err := s.file.Write(p)
	s.size += int64(w)
	return n - len(p) + w, err
}

// reader reads the body from its beginning; readers do not disturb each other.
func (s *spool) reader() io.Reader {
	head := bytes.NewReader(s.head.Bytes())
	if s.file == nil {
		return head
	}
	return io.MultiReader(head, io.NewSectionReader(s.file, 0, s.size-int64(s.head.Len())))
}

// reset empties the spool.
func (s *spool) reset() {
	s.close()
	s.head.Reset()
	s.size = 0
}

// close gives the file back.
func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}
