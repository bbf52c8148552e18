//go:build !unix

package cpu

// arena is memory the garbage collector takes back.
type arena struct{}

func arenaOf[T float32 | uint16](n int) (arena, []T, error) { return arena{}, make([]T, n), nil }

func (a *arena) free() {}
