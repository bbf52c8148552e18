package cpu

import (
	"runtime"
	"sync"
)

// pool is a fixed set of workers, each a goroutine locked to its thread, so
// that what a provider keeps per thread stays with it. Calls from several
// goroutines share the workers.
type pool struct {
	workers int
	tasks   chan task
	stopped sync.WaitGroup
}

// task is one part of a parallel loop.
type task struct {
	run    func(w *worker, lo, hi int)
	lo, hi int
	done   *sync.WaitGroup
}

// worker is what a task may use while it runs: its number and scratch memory
// that nobody else touches until the task returns.
type worker struct {
	id    int
	slots [scratchSlots][]float32
	half  [scratchSlots][]uint16
}

const scratchSlots = 10

// floats returns scratch memory for n values under a slot number; its content
// is undefined.
func (w *worker) floats(slot, n int) []float32 {
	if cap(w.slots[slot]) < n {
		w.slots[slot] = make([]float32, n)
	}
	return w.slots[slot][:n]
}

func (w *worker) halves(slot, n int) []uint16 {
	if cap(w.half[slot]) < n {
		w.half[slot] = make([]uint16, n)
	}
	return w.half[slot][:n]
}

// newPool starts the workers; start and stop run on each worker's thread.
func newPool(workers int, start, stop func(worker int)) *pool {
	p := &pool{workers: workers, tasks: make(chan task)}
	for id := range workers {
		p.stopped.Add(1)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			defer p.stopped.Done()
			start(id)
			w := &worker{id: id}
			for t := range p.tasks {
				t.run(w, t.lo, t.hi)
				t.done.Done()
			}
			stop(id)
		}()
	}
	return p
}

func (p *pool) close() {
	close(p.tasks)
	p.stopped.Wait()
}

// split runs f over [0, n) in parts of at most most elements, cut at multiples
// of quantum, as many parts for each worker.
func (p *pool) split(n, most, quantum int, f func(w *worker, lo, hi int)) {
	if n == 0 {
		return
	}
	parts := (n + most - 1) / most
	parts = (parts + p.workers - 1) / p.workers * p.workers
	step := (n + parts - 1) / parts
	step = (step + quantum - 1) / quantum * quantum
	var done sync.WaitGroup
	for lo := 0; lo < n; lo += step {
		done.Add(1)
		p.tasks <- task{run: f, lo: lo, hi: min(lo+step, n), done: &done}
	}
	done.Wait()
}

// each runs f for every i in [0, n), one at a time a worker.
func (p *pool) each(n int, f func(w *worker, i int)) {
	p.split(n, 1, 1, func(w *worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			f(w, i)
		}
	})
}
