// Package apps puts programs that people run behind an edge, with the configuration files
// that their own documentation gives: a FastAPI application under uvicorn behind a stripped
// prefix, and a Socket.IO service under a prefix. In front of the edge are clients that
// people use: a headless Chromium, and gRPC's own client with its server behind the edge.
//
// It has tests only; they are skipped where Debian's packages of these programs are missing,
// or fail if SLUICE_REQUIRE_PYTHON or SLUICE_REQUIRE_BROWSER is set.
package apps
