//go:build !unix

package cpu

// arena is memory the garbage collector takes back.
type arena struct{}

func (e *Engine) newArena(n int) (arena, operand, error) { return arena{}, e.newOperand(n), nil }

func (a *arena) free() {}
