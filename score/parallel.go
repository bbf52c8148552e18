package score

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel runs f for every i below n on all CPUs, each taking the next when it
// is done with one. What f does for one i must not touch what it does for another.
func parallel(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i))
			}
		})
	}
	wg.Wait()
}
