//go:build !amd64

package cpu

// pause lets the other thread of a core work for a moment, where a processor has an
// instruction for it.
func pause() {}
