package config

import (
	"net"
	"os"
)

// Metrics turns on metrics.
type Metrics struct {
	// AddInternals counts requests to the program's own services too.
	AddInternals bool        `json:"addInternals,omitempty"`
	Prometheus   *Prometheus `json:"prometheus,omitempty" cfg:"empty"`
	// Datadog sends to a DogStatsD agent.
	Datadog *Datadog `json:"datadog,omitempty" cfg:"empty"`
	// StatsD sends to a StatsD server.
	StatsD *StatsD `json:"statsD,omitempty" cfg:"empty"`
	// InfluxDB2 sends to an InfluxDB of version 2.
	InfluxDB2 *InfluxDB2 `json:"influxDB2,omitempty" cfg:"empty"`
	// OTLP sends to an OpenTelemetry collector.
	OTLP *OTLPMetrics `json:"otlp,omitempty" cfg:"empty"`
}

// Prometheus offers /metrics.
type Prometheus struct {
	// Buckets of durations, in seconds.
	Buckets              []float64 `json:"buckets,omitempty"`
	AddEntryPointsLabels bool      `json:"addEntryPointsLabels,omitempty"`
	AddRoutersLabels     bool      `json:"addRoutersLabels,omitempty"`
	AddServicesLabels    bool      `json:"addServicesLabels,omitempty"`
	// EntryPoint that answers /metrics.
	EntryPoint string `json:"entryPoint,omitempty"`
	// ManualRouting mounts nothing; route to prometheus@internal.
	ManualRouting bool `json:"manualRouting,omitempty"`
	// HeaderLabels maps metric labels to request fields.
	HeaderLabels map[string]string `json:"headerLabels,omitempty"`
}

// SetDefaults sets buckets 0.1, 0.3, 1.2 and 5 s and labels of entry points and services.
func (p *Prometheus) SetDefaults() {
	p.Buckets = []float64{0.1, 0.3, 1.2, 5}
	p.AddEntryPointsLabels, p.AddServicesLabels, p.EntryPoint = true, true, "traefik"
}

// Datadog sends metrics to a DogStatsD agent.
type Datadog struct {
	// Address is host:port, or unix://, unixgram:// or unixstream:// and a path.
	Address              string   `json:"address,omitempty"`
	PushInterval         Duration `json:"pushInterval,omitempty"`
	AddEntryPointsLabels bool     `json:"addEntryPointsLabels,omitempty"`
	AddRoutersLabels     bool     `json:"addRoutersLabels,omitempty"`
	AddServicesLabels    bool     `json:"addServicesLabels,omitempty"`
	// Prefix of the names.
	Prefix string `json:"prefix,omitempty"`
}

// SetDefaults sets the address of DD_AGENT_HOST and DD_DOGSTATSD_PORT or else localhost:8125,
// and 10 s.
func (d *Datadog) SetDefaults() {
	host, port := "localhost", "8125"
	if h, ok := os.LookupEnv("DD_AGENT_HOST"); ok {
		host = h
	}
	if p, ok := os.LookupEnv("DD_DOGSTATSD_PORT"); ok {
		port = p
	}
	d.Address, d.PushInterval, d.Prefix = net.JoinHostPort(host, port), 10e9, "traefik"
	d.AddEntryPointsLabels, d.AddServicesLabels = true, true
}

// StatsD sends metrics to a StatsD server.
type StatsD struct {
	// Address is host:port.
	Address              string   `json:"address,omitempty"`
	PushInterval         Duration `json:"pushInterval,omitempty"`
	AddEntryPointsLabels bool     `json:"addEntryPointsLabels,omitempty"`
	AddRoutersLabels     bool     `json:"addRoutersLabels,omitempty"`
	AddServicesLabels    bool     `json:"addServicesLabels,omitempty"`
	// Prefix of the names.
	Prefix string `json:"prefix,omitempty"`
}

// SetDefaults sets localhost:8125 and 10 s.
func (s *StatsD) SetDefaults() {
	s.Address, s.PushInterval, s.Prefix = "localhost:8125", 10e9, "traefik"
	s.AddEntryPointsLabels, s.AddServicesLabels = true, true
}

// InfluxDB2 sends metrics to an InfluxDB of version 2.
type InfluxDB2 struct {
	// Address is the server's URL.
	Address string `json:"address,omitempty"`
	// Token, or a file that holds it.
	Token                FileOrContent `json:"token,omitempty" cfg:"secret"`
	PushInterval         Duration      `json:"pushInterval,omitempty"`
	Org                  string        `json:"org,omitempty"`
	Bucket               string        `json:"bucket,omitempty"`
	AddEntryPointsLabels bool          `json:"addEntryPointsLabels,omitempty"`
	AddRoutersLabels     bool          `json:"addRoutersLabels,omitempty"`
	AddServicesLabels    bool          `json:"addServicesLabels,omitempty"`
	// AdditionalLabels are tags of every point.
	AdditionalLabels map[string]string `json:"additionalLabels,omitempty"`
}

// SetDefaults sets http://localhost:8086 and 10 s.
func (i *InfluxDB2) SetDefaults() {
	i.Address, i.PushInterval = "http://localhost:8086", 10e9
	i.AddEntryPointsLabels, i.AddServicesLabels = true, true
}

// OTLPMetrics sends metrics to an OpenTelemetry collector.
type OTLPMetrics struct {
	HTTP                 *OTLPHTTP `json:"http,omitempty" cfg:"empty"`
	GRPC                 *OTLPGRPC `json:"grpc,omitempty" cfg:"empty"`
	AddEntryPointsLabels bool      `json:"addEntryPointsLabels,omitempty"`
	AddRoutersLabels     bool      `json:"addRoutersLabels,omitempty"`
	AddServicesLabels    bool      `json:"addServicesLabels,omitempty"`
	// ExplicitBoundaries of the buckets of durations, in seconds.
	ExplicitBoundaries []float64 `json:"explicitBoundaries,omitempty"`
	PushInterval       Duration  `json:"pushInterval,omitempty"`
	// ServiceName is the attribute service.name.
	ServiceName string `json:"serviceName,omitempty"`
	// ResourceAttributes are attributes of everything that is sent.
	ResourceAttributes map[string]string `json:"resourceAttributes,omitempty"`
}

// SetDefaults sets a collector at https://localhost:4318 and 10 s.
func (o *OTLPMetrics) SetDefaults() {
	o.HTTP = &OTLPHTTP{}
	o.HTTP.SetDefaults()
	o.AddEntryPointsLabels, o.AddServicesLabels = true, true
	o.ExplicitBoundaries = []float64{.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	o.PushInterval, o.ServiceName = 10e9, "traefik"
}

// Tracing turns on traces.
type Tracing struct {
	// ServiceName is the attribute service.name.
	ServiceName string `json:"serviceName,omitempty"`
	// ResourceAttributes are attributes of every span.
	ResourceAttributes map[string]string `json:"resourceAttributes,omitempty"`
	// GlobalAttributes is the old name of ResourceAttributes.
	GlobalAttributes map[string]string `json:"globalAttributes,omitempty"`
	// CapturedRequestHeaders are fields of requests that become attributes.
	CapturedRequestHeaders []string `json:"capturedRequestHeaders,omitempty"`
	// CapturedResponseHeaders are fields of answers that become attributes.
	CapturedResponseHeaders []string `json:"capturedResponseHeaders,omitempty"`
	// SafeQueryParams are query parameters whose values are not redacted.
	SafeQueryParams []string `json:"safeQueryParams,omitempty"`
	// SampleRate from 0 to 1.
	SampleRate float64 `json:"sampleRate,omitempty"`
	// AddInternals traces requests to the program's own services too.
	AddInternals bool         `json:"addInternals,omitempty"`
	OTLP         *OTLPTracing `json:"otlp,omitempty" cfg:"empty"`
}

// SetDefaults samples everything.
func (t *Tracing) SetDefaults() { t.ServiceName, t.SampleRate = "traefik", 1 }

// OTLPTracing sends traces to a collector; by gRPC where both ways are given.
type OTLPTracing struct {
	HTTP *OTLPHTTP `json:"http,omitempty" cfg:"empty"`
	GRPC *OTLPGRPC `json:"grpc,omitempty" cfg:"empty"`
}

// SetDefaults sets a collector at https://localhost:4318.
func (t *OTLPTracing) SetDefaults() {
	t.HTTP = &OTLPHTTP{}
	t.HTTP.SetDefaults()
}

// OTLPLogs sends a log to a collector; by gRPC where both ways are given.
type OTLPLogs struct {
	// ServiceName is the attribute service.name.
	ServiceName string `json:"serviceName,omitempty"`
	// ResourceAttributes are attributes of every record.
	ResourceAttributes map[string]string `json:"resourceAttributes,omitempty"`
	HTTP               *OTLPHTTP         `json:"http,omitempty" cfg:"empty"`
	GRPC               *OTLPGRPC         `json:"grpc,omitempty" cfg:"empty"`
}

// SetDefaults sets a collector at https://localhost:4318.
func (l *OTLPLogs) SetDefaults() {
	l.ServiceName, l.HTTP = "traefik", &OTLPHTTP{}
	l.HTTP.SetDefaults()
}

// OTLPHTTP is an OpenTelemetry collector that takes OTLP over HTTP.
type OTLPHTTP struct {
	// Endpoint is scheme://host:port/path; without a path that of the signal is taken, for example /v1/traces.
	Endpoint string     `json:"endpoint,omitempty"`
	TLS      *ClientTLS `json:"tls,omitempty"`
	// Headers are sent along.
	Headers map[string]string `json:"headers,omitempty" cfg:"secret"`
}

// SetDefaults sets https://localhost:4318.
func (o *OTLPHTTP) SetDefaults() { o.Endpoint = "https://localhost:4318" }

// OTLPGRPC is an OpenTelemetry collector that takes OTLP over gRPC.
type OTLPGRPC struct {
	// Endpoint is host:port.
	Endpoint string `json:"endpoint,omitempty"`
	// Insecure speaks without TLS.
	Insecure bool       `json:"insecure,omitempty"`
	TLS      *ClientTLS `json:"tls,omitempty"`
	// Headers are sent along.
	Headers map[string]string `json:"headers,omitempty" cfg:"secret"`
}

// SetDefaults sets localhost:4317.
func (o *OTLPGRPC) SetDefaults() { o.Endpoint = "localhost:4317" }
