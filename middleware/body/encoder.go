package body

import (
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

// encoders keeps encoders for reuse: their tables cost more than a small answer.
type encoders struct{ gzip, brotli, zstd sync.Pool }

func newEncoders() *encoders {
	return &encoders{
		gzip: sync.Pool{New: func() any {
			e, _ := gzip.NewWriterLevel(nil, gzipLevel) // the level is valid
			return e
		}},
		brotli: sync.Pool{New: func() any { return brotli.NewWriterLevel(nil, brotliLevel) }},
		zstd: sync.Pool{New: func() any {
			// One at a time and without goroutines; the options are valid.
			e, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
				zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow))
			return e
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

func (e *encoders) get(coding string, w io.Writer) encoder {
	enc := e.pool(coding).Get().(encoder) //nolint:forcetypeassert // the pools hold nothing else
	enc.Reset(w)
	return enc
}

func (e *encoders) put(coding string, enc encoder) {
	enc.Reset(nil)
	e.pool(coding).Put(enc)
}
