package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// epoch is a number that goes up, and that others wait for: awake for a moment, since
// waking takes longer than most phases, and then asleep.
type epoch struct {
	_        [cacheLine]byte
	value    atomic.Int64
	sleepers atomic.Int32
	_        [cacheLine]byte
	mu       sync.Mutex
	wake     sync.Cond
}

// raise makes the number so high and wakes who sleeps. One at a time does, each with more
// than the one before.
func (e *epoch) raise(to int64) {
	e.value.Store(to)
	if e.sleepers.Load() > 0 {
		e.mu.Lock()
		e.cond().Broadcast()
		e.mu.Unlock()
	}
}

// await returns once the number is as high. It looks so many times before it sleeps.
func (e *epoch) await(least int64, looks int) {
	for x := uint64(1); looks > 0; looks-- {
		if e.value.Load() >= least {
			return
		}
		x = rest(x)
	}
	e.sleepers.Add(1)
	e.mu.Lock()
	for e.value.Load() < least {
		e.cond().Wait()
	}
	e.mu.Unlock()
	e.sleepers.Add(-1)
}

func (e *epoch) cond() *sync.Cond {
	e.wake.L = &e.mu
	return &e.wake
}

// looks is how often a worker looks whether the others are done with a phase, or
// whether there is another job, before it sleeps: for some hundred and some tens of
// microseconds.
type looks struct{ phase, job int }

// looksOf is none at all where there are more workers than cores, which looking would
// keep from working.
func looksOf(workers int) looks {
	if workers > runtime.GOMAXPROCS(0) {
		return looks{}
	}
	return looks{phase: 8000, job: 2000}
}

// rest takes some tens of cycles and leaves them to the core's other thread: divisions
// that wait for each other. PAUSE is made for that, but hosts of virtual machines take a
// loop of it for a sign that another machine may have the processor.
//
//go:noinline
func rest(x uint64) uint64 {
	for range 4 {
		x = 1 << 63 / (x | 1)
	}
	return x
}
