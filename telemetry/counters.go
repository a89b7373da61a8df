package telemetry

// Counters are totals since the start, for the API and the dashboard. They count what
// metrics count, whether or not metrics are on.
type Counters struct {
	// Requests is the number of finished requests; Failed those with a status of 500 and above.
	Requests uint64 `json:"requests"`
	Failed   uint64 `json:"failed"`
	// Retries counts further attempts at servers.
	Retries       uint64 `json:"retries"`
	RequestBytes  uint64 `json:"requestBytes"`
	ResponseBytes uint64 `json:"responseBytes"`
	// Classes counts answers by the first digit of their status ("2xx").
	Classes map[string]uint64 `json:"classes"`
	// Reasons counts the answers the edge made itself, by their Reason.
	Reasons map[string]uint64 `json:"reasons"`
	// Connections are open connections of clients by entry point.
	Connections map[string]int64 `json:"connections"`
	// LinesDropped counts lines of the access log that were dropped as its file could not keep up.
	LinesDropped uint64 `json:"linesDropped"`
}
