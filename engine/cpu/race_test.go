//go:build race

package cpu_test

// The race detector makes sync.Pool forget at random, and pools allocate.
const raceDetector = true
