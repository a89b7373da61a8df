// Package telemetry sets up logs, the access log, metrics and traces, and fixes the names of log fields.
package telemetry

// The field names of log events.
const (
	Component   = "component"
	Provider    = "providerName"
	Container   = "container"
	Label       = "label"
	Router      = "routerName"
	Service     = "serviceName"
	Middleware  = "middlewareName"
	EntryPoint  = "entryPointName"
	Server      = "serverURL"
	Code        = "code"
	Suggestion  = "suggestion"
	Reason      = "reason"
	Generation  = "generation"
	File        = "file"
	Certificate = "certificate"
)
