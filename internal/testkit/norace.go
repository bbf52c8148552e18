//go:build !race

package testkit

// Race says that the race detector is in.
const Race = false
