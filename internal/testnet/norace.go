//go:build !race

package testnet

// RaceDetector tells that the race detector is on: it makes all ten times slower, and
// sync.Pool drops what it is given at random, so that times and allocations say nothing.
const RaceDetector = false
