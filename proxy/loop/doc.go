// Package loop is the loop lane (Linux): HTTP/1.1 and HTTP/2, clear and over TLS, on epoll
// loops of our own, one locked thread each. It takes the common case without allocating per
// request and hands over to the handler lane what it cannot do: stages, ops that must wait,
// servers that speak TLS or h2c, raw TCP.
//
// # Shape
//
// A Group holds the loops. Each loop has its own SO_REUSEPORT listener per entry point, its
// own connections to servers (indexed by Endpoint.ID), timer wheel, read buffer and record
// sink; nothing on a request's way is shared between loops but the tables. Other goroutines
// reach a loop through its inbox.
//
// The state machines (clients, servers, tunnels) act on sockets only through the
// kernel interface, never wait, and never read a clock, so that tests drive them with short
// reads and writes, EAGAIN, resets and readiness in any order.
//
// Epoll is edge-triggered, and interest is never changed: a conn remembers that it may be
// readable, and whoever stops reading (for back-pressure, or after its quantum) goes on
// later without asking the kernel.
//
// # HTTP/2
//
// A connection of HTTP/2 is a client with frames beside it, and each of its streams is a
// client without a descriptor: one state machine serves requests of both protocols, and asks
// at a few places only where a request's bytes come from and where an answer's go. Frames of
// all streams are gathered and leave together. A window is told to the client when a server
// has taken the bytes, and a server's answer is read as far as the windows allow, so that
// slow sides hold each other back and little is kept. What a loop does not do goes to the
// handler lane a stream at a time (Stream), since its connection cannot leave the loop.
//
// # Memory
//
// Bytes are read into one buffer of 64 KiB per loop, with room before them for a new head,
// so that head and first body bytes leave in one send without being copied. An idle
// connection holds no buffer. A head's bytes are copied once into its exchange's memory,
// which the strings of the exchange alias.
package loop
