// Package trace follows requests through the edge and tells a collector of them as spans of
// OpenTelemetry.
//
// The lanes know nothing of it. A Tracer stands before the matcher of an entry point, where it
// begins the trace of a request and asks to be told of its end; before the services, where the
// request to a server gets a span and the fields that carry the trace on; and, for the detailed
// verbosity, before the middlewares. Without tracing none of these is there.
package trace
