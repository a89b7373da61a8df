package telemetry

import (
	"context"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/sluice-edge/sluice/config"
	"github.com/sluice-edge/sluice/internal/testcollector"
)

func otlpLogs(c *testcollector.Collector) *config.OTLPLogs {
	l := &config.OTLPLogs{}
	l.SetDefaults()
	l.HTTP.Endpoint, l.ServiceName = c.HTTP, "edge"
	return l
}

// TestAccessLogByOTLP sends lines to a collector, and writes them only where that is asked.
func TestAccessLogByOTLP(t *testing.T) {
	for _, dual := range []bool{false, true} {
		c, out := testcollector.Start(t), &syncBuffer{}
		s := accessLog(func(a *config.AccessLog) {
			a.OTLP, a.DualOutput = otlpLogs(c), dual
			a.Fields.Names = map[string]string{"ServiceURL": "drop"}
			a.Filters.StatusCodes = []string{"200"}
		})
		s.Experimental = &config.Experimental{OTLPLogs: true}
		h, err := New(Options{Static: s, Stdout: out})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = h.Run(ctx) })
		r := sample()
		r.TraceID, r.SpanID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
		h.Request(&r)
		r.Status = 404
		h.Request(&r)
		cancel()
		wg.Wait()
		logs := c.Logs()
		if len(logs) != 1 {
			t.Fatalf("%d records", len(logs))
		}
		a := testcollector.Attributes(logs[0].Attributes)
		if a["RequestMethod"] != "GET" || a["DownstreamStatus"] != int64(200) || a["RouterName"] != "a@file" || a["ServiceURL"] != nil {
			t.Errorf("%v", a)
		}
		if hex.EncodeToString(logs[0].TraceId) != r.TraceID || hex.EncodeToString(logs[0].SpanId) != r.SpanID || int64(logs[0].TimeUnixNano) != r.Start {
			t.Errorf("%v", logs[0])
		}
		if wrote := out.count() == 1; wrote != dual {
			t.Errorf("dualOutput %v: %q", dual, out)
		}
		if c.Resource()["service.name"] != "edge" {
			t.Errorf("%v", c.Resource())
		}
	}
}

// TestAccessLogByOTLPNeedsItsSwitch: without experimental.otlplogs the log is written as ever.
func TestAccessLogByOTLPNeedsItsSwitch(t *testing.T) {
	c := testcollector.Start(t)
	h := newHub(t, accessLog(func(a *config.AccessLog) { a.OTLP = otlpLogs(c) }))
	s := h.Shard()
	r := sample()
	s.Request(&r)
	if len(s.batch.lines) == 0 || len(s.copies) > 0 {
		t.Errorf("%d bytes to write, %d to send", len(s.batch.lines), len(s.copies))
	}
}

func TestProcessLogByOTLP(t *testing.T) {
	c, out := testcollector.Start(t), &syncBuffer{}
	s := &config.Static{Log: &config.Log{}, Experimental: &config.Experimental{OTLPLogs: true}}
	s.Log.SetDefaults()
	s.Log.Level, s.Log.OTLP = "WARN", otlpLogs(c)
	p := NewProcessLog(s.Log, out)
	if err := p.Send(s, "1.0", nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	p.Logger.Info().Msg("below the level")
	p.Logger.Warn().Str("container", "web").Int("n", 7).Bool("b", true).Strs("list", []string{"a"}).Float64("f", 0.5).Msg("skipped")
	cancel()
	wg.Wait()
	logs := c.Logs()
	if len(logs) != 1 || !strings.Contains(out.String(), "skipped") {
		t.Fatalf("%d records, wrote %q", len(logs), out)
	}
	l := logs[0]
	a := testcollector.Attributes(l.Attributes)
	if l.Body.GetStringValue() != "skipped" || l.SeverityNumber != 13 || l.SeverityText != "WARN" || a["container"] != "web" ||
		a["n"] != int64(7) || a["b"] != true || a["list"] != `["a"]` || a["f"] != 0.5 || l.TimeUnixNano == 0 {
		t.Errorf("%v", l)
	}
}

// TestSenderOfTheLogIsNotSent stops the collector: what the sender says of that must not be
// given to the sender.
func TestSenderOfTheLogIsNotSent(t *testing.T) {
	out := &syncBuffer{}
	s := &config.Static{Log: &config.Log{}, Experimental: &config.Experimental{OTLPLogs: true}}
	s.Log.SetDefaults()
	s.Log.Level, s.Log.OTLP = "WARN", &config.OTLPLogs{HTTP: &config.OTLPHTTP{Endpoint: "http://127.0.0.1:1"}}
	p := NewProcessLog(s.Log, out)
	if err := p.Send(s, "1.0", nil); err != nil {
		t.Fatal(err)
	}
	p.Logger.Warn().Msg("something")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = p.Run(ctx)
	if !strings.Contains(out.String(), "not sent") {
		t.Errorf("nothing was said: %q", out)
	}
	again, stop := context.WithCancel(t.Context())
	stop()
	before := out.count()
	if _ = p.Run(again); out.count() != before {
		t.Errorf("it was sent again: %q", out)
	}
}

func TestSeverities(t *testing.T) {
	last := uint64(0)
	for l := zerolog.TraceLevel; l <= zerolog.PanicLevel; l++ {
		if n := severity(l); n <= last {
			t.Errorf("%v is %d, behind %d", l, n, last)
		} else {
			last = n
		}
	}
}
