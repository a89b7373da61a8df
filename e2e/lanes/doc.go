// Package lanes holds the two lanes to each other: a corpus of raw requests and of raw
// servers' answers goes through the loop lane and through the handler lane by real sockets,
// and what the client got, how its connection ended and what the server saw must be equal,
// and as expected. It has tests only.
package lanes
