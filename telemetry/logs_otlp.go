package telemetry

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/telemetry/otlp"
)

// newLogExporter makes what sends a log; nil where it is not to be sent.
func newLogExporter(field string, c *config.OTLPLogs, s *config.Static, o *Options) (*otlp.Exporter, error) {
	if c == nil || s.Experimental == nil || !s.Experimental.OTLPLogs {
		return nil, nil
	}
	e, err := otlp.NewExporter(otlp.Options{
		Signal: otlp.Logs, Target: otlp.Target{HTTP: c.HTTP, GRPC: c.GRPC}, Log: o.Log,
		Resource: otlp.Resource{Service: c.ServiceName, Version: o.Version, Attributes: c.ResourceAttributes, Lookup: o.Lookup},
	})
	if err != nil {
		return nil, fmt.Errorf("%s.otlp: %w", field, err)
	}
	return e, nil
}

// The fields of the message LogRecord.
const (
	logTime, logSeverity, logLevel, logBody = 1, 2, 3, 5
	logAttributes, logTrace, logSpan        = 6, 9, 10
	logObserved                             = 11
)

// severity is a level as OTLP numbers it.
func severity(l zerolog.Level) uint64 {
	switch l {
	case zerolog.TraceLevel:
		return 1
	case zerolog.DebugLevel:
		return 5
	case zerolog.WarnLevel:
		return 13
	case zerolog.ErrorLevel:
		return 17
	case zerolog.FatalLevel:
		return 21
	case zerolog.PanicLevel:
		return 24
	}
	return 9
}

// logRecord makes a LogRecord of a line of JSON; nil where it is none. Its fields become
// attributes, but for those that the record has a place for.
func logRecord(line []byte, level zerolog.Level) []byte {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var fields map[string]any
	if d.Decode(&fields) != nil {
		return nil
	}
	text := func(name string) string { s, _ := fields[name].(string); return s }
	now := time.Now()
	at := now
	for _, name := range []string{"StartUTC", "time"} {
		if t, err := time.Parse(time.RFC3339Nano, text(name)); err == nil {
			at = t
			break
		}
	}
	b := otlp.AppendFixed64(nil, logTime, uint64(at.UnixNano()))
	b = otlp.AppendUint(b, logSeverity, severity(level))
	b = otlp.AppendString(b, logLevel, strings.ToUpper(level.String()))
	message := text("message")
	if message == "" {
		message = text("msg")
	}
	b, body := otlp.Open(b, logBody)
	b = otlp.Close(otlp.AppendString(b, 1, message), body)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		switch name {
		case "level", "time", "message", "msg":
			continue
		}
		b = appendField(b, name, fields[name])
	}
	if id, err := hex.DecodeString(text("trace_id")); err == nil && len(id) == 16 {
		b = otlp.AppendBytes(b, logTrace, id)
	}
	if id, err := hex.DecodeString(text("span_id")); err == nil && len(id) == 8 {
		b = otlp.AppendBytes(b, logSpan, id)
	}
	return otlp.AppendFixed64(b, logObserved, uint64(now.UnixNano()))
}

func appendField(b []byte, name string, v any) []byte {
	switch v := v.(type) {
	case string:
		return otlp.AppendAttr(b, logAttributes, name, v)
	case bool:
		return otlp.AppendBoolAttr(b, logAttributes, name, v)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return otlp.AppendIntAttr(b, logAttributes, name, n)
		}
		x, _ := v.Float64()
		return otlp.AppendDoubleAttr(b, logAttributes, name, x)
	case nil:
		return b
	}
	text, _ := json.Marshal(v)
	return otlp.AppendAttr(b, logAttributes, name, string(text))
}

// sendLines gives the lines that wait for the collector to it.
func (h *Hub) sendLines() {
	for _, s := range h.allShards() {
		s.mu.Lock()
		lines := s.copies
		s.copies = nil
		s.mu.Unlock()
		for line := range bytes.Lines(lines) {
			if r := logRecord(line, zerolog.InfoLevel); r != nil {
				h.collector.Add(r)
			}
		}
	}
}
