package cpu

import (
	"fmt"
	"testing"
)

// TestReduce: sums over rows are those of the Go kernels for any number of
// columns, one of many among them.
func TestReduce(t *testing.T) {
	e, err := Start(Options{DType: "float32", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const n, k = 24, 40
	for _, c := range []struct{ m, stride int }{{1, 257}, {1, 1}, {2, 257}, {7, 33}, {33, 33}, {256, 300}} {
		t.Run(fmt.Sprintf("%d of %d", c.m, c.stride), func(t *testing.T) {
			a, b := noise(k*c.stride, false, 3), noise(k*n, false, 4)
			s := shape{n: n, k: k, stride: c.stride}
			got, want := make([]float32, c.m*n), make([]float32, c.m*n)
			err := e.pool.each(1, func(w *worker, _ int) {
				e.mul.reduce(w, s, c.m, a, b, got)
				goMultiplier{e.k}.reduce(w, s, c.m, a, b, want)
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if d := got[i] - want[i]; d > 1e-5 || d < -1e-5 {
					t.Fatalf("value %d: %g, want %g", i, got[i], want[i])
				}
			}
		})
	}
}
