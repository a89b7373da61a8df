package telemetry

import (
	"strings"

	"github.com/sluice-edge/sluice/config"
)

// settings is what a reload may change. It is immutable.
type settings struct {
	format       *format // nil without an access log
	sent         *format // what is sent by OTLP; nil without
	filter       filter
	output       *output
	logInternals bool
	logTCP       bool // connections of TCP routers
	// quiet and unmeasured are entry points whose observability is off.
	quiet, unmeasured map[string]bool
	entryPoints       []connectionKey
}

// Prepare reads the access log and the entry points of a static configuration, and opens
// the log's file. Nothing changes before apply is called, or discard. Metrics stay as they are: series cannot change their buckets or labels. It is not
// for concurrent use.
func (h *Hub) Prepare(s *config.Static) (apply, discard func(), err error) {
	was := h.settings.Load()
	next := &settings{quiet: map[string]bool{}, unmeasured: map[string]bool{}}
	for name, ep := range s.EntryPoints {
		if b := ep.Observability; b != nil {
			next.quiet[name] = b.AccessLogs != nil && !*b.AccessLogs
			next.unmeasured[name] = b.Metrics != nil && !*b.Metrics
		}
		protocol := "TCP"
		if strings.HasSuffix(strings.ToLower(ep.Address), "/udp") {
			protocol = "UDP"
		}
		next.entryPoints = append(next.entryPoints, connectionKey{name, protocol})
	}
	wants := h.measured
	if c := s.AccessLog; c != nil {
		if err := h.readAccessLog(c, next, was); err != nil {
			return nil, nil, err
		}
		for _, f := range []*format{next.format, next.sent} {
			if f != nil {
				wants = wants.and(f.wants())
			}
		}
	}
	discard = func() {
		if next.output != nil && next.output != was.output {
			_ = next.output.close() // nothing was written to it
		}
	}
	return func() {
		h.flush() // into the output that the lines were made for
		h.wants.fields.Store(&wants)
		h.settings.Store(next)
		if was.output != nil && was.output != next.output {
			if err := was.output.close(); err != nil {
				h.log.Warn().Err(err).Str(File, was.output.path).Msg("access log not closed in order")
			}
		}
	}, discard, nil
}

func (h *Hub) readAccessLog(c *config.AccessLog, next, was *settings) (err error) {
	next.logInternals = c.AddInternals
	next.logTCP = c.Sluice != nil && c.Sluice.TCP
	next.format = newFormat(c)
	if f := c.Fields; f != nil {
		for name, m := range f.Names {
			if strings.EqualFold(m, "redact") {
				h.log.Warn().Str("field", name).Msg("accessLog.fields.names: redact has no effect on a field; use drop")
			}
		}
	}
	next.filter = newFilter(c.Filters)
	if c.OTLP != nil && h.collector != nil {
		whole := *c
		whole.Format = formatJSON
		next.sent = newFormat(&whole)
		if !c.DualOutput {
			next.format = nil // as in the reference: it is sent instead of written
			return nil
		}
	}
	if was.output != nil && was.output.path == c.FilePath {
		next.output = was.output
		return nil
	}
	next.output, err = openOutput(c.FilePath, h.stdout)
	return err
}
