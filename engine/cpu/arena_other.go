//go:build !unix

package cpu

// arena is memory the garbage collector takes back.
type arena struct{}

func (e *Engine) newArena(n int) (arena, operand, error) {
	return arena{}, operand{}.grow(n, e.half), nil
}

func (a *arena) free() {}
