// Package balance picks the server for a request. It does no I/O.
//
// Services are built by a Draft on top of the Book, which keeps what must outlive a
// table: endpoints with their health and counters, round-robin positions and running
// health checks. A service whose configuration did not change keeps all of it.
package balance
