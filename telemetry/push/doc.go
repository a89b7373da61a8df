// Package push sends metrics to what does not come for them: collectors of OpenTelemetry, StatsD,
// Datadog's agent and InfluxDB. It knows how they want to be told; what is measured and when it is
// sent is telemetry's.
package push
