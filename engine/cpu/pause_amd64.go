package cpu

// pause lets the other thread of a core work for a moment.
//
//go:noescape
func pause()
