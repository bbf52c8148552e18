//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// maxParameters of a kernel.
const maxParameters = 24

// launcher is the memory in which a launch's parameters lie.
type launcher struct {
	values   [maxParameters]uint64
	pointers [maxParameters + 1]unsafe.Pointer // 0 behind the last
}

// addressOf is where a slice's values lie, for C to use while the call lasts. The
// values must be on the heap.
func addressOf[T any](values []T) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(values))) }

// threads of the blocks that most kernels are launched with, and rows of those
// that take a warp a row.
const (
	blockThreads = 128
	blockRows    = blockThreads / 32
)

// rowsOf launches a kernel of a warp a row, each a kernel of a thread a value.
func (e *Engine) rowsOf(kernel string, rows int, args ...any) error {
	return e.launch(e.compute, kernel, (rows+blockRows-1)/blockRows, 1, args...)
}

func (e *Engine) each(kernel string, values int, args ...any) error {
	return e.launch(e.compute, kernel, (values+blockThreads-1)/blockThreads, 1, args...)
}

// launch queues a kernel for blocks x by y. Its parameters are int (32 bits in C),
// float32, uint64 (size_t), address, or buffer.
func (e *Engine) launch(stream uintptr, kernel string, x, y int, args ...any) error {
	f, err := e.kernel(kernel)
	if err != nil {
		return err
	}
	l := &e.launcher
	for i, a := range args {
		l.values[i] = word(kernel, a)
		l.pointers[i] = unsafe.Pointer(&l.values[i])
	}
	l.pointers[len(args)] = nil
	queue := func() error {
		return e.d.do(e.d.launchKernel, f, uintptr(x), uintptr(y), 1, blockThreads, 1, 1, 0, stream, uintptr(unsafe.Pointer(&l.pointers[0])), 0)
	}
	if stream == e.compute {
		err = e.noted(kernel, queue)
	} else {
		err = queue()
	}
	if err == nil && e.check {
		err = e.d.do(e.d.streamSync, stream)
	}
	if err != nil {
		return fmt.Errorf("kernel %s: %w", kernel, err)
	}
	return nil
}

// word is a parameter as C reads it. What does not fit is a bug.
func word(kernel string, a any) uint64 {
	switch v := a.(type) {
	case int:
		if v > math.MaxInt32 || v < math.MinInt32 {
			panic(fmt.Sprintf("cuda: kernel %s: %d does not fit 32 bits", kernel, v))
		}
		return uint64(uint32(int32(v)))
	case float32:
		return uint64(math.Float32bits(v))
	case uint64:
		return v
	case address:
		return uint64(v)
	case buffer:
		return uint64(v.at)
	}
	panic(fmt.Sprintf("cuda: kernel %s: a parameter of type %T", kernel, a))
}

// kernel finds a kernel by its name.
func (e *Engine) kernel(name string) (uintptr, error) {
	if f, ok := e.kernels[name]; ok {
		return f, nil
	}
	c := cstring(name)
	f, err := e.d.handle(e.d.moduleFunction, e.module, uintptr(unsafe.Pointer(c)))
	runtime.KeepAlive(c)
	if err != nil {
		return 0, fmt.Errorf("kernel %s: %w", name, err)
	}
	e.kernels[name] = f
	return f, nil
}
