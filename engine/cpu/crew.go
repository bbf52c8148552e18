package cpu

import (
	"sync"
	"time"
)

// crew is how many workers calls of few rows have. Their phases are so short that where
// another process has a core now and then, all wait for who was at work there, and fewer
// are faster; so they may be where waiting takes long. Nothing tells, so it is tried: as
// many as were fastest make the calls, and now and then another number makes some of them.
// Results do not depend on it.
type crew struct {
	mu    sync.Mutex
	sizes []int // that there may be: all workers, half of them and so on
	best  int   // of sizes
	trial int   // of sizes, that makes the block under way; best mostly
	last  int   // of sizes, that was tried last
	// How many blocks there are from one trial to the next, and until the next.
	patience, left int

	// The block under way: so many calls of one kind, one after the other.
	kind, calls int
	took        time.Duration
	usual       time.Duration // of a block that the best make
}

const (
	blockCalls                  = 32
	leastPatience, mostPatience = 4, 256
)

func newCrew(workers int) *crew {
	c := &crew{patience: leastPatience, left: leastPatience}
	for ; workers > 1; workers = (workers + 1) / 2 {
		c.sizes = append(c.sizes, workers)
	}
	c.sizes = append(c.sizes, 1)
	return c
}

// workers is how many make the next call.
func (c *crew) workers() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sizes[c.trial]
}

// note takes how long a call took. Calls of one kind are as much work.
func (c *crew) note(kind int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kind != kind {
		if c.trial != c.best {
			c.refuse()
		}
		c.kind, c.calls, c.took, c.usual = kind, 0, 0, 0
	}
	c.calls, c.took = c.calls+1, c.took+took
	switch {
	case c.trial != c.best && (c.calls == blockCalls || c.took > c.usual):
		c.judge()
	case c.calls == blockCalls:
		c.settle()
	default:
		return
	}
	c.calls, c.took = 0, 0
}

// settle ends a block that the best made.
func (c *crew) settle() {
	if c.usual == 0 {
		c.usual = c.took
	}
	if c.took > c.usual+c.usual/2 { // something has changed
		c.patience, c.left = leastPatience, min(c.left, leastPatience)
	}
	c.usual += (c.took - c.usual) / 4
	if c.left--; c.left <= 0 && len(c.sizes) > 1 {
		if c.last = (c.last + 1) % len(c.sizes); c.last == c.best {
			c.last = (c.last + 1) % len(c.sizes)
		}
		c.trial = c.last
	}
}

// judge ends a trial: who was clearly faster is the best now.
func (c *crew) judge() {
	if c.took >= c.usual-c.usual/10 {
		c.refuse()
		return
	}
	c.best, c.usual = c.trial, c.took
	c.patience, c.left = leastPatience, leastPatience
}

// refuse ends a trial that showed nothing better.
func (c *crew) refuse() {
	c.patience = min(2*c.patience, mostPatience)
	c.trial, c.left = c.best, c.patience
}
