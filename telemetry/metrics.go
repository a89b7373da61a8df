package telemetry

import (
	"fmt"
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

func (h *Hub) setMetrics(c *config.Metrics) error {
	if c == nil {
		return nil
	}
	h.countInternals = c.AddInternals
	p := c.Prometheus
	if p == nil {
		return nil
	}
	h.exposed = p
	h.bounds = slices.Sorted(slices.Values(p.Buckets))
	for _, b := range h.bounds {
		h.nanos = append(h.nanos, int64(b*float64(time.Second)))
	}
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
	return h.register(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(h))
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

// labelValues joins the values of the header labels in scratch. The string aliases it.
func (h *Hub) labelValues(r *Record, scratch []byte) (string, []byte) {
	scratch = scratch[:0]
	for i, l := range h.headerLabels {
		if i > 0 {
			scratch = append(scratch, labelSep...)
		}
		for j := range r.RequestHeaders {
			if foldEqual(r.RequestHeaders[j].Name, l.header) {
				scratch = append(scratch, r.RequestHeaders[j].Value...)
				break
			}
		}
	}
	return unsafe.String(unsafe.SliceData(scratch), len(scratch)), scratch
}

func splitLabels(joined string, n int) []string {
	values := strings.SplitN(strings.ToValidUTF8(joined, "\uFFFD"), labelSep, n)
	for len(values) < n {
		values = append(values, "")
	}
	return values
}
