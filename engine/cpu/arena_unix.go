//go:build unix

package cpu

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arena is memory outside the Go heap, given back at once when it is freed; little of it
// is the garbage collector's, since asking the system takes longer than using it.
type arena struct{ mem []byte }

// little is how many bytes are.
const little = 1 << 20

// arenaOf returns memory for n values, zero.
func arenaOf[T float32 | uint16](n int) (arena, []T, error) {
	var zero T
	size := max(n, 1) * int(unsafe.Sizeof(zero))
	if size < little {
		return arena{}, make([]T, n), nil
	}
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return arena{}, nil, fmt.Errorf("no memory for %d bytes: %w", size, err)
	}
	hugePages(mem)
	return arena{mem}, unsafe.Slice((*T)(unsafe.Pointer(&mem[0])), n), nil
}

func (a *arena) free() {
	if a.mem != nil {
		_ = unix.Munmap(a.mem) // fails only for memory that was not mapped
		a.mem = nil
	}
}
