package cpu

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// pool is a fixed set of workers. The first is whoever calls, for as long as a job
// takes; each of the others is a goroutine locked to its thread, so that what a
// provider keeps per thread stays with it. Calls from several goroutines take turns.
// Nobody waits for a worker that sleeps or is late: others do its part.
type pool struct {
	workers []*worker
	begin   func(worker int) // on the worker's thread
	end     func(worker int)
	stopped sync.WaitGroup
	free    freeList[job]
	profile atomic.Pointer[profile] // where jobs add the time they take; nil mostly

	turn   sync.Mutex // of callers
	job    *job       // under way, nil to stop
	crew   int        // workers of the last job of more than one
	first  int64      // phases that were over before it
	inside atomic.Int64
	// How many jobs there have been, how many phases of them are over, and how often
	// there were to be more workers than before.
	jobs, over, calls epoch
}

// closed is added to how many workers are inside while nobody may come in.
const closed = 1 << 32

// worker is what a chunk of work may use while it runs: its number and scratch
// memory that nobody else touches until the chunk is done.
type worker struct {
	id int
	scratch
	tiles    tileProduct
	gathered gathered
	headKV   headTiles // what was gathered, where tiles multiply
	own      own

	profile *profile // nil unless time is taken
	last    time.Time
}

// job is work that all workers do together: phases, one after the other. What
// a phase writes, the next one sees.
type job struct {
	phases  []phase
	workers int           // at most; 0: all
	took    time.Duration // the last time

	crew    int // workers of it
	looks   looks
	last    int // phase that is not empty
	profile *profile
	failure atomic.Pointer[productError]
}

// phase is a loop over [0, n) in chunks of step: one for each worker, or where there
// are more, as workers come for them. Whoever ends it runs last before the next begins.
// What workers write lies in cache lines of its own.
type phase struct {
	run     func(w *worker, lo, hi int)
	last    func(w *worker, lo, hi int) // of all of it, or nil
	n, step int

	_        [cacheLine]byte
	taken    atomic.Int64
	_        [cacheLine]byte
	finished atomic.Int64
	_        [cacheLine]byte
}

// cacheLine is at least what processors fetch together.
const cacheLine = 128

// productError is what a chunk panics with when a product fails: it ends the
// job, not the process, as any other panic does.
type productError struct{ err error }

// newPool starts the workers; begin and end run on each worker's thread.
func newPool(workers int, begin, end func(worker int)) *pool {
	p := &pool{free: freeList[job]{make: func() *job { return &job{} }}, begin: begin, end: end}
	p.inside.Store(closed)
	for id := range workers {
		w := &worker{id: id}
		w.init()
		p.workers = append(p.workers, w)
	}
	for _, w := range p.workers[1:] {
		p.stopped.Add(1)
		go p.serve(w)
	}
	return p
}

// serve does a worker's part of all jobs that it comes in time for.
func (p *pool) serve(w *worker) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer p.stopped.Done()
	p.begin(w.id)
	defer p.end(w.id)
	var at looks
	for seen := int64(0); ; {
		p.jobs.await(seen+1, at.job)
		seen = p.jobs.value.Load()
		call := int64(0) // to wait for, where others are enough
		if p.inside.Add(1) < closed {
			seen = p.jobs.value.Load() // which may be a later one
			if p.job == nil {
				return
			}
			if at = p.job.looks; w.id < p.job.crew {
				p.work(w, p.job)
			} else {
				call = p.calls.value.Load() + 1
			}
		}
		p.inside.Add(-1)
		p.calls.await(call, 0)
	}
}

func (p *pool) close() {
	p.turn.Lock()
	defer p.turn.Unlock()
	p.calls.raise(p.calls.value.Load() + 1)
	p.open(nil)
	p.stopped.Wait()
	p.end(0)
	p.workers = nil
}

// open lets workers in.
func (p *pool) open(j *job) {
	p.job = j
	p.inside.Add(-closed)
	p.jobs.raise(p.jobs.value.Load() + 1)
}

// shut returns when nobody is inside, nor may come in. Who still is has nothing to do but
// to leave.
func (p *pool) shut(looks int) {
	p.inside.Add(closed)
	for x := uint64(1); p.inside.Load() != closed; looks-- {
		if x = rest(x); looks < 0 {
			time.Sleep(20 * time.Microsecond)
		}
	}
}

// run does a job's phases and returns when all workers have left it.
func (p *pool) run(j *job) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p.begin(0)
	start := time.Now()
	p.prepare(j)
	if j.crew == 1 {
		p.work(p.workers[0], j)
	} else {
		if j.crew > p.crew {
			p.calls.raise(p.calls.value.Load() + 1)
		}
		p.crew = j.crew
		p.open(j)
		p.work(p.workers[0], j)
		p.shut(j.looks.phase)
	}
	j.took = time.Since(start)
	if f := j.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

// prepare makes a job ready. Who calls needs nobody else where no phase has two chunks.
func (p *pool) prepare(j *job) {
	j.crew = 1
	for i := range j.phases {
		ph := &j.phases[i]
		ph.taken.Store(0)
		if ph.n > 0 {
			j.last = i
		}
		if ph.n > ph.step {
			j.crew = len(p.workers)
		}
	}
	if j.workers > 0 {
		j.crew = min(j.crew, j.workers)
	}
	j.looks = looksOf(j.crew)
	j.failure.Store(nil)
	j.profile = p.profile.Load()
	p.first = p.over.value.Load()
}

// work does a worker's part of a job.
func (p *pool) work(w *worker, j *job) {
	w.profile = j.profile
	w.start()
	over := p.first
	for i := range j.phases {
		ph := &j.phases[i]
		if ph.n <= 0 {
			continue
		}
		over++
		if done := p.part(w, j, ph); done > 0 && ph.finished.Add(int64(done)) == int64(ph.n) {
			ph.finished.Store(0)
			if ph.last != nil {
				j.chunk(ph.last, w, 0, ph.n)
			}
			p.over.raise(over)
		} else if i < j.last || w.id == 0 {
			p.over.await(over, j.looks.phase)
		}
	}
	w.lap(lapWait)
}

// part does chunks of a phase as long as there are any, and returns how much they were:
// another takes what would have been the chunk of a worker that is late.
func (p *pool) part(w *worker, j *job, ph *phase) (done int) {
	for {
		lo := int(ph.taken.Add(int64(ph.step))) - ph.step
		if lo >= ph.n {
			return done
		}
		hi := min(lo+ph.step, ph.n)
		j.chunk(ph.run, w, lo, hi)
		done += hi - lo
	}
}

func (j *job) chunk(run func(w *worker, lo, hi int), w *worker, lo, hi int) {
	defer j.keep()
	run(w, lo, hi)
}

// keep is deferred: it keeps what a chunk panics with.
func (j *job) keep() {
	r := recover()
	if r == nil {
		return
	}
	failed, ok := r.(*productError)
	if !ok { // a bug, which the caller can report as any other failure
		failed = &productError{fmt.Errorf("cpu engine: %v\n%s", r, debug.Stack())}
	}
	j.failure.CompareAndSwap(nil, failed)
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
