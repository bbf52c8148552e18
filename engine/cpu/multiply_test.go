package cpu

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/internal/testkit"
)

// engines has one engine for each provider of this machine, by its name, with
// one worker.
func engines(t testing.TB) map[string]*Engine {
	all := map[string]*Engine{}
	for _, name := range []string{"", "off"} {
		e, err := Start(Options{DType: "float32", Threads: 1, OneDNN: name})
		if err != nil {
			t.Fatal(err)
		}
		if name == "" && strings.HasPrefix(e.info.Provider, "Go") {
			t.Logf("oneDNN is left out: %v", e.info.Notes)
		}
		t.Cleanup(func() { _ = e.Close() })
		all[e.info.Provider] = e
	}
	odd, err := Start(Options{DType: "float32", Threads: 1, Provider: OddRows(6, 8)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = odd.Close() })
	all[odd.info.Provider] = odd
	return all
}

func TestProductsMatchFloat64(t *testing.T) {
	for name, e := range engines(t) {
		for _, s := range []shape{{n: 7, k: 5}, {n: 64, k: 64}, {n: 33, k: 172}, {n: 64, k: 100, plain: true}, {n: 5, k: 3, plain: true}} {
			for _, m := range []int{1, 2, 3, 5, 13, 64, 200} {
				t.Run(fmt.Sprintf("%s/%d x %+v", name, m, s), func(t *testing.T) {
					a, b := noise(m*s.k, false, 5), noise(s.n*s.k, false, 6)
					dst := make([]float32, m*s.n)
					e.product(s, m, a, b, dst)
					for i := range m {
						for j := range s.n {
							if want := dot64(s, a.f32[i*s.k:], b.f32, j); math.Abs(float64(dst[i*s.n+j])-want) > 1e-5 {
								t.Fatalf("row %d column %d = %g, want %g", i, j, dst[i*s.n+j], want)
							}
						}
					}
				})
			}
		}
	}
}

// product runs one product on the worker's own thread.
func (e *Engine) product(s shape, m int, a, b operand, dst []float32) {
	_ = e.pool.each(1, func(w *worker, _ int) { e.mul.product(w, s, m, a, b, dst) })
}

func dot64(s shape, row, b []float32, j int) (sum float64) {
	for p := range s.k {
		w := b[min(j*s.k+p, len(b)-1)]
		if s.plain {
			w = b[p*s.n+j]
		}
		sum += float64(row[p]) * float64(w)
	}
	return sum
}

// oneWorker leaves a test of long arithmetic on one thread to runs without the race
// detector, which would find nothing there in many minutes.
func oneWorker(t *testing.T) {
	if testkit.Race {
		t.Skip("one worker does it all: there is nothing to race with")
	}
}

// TestRowsAreIndependent checks what batch invariance rests on: a row's bits do
// not depend on how many rows there are or where it stands.
func TestRowsAreIndependent(t *testing.T) {
	oneWorker(t)
	for name, e := range engines(t) {
		for _, s := range []shape{{n: 172, k: 64}, {n: 512, k: 2048}, {n: 2048, k: 512}, {n: 576, k: 1536}, {n: 64, k: 512, plain: true}, {n: 64, k: 256, plain: true}, {n: 128, k: 64, plain: true}} {
			t.Run(fmt.Sprintf("%s/%+v", name, s), func(t *testing.T) {
				const most = 260
				a, b := noise((most+64)*s.k, false, 7), noise(s.n*s.k, false, 8)
				want := make([]float32, (most+64)*s.n)
				e.product(s, most, a, b, want)
				got := make([]float32, (most+64)*s.n)
				for _, m := range []int{1, 2, 3, 7, 31, 64, 100, 129, 145, 156, 170, 180, 192, 193, 255} {
					for _, at := range []int{0, 1, 5} {
						m = min(m, most-at)
						e.product(s, m, a.from(at*s.k), b, got)
						if !sameFloats(got[:m*s.n], want[at*s.n:][:m*s.n]) {
							t.Fatalf("%d rows from %d differ from the same rows among %d", m, at, most)
						}
					}
				}
			})
		}
	}
}

func sameFloats(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}

// TestNarrow holds products of few rows, computed by columns, to the same bits
// as the whole product.
func TestNarrow(t *testing.T) {
	oneWorker(t)
	for _, c := range []Options{{DType: "float32"}, {DType: "bfloat16"}, {DType: "float32", OneDNN: "off"}, {DType: "float32", OneDNN: "off", Kernels: "AVX2"}, {DType: "float32", OneDNN: "off", Kernels: "scalar"}, {DType: "bfloat16", Kernels: "scalar"}} {
		if kernelsNamed(c.Kernels) == nil {
			continue
		}
		c.Threads = 1
		e, err := Start(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		for _, s := range []shape{{n: 5, k: 3}, {n: 64, k: 64}, {n: 172, k: 100}, {n: 600, k: 77}, {n: 512, k: 576}, {n: 576, k: 1536}, {n: 512, k: 2048}, {n: 200, k: 5632}} {
			for _, m := range []int{1, 2, fewRows, 7, 70} {
				t.Run(fmt.Sprintf("%s/%s/%s/%dx%dx%d", e.info.Provider, e.info.DType, e.k.name, m, s.n, s.k), func(t *testing.T) {
					a, b := noise(m*s.k, e.half, 5), noise(s.n*s.k, e.half, 6)
					want, got := make([]float32, m*s.n), make([]float32, m*s.n)
					e.product(s, m, a, b, want)
					_ = e.pool.each(1, func(w *worker, _ int) {
						for lo := 0; lo < s.n; lo += 90 {
							e.mul.narrow(w, s, m, lo, min(lo+90, s.n), a, b, got)
						}
					})
					if !sameFloats(got, want[:len(got)]) {
						t.Error("columns differ from the product")
					}
				})
			}
		}
	}
}
