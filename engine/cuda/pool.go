//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"fmt"
	"math/bits"

	"github.com/coppice-ml/coppice/engine"
)

// pool is the device's memory. What is given back is kept and used again, so that
// calls of settled sizes allocate nothing; it goes back to the device when there is
// not enough for something else. Its methods run on the worker.
type pool struct {
	d     *driver
	limit int64
	held  int64 // allocated of the device
	used  int64 // of that, in use
	peak  int64 // the most that was held
	free  map[place][]buffer
	idle  func() error // waits for all queued work

	// exact, of tests, gives buffers their very size, and poison spoils what is given
	// back, so that what reads past or after it is seen.
	exact  bool
	poison func(buffer) error
}

// kind says which stream writes to a buffer first.
type kind int

const (
	work    kind = iota // used by the compute stream alone
	weights             // filled by the copy stream
)

// place is where a free buffer is kept.
type place struct {
	kind kind
	size int64
}

// buffer is a part of the device's memory.
type buffer struct {
	at   address
	size int64
	kind kind
	// freed, if not 0, is an event recorded when the buffer was given back: what
	// another stream does with it waits for that.
	freed uintptr
}

// from is the address of byte n of the buffer.
func (b buffer) from(n int64) address { return b.at + address(n) }

// class rounds a size up. Those of work space, which change with the rows of a call,
// go up to an eighth of a power of two, so that calls of similar sizes share memory.
func (p *pool) class(k kind, bytes int64) int64 {
	if bytes = max(bytes, 1); p.exact || k == weights {
		return roundUp(bytes, 256)
	}
	return roundUp(bytes, 1<<max(9, bits.Len64(uint64(bytes-1))-4))
}

func roundUp[T int | int64](n, to T) T { return (n + to - 1) / to * to }

// memoryError says that the device has no room.
type memoryError struct{ want, held, limit int64 }

func (m *memoryError) Error() string {
	const mib = 1 << 20
	return fmt.Sprintf("%v on the GPU: %d MiB more do not fit beside %d MiB of at most %d MiB", engine.ErrMemory, (m.want+mib-1)/mib, m.held/mib, m.limit/mib)
}

func (m *memoryError) Unwrap() error { return engine.ErrMemory }

// take returns at least so many bytes, not initialised.
func (p *pool) take(k kind, bytes int64) (buffer, error) {
	size := p.class(k, bytes)
	at := place{k, size}
	if have := p.free[at]; len(have) > 0 {
		b := have[len(have)-1]
		p.free[at] = have[:len(have)-1]
		p.used += size
		return b, nil
	}
	return p.fresh(k, size)
}

func (p *pool) fresh(k kind, size int64) (buffer, error) {
	at, err := p.alloc(size)
	if err != nil {
		return buffer{}, err
	}
	p.held, p.used = p.held+size, p.used+size
	p.peak = max(p.peak, p.held)
	return buffer{at: at, size: size, kind: k}, nil
}

func (p *pool) alloc(size int64) (address, error) {
	for _, trimmed := range []bool{false, true} {
		if trimmed {
			if err := p.trim(); err != nil {
				return 0, err
			}
		}
		if p.held+size > p.limit {
			continue
		}
		at, err := p.d.handle(p.d.alloc, uintptr(size))
		if err == nil {
			return address(at), nil
		}
		if c, ok := err.(*callError); !ok || c.status != statusOutOfMemory {
			return 0, err
		}
	}
	return 0, &memoryError{want: size, held: p.held, limit: p.limit}
}

// trim gives back to the device what is not in use.
func (p *pool) trim() error {
	if err := p.idle(); err != nil {
		return err
	}
	for at, list := range p.free {
		for _, b := range list {
			if b.freed != 0 {
				_ = p.d.do(p.d.eventDestroy, b.freed)
			}
			if err := p.d.do(p.d.free, uintptr(b.at)); err != nil {
				return err
			}
			p.held -= at.size
		}
		delete(p.free, at)
	}
	return nil
}

func (p *pool) spoil(b buffer) error {
	if p.poison == nil {
		return nil
	}
	return p.poison(b)
}

// give takes a buffer back. Work that was queued before may still use it: what
// uses it next must be queued behind.
func (p *pool) give(b buffer) error {
	if b.at == 0 {
		return nil
	}
	p.used -= b.size
	if p.free == nil {
		p.free = map[place][]buffer{}
	}
	at := place{b.kind, b.size}
	p.free[at] = append(p.free[at], b)
	if b.kind == work {
		return p.spoil(b)
	}
	return nil
}
