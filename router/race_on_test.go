//go:build race

package router

// raceDetector makes sync.Pool drop what it is given at random, so that allocations say nothing.
const raceDetector = true
