package config

import "strings"

// Severity tells how much a Problem costs.
type Severity string

// The severities, worst first.
const (
	// Error means the object named by the Problem does not work.
	Error Severity = "error"
	// Warning means it works, but not as written or not as likely meant.
	Warning Severity = "warning"
)

// Problem is one thing wrong with a configuration. A bad part never takes a good
// part down: each Problem costs what it names and nothing else. The same Problem,
// with the same code, is shown by the log, the API, the metrics, the dashboard and
// the check command.
type Problem struct {
	// Source is where the text came from: "container web-1", "file /etc/x.yml:3:7", "flag".
	Source string `json:"source"`
	// Provider is the provider's name ("docker", "file", "internal"); empty for static configuration.
	Provider string `json:"provider,omitempty"`
	// Object is the object it costs, for example "router api@docker"; empty if none is named.
	Object string `json:"object,omitempty"`
	// Field is the key as the user wrote it, for example a label.
	Field string `json:"field,omitempty"`
	// Code is stable and made of lower-case words joined by "_"; see the Code constants.
	Code string `json:"code"`
	// Text says what is wrong, in lower case, without the place.
	Text string `json:"text"`
	// Suggestion is the nearest right spelling or the remedy; may be empty.
	Suggestion string `json:"suggestion,omitempty"`
	// Severity is Error unless stated.
	Severity Severity `json:"severity"`
}

// The codes of Problems. A code, once released, keeps its meaning.
const (
	CodeUnknownKey         = "unknown_key"         // a key nobody reads
	CodeInvalidValue       = "invalid_value"       // a value of the wrong type or range
	CodeInvalidRule        = "invalid_rule"        // a rule that does not parse or build
	CodeUnknownMiddleware  = "unknown_middleware"  // a router names a middleware that is not there
	CodeUnknownService     = "unknown_service"     // a router or service names a service that is not there
	CodeUnknownEntryPoint  = "unknown_entry_point" // a router names an entry point that is not there
	CodeUnknownResolver    = "unknown_resolver"    // a router names a certificate resolver that is not there
	CodeUnknownTransport   = "unknown_transport"   // a service names a serversTransport that is not there
	CodeUnknownTLSOptions  = "unknown_tls_options" // a router names TLS options that are not there
	CodeInvalidMiddleware  = "invalid_middleware"  // a middleware that cannot be built
	CodeInvalidService     = "invalid_service"     // a service that cannot be built
	CodeConflict           = "conflict"            // two sources define one name differently
	CodeAmbiguousService   = "ambiguous_service"   // a container with several services, a router that names none
	CodeMissingPort        = "missing_port"        // no port known for a container
	CodeMissingIP          = "missing_ip"          // no address known for a container
	CodeUnknownNetwork     = "unknown_network"     // the network asked for is not one of the container's
	CodeInvalidConstraints = "invalid_constraints" // a constraints expression that does not parse
	CodeUnreachable        = "source_unreachable"  // the provider's source cannot be asked at the moment
	CodeRefused            = "engine_refused"      // an engine does not start, stop or scale what the labels ask for
	CodeLostAddress        = "client_address_lost" // clients arrive with the address of a gateway instead of their own
	CodeUnreadable         = "unreadable_file"     // a file that cannot be read or parsed
	CodeInvalidCertificate = "invalid_certificate" // a certificate or key that cannot be used
	CodeDuplicateHost      = "duplicate_host"      // two routers claim the same host and path
	CodeUnsupported        = "not_supported"       // known to the reference, not to this program
	CodeDeprecated         = "deprecated"          // works, has a better spelling
	CodeLoop               = "reference_loop"      // middlewares or services that contain themselves
	CodeCertificateEnding  = "certificate_ending"  // a certificate in its last third that was not renewed
)

// String gives the problem on one line: place, object, field, text and suggestion.
func (p Problem) String() string {
	var b strings.Builder
	add := func(sep, s string) {
		if s == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteString(sep)
		}
		b.WriteString(s)
	}
	add("", p.Source)
	add(": ", p.Object)
	add(": ", p.Field)
	add(": ", p.Text)
	if p.Suggestion != "" {
		add("; ", p.Suggestion)
	}
	return b.String()
}
