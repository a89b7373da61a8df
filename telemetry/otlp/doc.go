// Package otlp speaks the OpenTelemetry protocol towards a collector: it writes the messages of
// traces, metrics and logs, and sends them over HTTP or gRPC.
//
// The messages are few and written by hand (protocol buffers have a simple wire format), and
// gRPC's one call is an HTTP/2 request: the libraries for both would cost every installation
// memory, most of which send nothing (docs/adr/0008-own-otlp.md). Tests read what is written here
// with the official definitions and a gRPC server.
package otlp
