// Package middleware builds the HTTP middlewares from their configuration.
//
// Each kind is written once, as an exchange.Op where only heads are touched and as an
// exchange.Stage where bodies are. The kinds are in sub-packages by concern; this package
// holds the table of kinds and nothing else.
package middleware
