//go:build race

package testkit

// Race says that the race detector is in: it allocates, and makes sync.Pool
// forget at random, so that allocations mean nothing.
const Race = true
