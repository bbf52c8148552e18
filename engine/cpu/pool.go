package cpu

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// pool is a fixed set of workers, each a goroutine locked to its thread, so
// that what a provider keeps per thread stays with it. Calls from several
// goroutines share the workers: each takes the jobs in order.
type pool struct {
	workers []*worker
	stopped sync.WaitGroup
	free    freeList[job]
	profile atomic.Pointer[profile] // where jobs add the time they take; nil mostly
}

// worker is what a chunk of work may use while it runs: its number and scratch
// memory that nobody else touches until the chunk is done.
type worker struct {
	id   int
	jobs chan *job
	scratch
	tiles    tileProduct
	gathered gathered
	headKV   headTiles // what was gathered, where tiles multiply

	profile *profile // nil unless time is taken
	last    time.Time
}

// job is work that all workers do together: phases, one after the other. What
// a phase writes, the next one sees.
type job struct {
	phases  []phase
	profile *profile
	spins   int

	working atomic.Int32  // workers that have not left it
	done    chan struct{} // capacity 1
	failure atomic.Pointer[productError]

	mu       sync.Mutex
	wake     sync.Cond
	sleepers atomic.Int32
}

// phase is a loop over [0, n) in chunks of step, which workers take as they come.
type phase struct {
	run     func(w *worker, lo, hi int)
	n, step int

	taken, finished atomic.Int64
}

// productError is what a chunk panics with when a product fails: it ends the
// job, not the process, as any other panic does.
type productError struct{ err error }

func newJob() *job {
	j := &job{}
	j.init()
	return j
}

func (j *job) init() {
	j.done = make(chan struct{}, 1)
	j.wake.L = &j.mu
}

// newPool starts the workers; start and stop run on each worker's thread.
func newPool(workers int, start, stop func(worker int)) *pool {
	p := &pool{free: freeList[job]{make: newJob}}
	for id := range workers {
		w := &worker{id: id, jobs: make(chan *job, 64)}
		w.init()
		p.workers = append(p.workers, w)
		p.stopped.Add(1)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			defer p.stopped.Done()
			start(id)
			for j := range w.jobs {
				j.work(w)
			}
			stop(id)
		}()
	}
	return p
}

func (p *pool) close() {
	for _, w := range p.workers {
		close(w.jobs)
	}
	p.stopped.Wait()
}

// run does a job's phases and returns when all workers have left it.
func (p *pool) run(j *job) error {
	for i := range j.phases {
		j.phases[i].taken.Store(0)
		j.phases[i].finished.Store(0)
	}
	j.failure.Store(nil)
	j.profile, j.spins = p.profile.Load(), spins
	if len(p.workers) > runtime.GOMAXPROCS(0) {
		j.spins = 0
	}
	j.working.Store(int32(len(p.workers)))
	for _, w := range p.workers {
		w.jobs <- j
	}
	<-j.done
	if f := j.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

func (j *job) work(w *worker) {
	w.profile = j.profile
	w.start()
	for i := range j.phases {
		ph := &j.phases[i]
		for {
			lo := int(ph.taken.Add(int64(ph.step))) - ph.step
			if lo >= ph.n {
				break
			}
			hi := min(lo+ph.step, ph.n)
			j.chunk(ph, w, lo, hi)
			if int(ph.finished.Add(int64(hi-lo))) == ph.n && j.sleepers.Load() > 0 {
				j.mu.Lock()
				j.wake.Broadcast()
				j.mu.Unlock()
			}
		}
		j.await(ph)
	}
	w.lap(lapWait)
	if j.working.Add(-1) == 0 {
		j.done <- struct{}{}
	}
}

func (j *job) chunk(ph *phase, w *worker, lo, hi int) {
	defer func() {
		if r := recover(); r != nil {
			failed, ok := r.(*productError)
			if !ok { // a bug, which the caller can report as any other failure
				failed = &productError{fmt.Errorf("cpu engine: %v\n%s", r, debug.Stack())}
			}
			j.failure.CompareAndSwap(nil, failed)
		}
	}()
	ph.run(w, lo, hi)
}

// spins is how often a worker looks whether the others are done before it
// sleeps: some hundreds of microseconds, since waking takes longer than a chunk
// of decoding. Where there are more workers than cores, looking keeps others from
// working.
const spins = 200000

// await returns when a phase is finished.
func (j *job) await(ph *phase) {
	for range j.spins {
		if int(ph.finished.Load()) >= ph.n {
			return
		}
	}
	j.sleepers.Add(1)
	j.mu.Lock()
	for int(ph.finished.Load()) < ph.n {
		j.wake.Wait()
	}
	j.mu.Unlock()
	j.sleepers.Add(-1)
}

// evenly sets a phase to parts of at most most elements, cut at multiples of
// quantum, as many parts for each worker.
func (p *pool) evenly(ph *phase, n, most, quantum int) {
	parts := (n + most - 1) / most
	parts = roundUp(max(parts, 1), len(p.workers))
	ph.n, ph.step = n, roundUp(max((n+parts-1)/parts, 1), quantum)
}

// split runs f over [0, n) as one job of even parts. It is for work whose
// closure costs nothing beside it.
func (p *pool) split(n, most, quantum int, f func(w *worker, lo, hi int)) error {
	j := p.free.take()
	defer p.free.put(j)
	if j.phases == nil {
		j.phases = make([]phase, 1)
	}
	j.phases[0].run = f
	p.evenly(&j.phases[0], n, most, quantum)
	return p.run(j)
}

// each runs f for every i in [0, n), one at a time a worker.
func (p *pool) each(n int, f func(w *worker, i int)) error {
	return p.split(n, 1, 1, func(w *worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			f(w, i)
		}
	})
}

// freeList keeps values that are costly to make between uses.
type freeList[T any] struct {
	mu   sync.Mutex
	list []*T
	make func() *T
}

func (l *freeList[T]) take() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.list); n > 0 {
		x := l.list[n-1]
		l.list = l.list[:n-1]
		return x
	}
	return l.make()
}

func (l *freeList[T]) put(x *T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, x)
}
