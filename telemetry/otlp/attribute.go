package otlp

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluice-edge/sluice/config"
)

// The fields of AnyValue.
const (
	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
	anyArray  = 5
)

// Valid makes text UTF-8, which protocol buffers ask for.
func Valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// openAttr begins an attribute; at and v are for Close.
func openAttr(b []byte, field int, key string) (_ []byte, at, v int) {
	b, at = Open(b, field)
	b = AppendString(b, 1, key)
	b, v = Open(b, 2)
	return b, at, v
}

// AppendAttr appends an attribute as field of a message: "attributes" of a span or a data point.
func AppendAttr(b []byte, field int, key, value string) []byte {
	b, at, v := openAttr(b, field, key)
	b = AppendString(b, anyString, Valid(value))
	return Close(Close(b, v), at)
}

// AppendIntAttr appends an attribute that is a whole number.
func AppendIntAttr(b []byte, field int, key string, value int64) []byte {
	b, at, v := openAttr(b, field, key)
	b = AppendUint(b, anyInt, uint64(value))
	return Close(Close(b, v), at)
}

// AppendDoubleAttr appends an attribute that is a number.
func AppendDoubleAttr(b []byte, field int, key string, value float64) []byte {
	b, at, v := openAttr(b, field, key)
	b = AppendDouble(b, anyDouble, value)
	return Close(Close(b, v), at)
}

// AppendBoolAttr appends an attribute that is true or false.
func AppendBoolAttr(b []byte, field int, key string, value bool) []byte {
	b, at, v := openAttr(b, field, key)
	n := uint64(0)
	if value {
		n = 1
	}
	b = AppendUint(b, anyBool, n)
	return Close(Close(b, v), at)
}

// AppendListAttr appends an attribute that is a list of texts.
func AppendListAttr(b []byte, field int, key string, values []string) []byte {
	b, at, v := openAttr(b, field, key)
	b, list := Open(b, anyArray)
	for _, s := range values {
		var one int
		b, one = Open(b, 1)
		b = Close(AppendString(b, anyString, Valid(s)), one)
	}
	return Close(Close(Close(b, list), v), at)
}

// Resource says who sends.
type Resource struct {
	// Service and Version are service.name and service.version.
	Service, Version string
	// Attributes override those that are found out; OTEL_RESOURCE_ATTRIBUTES and
	// OTEL_SERVICE_NAME override both.
	Attributes map[string]string
	// Lookup reads the environment; nil reads none.
	Lookup func(string) (string, bool)
}

// encode gives the message Resource.
func (r *Resource) encode() []byte {
	attrs := map[string]string{
		"service.name": r.Service, "service.version": r.Version,
		"telemetry.sdk.name": "sluice", "telemetry.sdk.language": "go", "telemetry.sdk.version": r.Version,
		"os.type": runtime.GOOS, "process.runtime.name": "go", "process.runtime.version": runtime.Version(),
		"process.executable.name": filepath.Base(os.Args[0]),
	}
	if h, err := os.Hostname(); err == nil {
		attrs["host.name"] = h
	}
	for k, v := range r.Attributes {
		attrs[k] = v
	}
	for _, pair := range strings.Split(r.env("OTEL_RESOURCE_ATTRIBUTES"), ",") {
		if k, v, ok := strings.Cut(pair, "="); ok && strings.TrimSpace(k) != "" {
			attrs[strings.TrimSpace(k)] = unescape(strings.TrimSpace(v))
		}
	}
	if name := r.env("OTEL_SERVICE_NAME"); name != "" {
		attrs["service.name"] = name
	}
	keys := make([]string, 0, len(attrs))
	for k := range attrs {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b []byte
	for _, k := range keys {
		b = AppendAttr(b, 1, Valid(k), attrs[k])
	}
	return AppendIntAttr(b, 1, "process.pid", int64(os.Getpid()))
}

func (r *Resource) env(name string) string {
	if r.Lookup == nil {
		return ""
	}
	v, _ := r.Lookup(name)
	return v
}

// Target says where to: over gRPC where that is set, else over HTTP.
type Target struct {
	HTTP *config.OTLPHTTP
	GRPC *config.OTLPGRPC
}
