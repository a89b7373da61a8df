// Package archtest holds the architecture to its word. It has tests only: who
// may import whom, where third-party modules live, that every package has a
// comment, that nothing registers itself in init, that files stay readable and
// that no build machine leaks into the sources.
//
// The tables in rules_test.go are the twin of docs/architecture.md; change both.
package archtest
