//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"
	"unsafe"
)

// stage is pinned memory of the host through which values go to the device and come
// back: a few buffers that each copy takes in turn.
type stage struct {
	e     *Engine
	slots chan *slot
	size  int
	small []byte // the worker's own
}

// slot is one buffer; its event is recorded behind the last copy that uses it.
type slot struct {
	memory []byte
	event  uintptr
}

// stageSlots are enough for a copy from the mapped file to run beside one to the
// device.
const stageSlots = 4

func (e *Engine) newStage(t tuning) (*stage, error) {
	s := &stage{e: e, slots: make(chan *slot, stageSlots), size: t.staged}
	small, err := e.d.pinned(256)
	if err != nil {
		return nil, err
	}
	s.small = small
	for range stageSlots {
		memory, err := e.d.pinned(s.size)
		if err != nil {
			return nil, err
		}
		event, err := e.record(e.compute)
		if err != nil {
			return nil, err
		}
		s.slots <- &slot{memory, event}
	}
	return s, nil
}

func (s *stage) close() (err error) {
	err = s.e.d.do(s.e.d.hostFree, addressOf(s.small))
	for range stageSlots {
		slot := <-s.slots
		err = errors.Join(err, s.e.d.do(s.e.d.hostFree, addressOf(slot.memory)), s.e.d.do(s.e.d.eventDestroy, slot.event))
	}
	return err
}

// take waits for a slot that no copy uses any more. It is given back by put.
func (s *stage) take(ctx context.Context, name string) (*slot, error) {
	var got *slot
	select {
	case got = <-s.slots:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := s.e.w.poll(ctx, name, func() (bool, error) { return s.e.d.reached(got.event) }); err != nil {
		s.slots <- got
		return nil, err
	}
	return got, nil
}

// up copies values to the device on a stream, in parts that fit a slot and are
// multiples of unit bytes; after, if not nil, is queued behind each: at is where in
// raw the part began.
func (s *stage) up(ctx context.Context, name string, stream uintptr, to func(at int) address, raw []byte, unit int, after func(at, n int) error) error {
	part := max(unit, s.size/unit*unit)
	if after == nil {
		after = func(int, int) error { return nil }
	}
	for at := 0; at < len(raw); at += part {
		n := min(part, len(raw)-at)
		if pieces := s.e.pins.cut(raw[at : at+n]); pieces != nil {
			if err := s.straight(name, stream, to(at), pieces, func() error { return after(at, n) }); err != nil {
				return err
			}
			continue
		}
		slot, err := s.take(ctx, name)
		if err != nil {
			return err
		}
		copy(slot.memory, raw[at:at+n])
		err = s.e.w.do(name, func() error {
			if err := s.e.d.do(s.e.d.toDevice, uintptr(to(at)), addressOf(slot.memory), uintptr(n), stream); err != nil {
				return err
			}
			if err := s.e.d.do(s.e.d.eventRecord, slot.event, stream); err != nil {
				return err
			}
			return after(at, n)
		})
		s.slots <- slot
		if err != nil {
			return err
		}
	}
	return nil
}

// straight copies from pages that are pinned.
func (s *stage) straight(name string, stream uintptr, to address, pieces [][]byte, after func() error) error {
	return s.e.w.do(name, func() error {
		for _, p := range pieces {
			if err := s.e.d.do(s.e.d.toDevice, uintptr(to), addressOf(p), uintptr(len(p)), stream); err != nil {
				return err
			}
			to += address(len(p))
		}
		return after()
	})
}

// down copies from the device, behind what the compute stream has queued, and waits.
func (s *stage) down(ctx context.Context, name string, raw []byte, from address) error {
	for at := 0; at < len(raw); at += s.size {
		n := min(s.size, len(raw)-at)
		slot, err := s.take(ctx, name)
		if err != nil {
			return err
		}
		err = s.e.w.do(name, func() error {
			if err := s.e.d.do(s.e.d.toHost, addressOf(slot.memory), uintptr(from)+uintptr(at), uintptr(n), s.e.compute); err != nil {
				return err
			}
			return s.e.d.do(s.e.d.eventRecord, slot.event, s.e.compute)
		})
		if err == nil {
			if err = s.e.w.poll(ctx, name, func() (bool, error) { return s.e.d.reached(slot.event) }); err == nil {
				copy(raw[at:at+n], slot.memory)
			}
		}
		s.slots <- slot
		if err != nil {
			return err
		}
	}
	return nil
}

// bytesOf are the bytes of values.
func bytesOf[T any](values []T) []byte {
	var one T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(one)))
}
