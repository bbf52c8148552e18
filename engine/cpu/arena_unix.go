//go:build unix

package cpu

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arena is memory outside the Go heap, given back at once when it is freed.
type arena struct{ mem []byte }

// newArena returns memory for n matrix inputs.
func (e *Engine) newArena(n int) (arena, operand, error) {
	mem, err := unix.Mmap(-1, 0, n*int(e.elementBytes()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return arena{}, operand{}, fmt.Errorf("no memory for %d bytes: %w", n*int(e.elementBytes()), err)
	}
	hugePages(mem)
	if e.half {
		return arena{mem}, operand{bf16: unsafe.Slice((*uint16)(unsafe.Pointer(&mem[0])), n)}, nil
	}
	return arena{mem}, operand{f32: unsafe.Slice((*float32)(unsafe.Pointer(&mem[0])), n)}, nil
}

func (a *arena) free() {
	if a.mem != nil {
		_ = unix.Munmap(a.mem) // fails only for memory that was not mapped
		a.mem = nil
	}
}
