package cpu

import (
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

// raise sets the number and wakes who sleeps.
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
	for range looks {
		if e.value.Load() >= least {
			return
		}
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

// looks is how often a worker looks whether the others are done before it sleeps: for some
// hundreds of microseconds. There is no PAUSE between looks: hosts of virtual machines take
// a loop of it for a sign that another machine may have the processor.
const looks = 200000
