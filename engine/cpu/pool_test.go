package cpu

import (
	"sync"
	"sync/atomic"
	"testing"
)

// TestLateWorkers: jobs end without workers that do not come; whoever ends a phase runs
// what comes last before anybody goes on, and chunks are done once each.
func TestLateWorkers(t *testing.T) {
	late := make(chan struct{})
	nothing := func(int) {}
	p := newPool(3, func(worker int) {
		if worker == 2 {
			<-late
		}
	}, nothing)
	var sum, last atomic.Int64
	j := &job{phases: []phase{
		{n: 100, step: 7, run: func(_ *worker, lo, hi int) { sum.Add(int64(hi - lo)) }, last: func(*worker, int, int) { last.Store(sum.Load()) }},
		{run: func(*worker, int, int) { t.Error("an empty phase ran") }, step: 1},
		{n: 1, step: 1, run: func(*worker, int, int) {
			if got := last.Load(); got%100 != 0 || got != sum.Load() {
				t.Errorf("%d of %d were over when the next phase began", got, sum.Load())
			}
		}},
	}}
	for range 50 {
		if err := p.run(j); err != nil {
			t.Fatal(err)
		}
	}
	close(late)
	for range 50 {
		if err := p.run(j); err != nil {
			t.Fatal(err)
		}
	}
	p.close()
	if sum.Load() != 100*100 {
		t.Errorf("%d done in 100 jobs of 100", sum.Load())
	}
}

// TestTurns: jobs from several goroutines, of more workers than cores too.
func TestTurns(t *testing.T) {
	for _, workers := range []int{1, 2, 16} {
		p := newPool(workers, func(int) {}, func(int) {})
		var sum atomic.Int64
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for range 200 {
					if err := p.split(50, 3, 1, func(_ *worker, lo, hi int) { sum.Add(int64(hi - lo)) }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		p.close()
		if sum.Load() != 4*200*50 {
			t.Errorf("%d workers: %d done in 800 jobs of 50", workers, sum.Load())
		}
	}
}

// TestFewerWorkers: a job that wants fewer workers gets no others, and one after it that
// wants all gets all.
func TestFewerWorkers(t *testing.T) {
	const workers = 5
	p := newPool(workers, func(int) {}, func(int) {})
	defer p.close()
	for _, want := range []int{0, 3, 1, 2, 0, 1, 0, 4} {
		crew := want
		if crew == 0 {
			crew = workers
		}
		var here sync.WaitGroup
		here.Add(crew)
		meet := &job{workers: want, phases: []phase{{n: crew, step: 1, run: func(*worker, int, int) {
			here.Done()
			here.Wait() // for all of them
		}}}}
		var others atomic.Int64
		more := &job{workers: want, phases: []phase{{n: 1000, step: 1, run: func(w *worker, _, _ int) {
			if w.id >= crew {
				others.Add(1)
			}
		}}}}
		for _, j := range []*job{meet, more} {
			if err := p.run(j); err != nil {
				t.Fatal(err)
			}
		}
		if n := others.Load(); n > 0 {
			t.Errorf("others than %d workers did %d chunks", crew, n)
		}
	}
}
