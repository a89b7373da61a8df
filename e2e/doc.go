// Package e2e tests the built binary on a real Docker engine: containers come
// and go and every change must end in the right routes; the compose stacks of
// deploy/compose and of `make up` are started as a user would; bad input must
// cost only itself. It has tests only.
//
// SLUICE_BINARY names the binary to test; without it the tests build one.
// Without an engine the tests are skipped, or fail if SLUICE_REQUIRE_DOCKER is set.
package e2e
