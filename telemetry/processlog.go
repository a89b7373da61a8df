package telemetry

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/telemetry/otlp"
)

// ProcessLog is the program's own log. Logger is passed on by value; its level can be
// changed while it is in use.
type ProcessLog struct {
	Logger zerolog.Logger

	level atomic.Int32
	gate  *gate
	file  *rotatingFile
	// collector takes the log by OTLP; nil where it is not sent.
	collector *otlp.Exporter
}

// Send sends the log to a collector too, from Run on, where the configuration says so.
// version and lookup are those of Options.
func (p *ProcessLog) Send(s *config.Static, version string, lookup func(string) (string, bool)) error {
	if s.Log == nil {
		return nil
	}
	// What the sender itself says is only written: it would go round for ever.
	alone := &gate{out: p.gate.out, level: &p.level}
	e, err := newLogExporter("log", s.Log.OTLP, s, &Options{
		Version: version, Lookup: lookup, Log: zerolog.New(alone).With().Timestamp().Str(Component, "log").Logger(),
	})
	if err == nil && e != nil {
		p.collector = e
		p.gate.collector.Store(e)
	}
	return err
}

// Run sends the log until ctx ends; it returns at once where there is no collector.
func (p *ProcessLog) Run(ctx context.Context) error {
	if p.collector == nil {
		return nil
	}
	return p.collector.Run(ctx)
}

// NewProcessLog sets up the log as configured; a nil c means the defaults. Without a
// file, or where the file cannot be opened, it writes to stdout (nil means os.Stdout).
func NewProcessLog(c *config.Log, stdout io.Writer) *ProcessLog {
	if c == nil {
		c = &config.Log{}
		c.SetDefaults()
	}
	level, err := parseLevel(c.Level)
	if err != nil {
		level = zerolog.ErrorLevel // the reference goes on with its default too; validation has warned
	}
	p := &ProcessLog{}
	out := stdout
	if out == nil {
		out = os.Stdout
	}
	if c.FilePath != "" {
		var file *rotatingFile
		if file, err = openRotating(c); err == nil {
			p.file, out = file, file
		}
	}
	if !strings.EqualFold(c.Format, "json") { // an unknown format too; validation has warned
		out = zerolog.ConsoleWriter{Out: out, TimeFormat: time.RFC3339, NoColor: c.NoColor || p.file != nil}
	}
	p.level.Store(int32(level))
	p.gate = &gate{out: out, level: &p.level}
	p.Logger = zerolog.New(p.gate).With().Timestamp().Logger()
	if c.FilePath != "" && p.file == nil {
		p.Logger.Error().Err(err).Str(File, c.FilePath).Msg("log file not opened; standard output is written to")
	}
	return p
}

// SetLevel changes the level: TRACE, DEBUG, INFO, WARN, ERROR, FATAL or PANIC, in any case.
func (p *ProcessLog) SetLevel(level string) error {
	l, err := parseLevel(level)
	if err == nil {
		p.level.Store(int32(l))
	}
	return err
}

// Close closes the file of the log, if it has one.
func (p *ProcessLog) Close() error {
	if p.file == nil {
		return nil
	}
	return p.file.Close()
}

func parseLevel(s string) (zerolog.Level, error) {
	switch strings.ToLower(s) {
	case "":
		return zerolog.ErrorLevel, nil
	case "trace":
		return zerolog.TraceLevel, nil
	case "debug":
		return zerolog.DebugLevel, nil
	case "info":
		return zerolog.InfoLevel, nil
	case "warn", "warning":
		return zerolog.WarnLevel, nil
	case "error":
		return zerolog.ErrorLevel, nil
	case "fatal":
		return zerolog.FatalLevel, nil
	case "panic":
		return zerolog.PanicLevel, nil
	}
	return 0, fmt.Errorf("log.level: %q is not TRACE, DEBUG, INFO, WARN, ERROR, FATAL or PANIC", s)
}

// gate lets events of its level and above through. It stands behind the loggers, so that
// those already handed out follow a change of the level.
type gate struct {
	out       io.Writer
	level     *atomic.Int32
	collector atomic.Pointer[otlp.Exporter]
}

// Write implements io.Writer, for events without a level.
func (g *gate) Write(b []byte) (int, error) { return g.out.Write(b) }

// WriteLevel implements zerolog.LevelWriter.
func (g *gate) WriteLevel(l zerolog.Level, b []byte) (int, error) {
	if l != zerolog.NoLevel && l < zerolog.Level(g.level.Load()) {
		return len(b), nil
	}
	if e := g.collector.Load(); e != nil {
		if r := logRecord(b, l); r != nil {
			e.Add(r)
		}
	}
	return g.out.Write(b)
}
