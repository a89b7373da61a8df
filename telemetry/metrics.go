package telemetry

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sluice-edge/sluice/config"
)

const labelSep = "\x1f"

// headerLabel is a label of the request counters that a request's header field fills.
type headerLabel struct{ label, header string }

// shows says which kinds of series a receiver of metrics wants.
type shows struct{ entryPoints, routers, services bool }

func (h *Hub) setMetrics(o *Options) error {
	c := o.Static.Metrics
	if c == nil {
		return nil
	}
	h.countInternals = c.AddInternals
	if err := h.setPushers(c, o); err != nil {
		return err
	}
	bounds := map[float64]bool{}
	for _, p := range h.pushers {
		h.named = true
		for _, b := range p.bounds {
			bounds[b] = true
		}
	}
	if p := c.Prometheus; p != nil {
		h.named = true
		for _, b := range p.Buckets {
			bounds[b] = true
		}
	}
	h.bounds = slices.Sorted(maps.Keys(bounds))
	for _, b := range h.bounds {
		h.nanos = append(h.nanos, int64(b*float64(time.Second)))
	}
	if c.Prometheus == nil {
		return nil
	}
	return h.setPrometheus(c.Prometheus)
}

func (h *Hub) setPrometheus(p *config.Prometheus) error {
	valid := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	for label, header := range p.HeaderLabels {
		taken := slices.Contains([]string{"code", "method", "protocol", "entrypoint", "router", "service"}, label)
		if taken || !valid.MatchString(label) || strings.HasPrefix(label, "__") {
			return fmt.Errorf("metrics.prometheus.headerLabels: %q cannot be a label", label)
		}
		h.headerLabels = append(h.headerLabels, headerLabel{label, header})
		h.measured.anyRequest = true
		h.measured.request = append(h.measured.request, header)
	}
	slices.SortFunc(h.headerLabels, func(a, b headerLabel) int { return strings.Compare(a.label, b.label) })
	h.registry = prometheus.NewRegistry()
	return h.register(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newCollector(h, slices.Sorted(slices.Values(p.Buckets)), shows{p.AddEntryPointsLabels, p.AddRoutersLabels, p.AddServicesLabels}))
}

func (h *Hub) register(list ...prometheus.Collector) error {
	for _, c := range list {
		if err := h.registry.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

// Metrics returns the handler of prometheus@internal; it answers 404 where Prometheus is off.
func (h *Hub) Metrics() http.Handler {
	if h.registry == nil {
		return http.NotFoundHandler()
	}
	// An error in one collector must not hide the other series.
	return promhttp.HandlerFor(h.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// bucket is the index of the first bound that is not below d (ns).
func (h *Hub) bucket(d int64) int {
	for i, bound := range h.nanos {
		if d <= bound {
			return i
		}
	}
	return len(h.nanos)
}

// fold gives the counts of the buckets that end at bounds, from those of the hub's, which are
// at least these: each counts what is in it alone, the last what is above all bounds.
func (h *Hub) fold(hist []uint64, bounds []float64) []uint64 {
	out := make([]uint64, len(bounds)+1)
	at := 0
	for i, n := range hist {
		for at < len(bounds) && (i == len(h.bounds) || h.bounds[i] > bounds[at]) {
			at++
		}
		out[at] += n
	}
	return out
}

// labelValues joins the values of the header labels in scratch, and behind them what the
// semantic conventions ask for. The string aliases it. A host is told only where a router has
// matched it: clients can make up any number of others.
func (h *Hub) labelValues(r *Record, scratch []byte) (string, []byte) {
	scratch = scratch[:0]
	for i, l := range h.headerLabels {
		if i > 0 {
			scratch = append(scratch, labelSep...)
		}
		if foldEqual(l.header, "Host") && r.Router != "" {
			scratch = append(scratch, r.Host...) // the reference's is always empty
			continue
		}
		for j := range r.RequestHeaders {
			if foldEqual(r.RequestHeaders[j].Name, l.header) {
				scratch = append(scratch, r.RequestHeaders[j].Value...)
				break
			}
		}
	}
	if h.semantic {
		host := r.Host
		if r.Router == "" {
			host = ""
		}
		for _, s := range [...]string{host, r.Proto, r.ServerURL} {
			scratch = append(append(scratch, labelSep...), s...)
		}
	}
	return unsafe.String(unsafe.SliceData(scratch), len(scratch)), scratch
}

// cutLabels gives the n values of header labels without what follows them.
func cutLabels(joined string, n int) string {
	if n == 0 {
		return ""
	}
	at := 0
	for range n {
		i := strings.Index(joined[at:], labelSep)
		if i < 0 {
			return joined
		}
		at += i + len(labelSep)
	}
	return joined[:at-len(labelSep)]
}

func splitLabels(joined string, n int) []string {
	values := strings.SplitN(strings.ToValidUTF8(joined, "\uFFFD"), labelSep, n)
	for len(values) < n {
		values = append(values, "")
	}
	return values
}
