package body

import (
	"bytes"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Levels that cost about as much CPU as gzip's usual one. Answers are made once, for one client.
const (
	gzipLevel   = 5
	brotliLevel = 4
	// zstdWindow is far below the 8 MiB that RFC 9659 §3 allows for HTTP.
	zstdWindow = 512 << 10
)

// encoder compresses into a writer that Reset names.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(w io.Writer)
}

// packer compresses into a buffer of its own, since encoders write in many small pieces.
type packer struct {
	enc encoder
	out bytes.Buffer
}

// packed is how much a packer gathers before it is sent.
const packed = 16 << 10

// write compresses p and sends what has been gathered if it is much.
func (k *packer) write(p []byte, to io.Writer) (int, error) {
	n, err := k.enc.Write(p)
	if err == nil && k.out.Len() >= packed {
		err = k.send(to)
	}
	return n, err
}

func (k *packer) send(to io.Writer) error {
	if k.out.Len() == 0 {
		return nil
	}
	_, err := to.Write(k.out.Bytes())
	k.out.Reset()
	return err
}

// flush makes everything written so far readable for the client.
func (k *packer) flush(to io.Writer) error {
	if err := k.enc.Flush(); err != nil {
		return err
	}
	return k.send(to)
}

// end writes the end of the compressed body.
func (k *packer) end(to io.Writer) error {
	if err := k.enc.Close(); err != nil {
		return err
	}
	return k.send(to)
}

// encoders keeps packers for reuse: the tables of an encoder cost more than a small answer.
type encoders struct{ gzip, brotli, zstd sync.Pool }

func newEncoders() *encoders {
	return &encoders{
		gzip: sync.Pool{New: func() any {
			e, _ := gzip.NewWriterLevel(nil, gzipLevel) // the level is valid
			return &packer{enc: e}
		}},
		brotli: sync.Pool{New: func() any { return &packer{enc: brotli.NewWriterLevel(nil, brotliLevel)} }},
		zstd: sync.Pool{New: func() any {
			// One at a time and without goroutines; the options are valid.
			e, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
				zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow))
			return &packer{enc: e}
		}},
	}
}

func (e *encoders) pool(coding string) *sync.Pool {
	switch coding {
	case codingBrotli:
		return &e.brotli
	case codingZstd:
		return &e.zstd
	}
	return &e.gzip
}

func (e *encoders) get(coding string) *packer {
	k := e.pool(coding).Get().(*packer) //nolint:forcetypeassert // the pools hold nothing else
	k.out.Reset()
	k.enc.Reset(&k.out)
	return k
}

func (e *encoders) put(coding string, k *packer) {
	if k.out.Cap() <= 4*packed {
		e.pool(coding).Put(k)
	}
}
