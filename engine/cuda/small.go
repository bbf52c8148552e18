//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"errors"
	"unsafe"
)

// What the worker does with the device and waits for: probing, not calls.

// spreadBlocks bound the grids of kernels that stride over values.
const spreadBlocks = 2048

// spread launches a kernel that strides over so many values.
func (e *Engine) spread(kernel string, values int, args ...any) error {
	return e.spreadOn(e.compute, kernel, values, args...)
}

func (e *Engine) spreadOn(stream uintptr, kernel string, values int, args ...any) error {
	const each = 4 // values a thread, at least
	return e.launch(stream, kernel, min(spreadBlocks, (values+each*blockThreads-1)/(each*blockThreads)), 1, args...)
}

// fetchSmall copies a few bytes from the device. It takes no slot of the stage: those
// who hold one may be waiting for the worker.
func (e *Engine) fetchSmall(to []byte, from address) error {
	if err := e.d.do(e.d.toHost, addressOf(e.stage.small), uintptr(from), uintptr(len(to)), e.compute); err != nil {
		return err
	}
	err := e.d.do(e.d.streamSync, e.compute)
	copy(to, e.stage.small)
	return err
}

// elapsed waits for the second of two events, says how many milliseconds lie between
// them, and destroys both.
func (e *Engine) elapsed(begin, end uintptr) (float32, error) {
	if err := e.d.do(e.d.streamSync, e.compute); err != nil {
		return 0, err
	}
	ms := onHeap[float32]()
	err := e.d.do(e.d.eventTime, uintptr(unsafe.Pointer(ms)), begin, end)
	return *ms, errors.Join(err, e.d.do(e.d.eventDestroy, begin), e.d.do(e.d.eventDestroy, end))
}
