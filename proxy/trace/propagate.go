package trace

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/sluice-edge/sluice/proxy/exchange"
)

// The names of fields that carry traces.
const (
	fieldParent  = "Traceparent"
	fieldState   = "Tracestate"
	fieldB3      = "B3"
	fieldB3Trace = "X-B3-Traceid"
	fieldB3Span  = "X-B3-Spanid"
	fieldB3On    = "X-B3-Sampled"
	fieldB3Flags = "X-B3-Flags"
	fieldJaeger  = "Uber-Trace-Id"
	fieldOTTrace = "Ot-Tracer-Traceid"
	fieldOTSpan  = "Ot-Tracer-Spanid"
	fieldOTOn    = "Ot-Tracer-Sampled"
	fieldXRay    = "X-Amzn-Trace-Id"
)

// way is one way to carry a trace in fields of a request.
type way struct {
	name    string
	extract func(f *exchange.Fields) (parent, bool)
	inject  func(ex *exchange.Exchange, p *parent)
}

// ways are the values of OTEL_PROPAGATORS. Baggage needs nothing: its field passes as it is.
func ways() []way {
	return []way{
		{"tracecontext", extractW3C, injectW3C},
		{"baggage", nil, nil},
		{"b3", extractB3, injectB3},
		{"b3multi", extractB3, injectB3Multi},
		{"jaeger", extractJaeger, injectJaeger},
		{"ottrace", extractOT, injectOT},
		{"xray", extractXRay, injectXRay},
		{"none", nil, nil},
	}
}

// choose finds the ways that a list names; an empty one means tracecontext and baggage.
func choose(list string) ([]way, error) {
	if strings.TrimSpace(list) == "" {
		list = "tracecontext,baggage"
	}
	var out []way
	var names []string
	all := ways()
	for _, name := range strings.Split(list, ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(all, func(w way) bool { return w.name == name })
		if i < 0 {
			return nil, fmt.Errorf("OTEL_PROPAGATORS: %q is not tracecontext, baggage, b3, b3multi, jaeger, ottrace, xray or none", name)
		}
		if all[i].extract != nil && !slices.Contains(names, name) {
			out, names = append(out, all[i]), append(names, name)
		}
	}
	return out, nil
}

// set sets a field to text that is copied into the exchange's memory.
func set(ex *exchange.Exchange, name string, text []byte) {
	held := ex.Hold(text)
	ex.Req.Fields.Set(name, unsafe.String(unsafe.SliceData(held), len(held)))
}

// extractW3C reads traceparent (W3C Trace Context §3.2): version-trace-span-flags. What a newer
// version adds behind is not looked at; 255 is no version.
func extractW3C(f *exchange.Fields) (p parent, ok bool) {
	s := strings.TrimSpace(f.Get(fieldParent))
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || !lower(s[:55]) {
		return p, false
	}
	var version, flags [1]byte
	if !decodeHex(version[:], s[:2]) || version[0] == 0xff || !decodeHex(flags[:], s[53:55]) {
		return p, false
	}
	if len(s) > 55 && (version[0] == 0 || s[55] != '-') {
		return p, false
	}
	if p.trace, ok = parseTrace(s[3:35]); !ok {
		return p, false
	}
	p.span, ok = parseSpan(s[36:52])
	p.sampled = flags[0]&1 != 0
	p.state = f.Get(fieldState)
	return p, ok
}

func injectW3C(ex *exchange.Exchange, p *parent) {
	b := append(make([]byte, 0, 55), "00-"...)
	b = append(hex.AppendEncode(b, p.trace[:]), '-')
	b = append(hex.AppendEncode(b, p.span[:]), "-00"...)
	if p.sampled {
		b[54] = '1'
	}
	set(ex, fieldParent, b)
	if p.state != "" {
		ex.Req.Fields.Set(fieldState, p.state)
	}
}

// extractB3 reads the field b3 (trace-span-sampled-parent), or else the fields X-B3-*.
func extractB3(f *exchange.Fields) (p parent, ok bool) {
	if s := f.Get(fieldB3); s != "" {
		parts := strings.Split(s, "-")
		if len(parts) >= 2 && len(parts) <= 4 {
			if p.trace, ok = parseTrace(parts[0]); ok {
				p.span, ok = parseSpan(parts[1])
			}
			p.sampled = len(parts) > 2 && (parts[2] == "1" || parts[2] == "d")
			if ok {
				return p, true
			}
		}
	}
	if p.trace, ok = parseTrace(f.Get(fieldB3Trace)); ok {
		p.span, ok = parseSpan(f.Get(fieldB3Span))
	}
	on := f.Get(fieldB3On)
	p.sampled = on == "1" || strings.EqualFold(on, "true") || f.Get(fieldB3Flags) == "1"
	return p, ok
}

func injectB3(ex *exchange.Exchange, p *parent) {
	b := append(hex.AppendEncode(make([]byte, 0, 51), p.trace[:]), '-')
	b = append(hex.AppendEncode(b, p.span[:]), "-0"...)
	if p.sampled {
		b[50] = '1'
	}
	set(ex, fieldB3, b)
}

func injectB3Multi(ex *exchange.Exchange, p *parent) {
	set(ex, fieldB3Trace, hex.AppendEncode(nil, p.trace[:]))
	set(ex, fieldB3Span, hex.AppendEncode(nil, p.span[:]))
	on := "0"
	if p.sampled {
		on = "1"
	}
	ex.Req.Fields.Set(fieldB3On, on)
}

// extractJaeger reads trace:span:parent:flags, whose numbers may lack zeros in front.
func extractJaeger(f *exchange.Fields) (p parent, ok bool) {
	parts := strings.Split(unescapeColons(f.Get(fieldJaeger)), ":")
	if len(parts) != 4 || len(parts[0]) > 32 || len(parts[1]) > 16 {
		return p, false
	}
	flags, err := strconv.ParseUint(parts[3], 16, 8)
	if err != nil {
		return p, false
	}
	const zeros = "00000000000000000000000000000000"
	if p.trace, ok = parseTrace(zeros[len(parts[0]):] + parts[0]); ok {
		p.span, ok = parseSpan(zeros[16+len(parts[1]):] + parts[1])
	}
	p.sampled = flags&1 != 0
	return p, ok
}

func unescapeColons(s string) string {
	if strings.Contains(s, "%3") {
		return strings.NewReplacer("%3A", ":", "%3a", ":").Replace(s)
	}
	return s
}

func injectJaeger(ex *exchange.Exchange, p *parent) {
	b := append(hex.AppendEncode(make([]byte, 0, 53), p.trace[:]), ':')
	b = append(hex.AppendEncode(b, p.span[:]), ":0:0"...)
	if p.sampled {
		b[len(b)-1] = '1'
	}
	set(ex, fieldJaeger, b)
}

func extractOT(f *exchange.Fields) (p parent, ok bool) {
	if p.trace, ok = parseTrace(f.Get(fieldOTTrace)); ok {
		p.span, ok = parseSpan(f.Get(fieldOTSpan))
	}
	on := f.Get(fieldOTOn)
	p.sampled = on == "1" || strings.EqualFold(on, "true")
	return p, ok
}

func injectOT(ex *exchange.Exchange, p *parent) {
	set(ex, fieldOTTrace, hex.AppendEncode(nil, p.trace[8:])) // 64 bits are all it knows
	set(ex, fieldOTSpan, hex.AppendEncode(nil, p.span[:]))
	ex.Req.Fields.Set(fieldOTOn, strconv.FormatBool(p.sampled))
}

// extractXRay reads Root=1-8 digits-24 digits;Parent=16 digits;Sampled=1.
func extractXRay(f *exchange.Fields) (p parent, ok bool) {
	for part := range strings.SplitSeq(f.Get(fieldXRay), ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch k {
		case "Root":
			if len(v) == 35 && strings.HasPrefix(v, "1-") && v[10] == '-' {
				p.trace, _ = parseTrace(v[2:10] + v[11:])
			}
		case "Parent":
			p.span, _ = parseSpan(v)
		case "Sampled":
			p.sampled = v == "1"
		}
	}
	return p, p.valid()
}

func injectXRay(ex *exchange.Exchange, p *parent) {
	trace := hex.EncodeToString(p.trace[:])
	on := "0"
	if p.sampled {
		on = "1"
	}
	set(ex, fieldXRay, []byte("Root=1-"+trace[:8]+"-"+trace[8:]+";Parent="+hex.EncodeToString(p.span[:])+";Sampled="+on))
}
