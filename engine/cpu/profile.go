package cpu

import (
	"sync/atomic"
	"time"

	"github.com/coppice-ml/coppice/engine"
)

// lap is what a stretch of a worker's time was spent on.
type lap int

const (
	lapProducts lap = iota
	lapNorms
	lapRotary
	lapGather
	lapAttention
	lapSoftmax
	lapActivation
	lapResidual
	lapHead
	lapGram
	lapGradients
	lapOptimizer
	lapWait
	laps
)

func lapNames() [laps]string {
	return [laps]string{"products", "norms", "rotary", "gathering keys", "attention products", "attention softmax", "activation", "residual", "head softmax", "Gram matrices", "sums over rows", "optimizer", "waiting"}
}

// profile adds up the laps of all workers, in nanoseconds.
type profile [laps]atomic.Int64

// start begins a worker's first lap.
func (w *worker) start() {
	if w.profile != nil {
		w.last = time.Now()
	}
}

// lap ends a stretch of time; where nobody takes time it costs a comparison.
func (w *worker) lap(l lap) {
	if w.profile != nil {
		now := time.Now()
		w.profile[l].Add(int64(now.Sub(w.last)))
		w.last = now
	}
}

// Profile implements engine.Limiter: it takes the time of what layers and heads do while f runs, from all
// callers. Taking it slows them by a few per cent.
func (e *Engine) Profile(f func() error) ([]engine.Share, error) {
	p := &profile{}
	e.pool.profile.Store(p)
	defer e.pool.profile.Store(nil)
	err := f()
	shares := make([]engine.Share, laps)
	for l, name := range lapNames() {
		shares[l] = engine.Share{Name: name, Seconds: time.Duration(p[l].Load()).Seconds()}
	}
	return shares, err
}
