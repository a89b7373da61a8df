package trace

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

func fieldsOf(pairs ...string) *exchange.Fields {
	f := &exchange.Fields{}
	for i := 0; i < len(pairs); i += 2 {
		f.Add(pairs[i], pairs[i+1])
	}
	return f
}

func TestExtract(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, tt := range []struct {
		way     string
		fields  []string
		trace   string // "" for none
		sampled bool
	}{
		{"tracecontext", []string{"traceparent", "00-" + trace + "-" + span + "-01"}, trace, true},
		{"tracecontext", []string{"Traceparent", "00-" + trace + "-" + span + "-00"}, trace, false},
		{"tracecontext", []string{"traceparent", "cc-" + trace + "-" + span + "-01-what-comes"}, trace, true},
		{"tracecontext", []string{"traceparent", "00-" + trace + "-" + span + "-01-what-comes"}, "", false},
		{"tracecontext", []string{"traceparent", "ff-" + trace + "-" + span + "-01"}, "", false},
		{"tracecontext", []string{"traceparent", "00-" + strings.ToUpper(trace) + "-" + span + "-01"}, "", false},
		{"tracecontext", []string{"traceparent", "00-" + strings.Repeat("0", 32) + "-" + span + "-01"}, "", false},
		{"tracecontext", []string{"traceparent", "00-" + trace + "-0000000000000000-01"}, "", false},
		{"tracecontext", []string{"traceparent", "garbage"}, "", false},
		{"tracecontext", nil, "", false},
		{"b3", []string{"b3", trace + "-" + span + "-1-0000000000000001"}, trace, true},
		{"b3", []string{"b3", trace + "-" + span + "-d"}, trace, true},
		{"b3", []string{"b3", trace + "-" + span}, trace, false},
		{"b3", []string{"b3", span + "-" + span + "-1"}, "0000000000000000" + span, true},
		{"b3", []string{"b3", "0"}, "", false},
		{"b3multi", []string{"X-B3-TraceId", trace, "X-B3-SpanId", span, "X-B3-Sampled", "1"}, trace, true},
		{"b3multi", []string{"X-B3-TraceId", trace, "X-B3-SpanId", span, "X-B3-Flags", "1"}, trace, true},
		{"b3multi", []string{"X-B3-TraceId", trace, "X-B3-Sampled", "1"}, "", false},
		{"jaeger", []string{"uber-trace-id", trace + ":" + span + ":0:1"}, trace, true},
		{"jaeger", []string{"uber-trace-id", "7:b:0:0"}, strings.Repeat("0", 31) + "7", false},
		{"jaeger", []string{"uber-trace-id", trace + "%3A" + span + "%3A0%3A1"}, trace, true},
		{"jaeger", []string{"uber-trace-id", trace + ":" + span + ":0"}, "", false},
		{"ottrace", []string{"ot-tracer-traceid", span, "ot-tracer-spanid", span, "ot-tracer-sampled", "true"}, "0000000000000000" + span, true},
		{"xray", []string{"X-Amzn-Trace-Id", "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=" + span + ";Sampled=1"}, trace, true},
		{"xray", []string{"X-Amzn-Trace-Id", "Root=1-0af76519-16cd43dd8448eb211c80319c"}, "", false},
	} {
		w, err := choose(tt.way)
		if err != nil {
			t.Fatal(err)
		}
		p, ok := w[0].extract(fieldsOf(tt.fields...))
		if ok != (tt.trace != "") || ok && (hex.EncodeToString(p.trace[:]) != tt.trace || p.sampled != tt.sampled) {
			t.Errorf("%s %q: %x %v %v", tt.way, tt.fields, p.trace, p.sampled, ok)
		}
	}
}

// TestInjectIsExtracted gives a trace on by each way and reads it back.
func TestInjectIsExtracted(t *testing.T) {
	for _, w := range ways() {
		if w.inject == nil {
			continue
		}
		for _, sampled := range []bool{true, false} {
			p := parent{trace: newTraceID(), span: newSpanID(), sampled: sampled, state: ""}
			if w.name == "ottrace" {
				clear(p.trace[:8]) // it carries half of the number
			}
			var ex exchange.Exchange
			w.inject(&ex, &p)
			if got, ok := w.extract(&ex.Req.Fields); !ok || got != p {
				t.Errorf("%s: %v came back as %v", w.name, p, got)
			}
		}
	}
}

func TestChoose(t *testing.T) {
	for list, want := range map[string]int{"": 1, "none": 0, "baggage": 0, " b3 , jaeger,b3": 2, "tracecontext,baggage": 1, "carrier-pigeon": -1} {
		w, err := choose(list)
		if want < 0 && err == nil || want >= 0 && (err != nil || len(w) != want) {
			t.Errorf("%q: %d ways, %v", list, len(w), err)
		}
	}
}

// FuzzExtract: whatever a client sends, what is taken of it can be given on and comes back.
func FuzzExtract(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("0af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:0:1")
	f.Add("Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1")
	f.Fuzz(func(t *testing.T, text string) {
		in := fieldsOf(fieldParent, text, fieldB3, text, fieldB3Trace, text, fieldB3Span, text, fieldJaeger, text, fieldOTTrace, text, fieldOTSpan, text, fieldXRay, text)
		for _, w := range ways() {
			if w.extract == nil {
				continue
			}
			p, ok := w.extract(in)
			if !ok {
				continue
			}
			if !p.valid() {
				t.Fatalf("%s took %q as %v", w.name, text, p)
			}
			if w.name == "ottrace" {
				clear(p.trace[:8])
				if !p.valid() {
					continue
				}
			}
			var ex exchange.Exchange
			w.inject(&ex, &p)
			if got, ok := w.extract(&ex.Req.Fields); !ok || got.trace != p.trace || got.span != p.span || got.sampled != p.sampled {
				t.Fatalf("%s: %v came back as %v", w.name, p, got)
			}
		}
	})
}
