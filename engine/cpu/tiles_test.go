//go:build goexperiment.simd && amd64

package cpu

import (
	"fmt"
	"testing"
)

// dotSum is a row of products as VDPBF16PS sums: in one chain, of each pair the value of odd
// place first.
func dotSum(a, b []uint16) (sum float32) {
	for p := 0; p < len(a); p += 2 {
		if p+1 < len(a) {
			sum = fma32(fromBF16(a[p+1]), fromBF16(b[p+1]), sum)
		}
		sum = fma32(fromBF16(a[p]), fromBF16(b[p]), sum)
	}
	return sum
}

// tileSum is a row of products as TDPBF16PS sums: for each 32 values those of even
// and of odd place in a chain each, from zero, and both added to what there is.
func tileSum(a, b []uint16) (total float32) {
	for from := 0; from < len(a); from += tileStep {
		var sums [2]float32
		for p := from; p < min(from+tileStep, len(a)); p++ {
			sums[p%2] = fma32(fromBF16(a[p]), fromBF16(b[p]), sums[p%2])
		}
		total += sums[0] + sums[1]
	}
	return total
}

// TestTiles: products by tiles, where there are any, have the bits of the instruction's order.
func TestTiles(t *testing.T) {
	for level, sum := range map[string]func(a, b []uint16) float32{levelBF16: dotSum, levelAMX: tileSum} {
		if k := kernelsNamed(level); k != nil { // or this processor, or the system, has none
			t.Run(level, func(t *testing.T) { testTiles(t, k, sum) })
		}
	}
}

func testTiles(t *testing.T, k *kernels, sum func(a, b []uint16) float32) {
	mul := withTiles(goMultiplier{k}, k)
	w := &worker{}
	w.init()
	for _, s := range []shape{{n: 1, k: 1}, {n: 16, k: 32}, {n: 33, k: 31}, {n: 64, k: 64}, {n: 172, k: 96}, {n: 300, k: 545}, {n: 7, k: 1100}, {n: 288, k: 1536}} {
		for _, m := range []int{1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 48, 64, 65, 256, 257, 300} {
			t.Run(fmt.Sprintf("%dx%dx%d", m, s.n, s.k), func(t *testing.T) {
				a, b := noise(m*s.k, true, 1), noise(s.n*s.k, true, 2)
				want, got := make([]float32, m*s.n), make([]float32, m*s.n)
				for i := range m {
					for j := range s.n {
						want[i*s.n+j] = sum(a.bf16[i*s.k:][:s.k], b.bf16[j*s.k:][:s.k])
					}
				}
				compare := func(how string) {
					t.Helper()
					for i := range want {
						if !sameBits(got[i:i+1], want[i:i+1]) {
							t.Fatalf("%s: row %d, column %d: %g, want %g", how, i/s.n, i%s.n, got[i], want[i])
						}
					}
					clear(got)
				}
				mul.product(w, s, m, a, b, got)
				compare("whole")
				for lo := 0; lo < s.n; lo += 40 {
					mul.narrow(w, s, m, lo, min(lo+40, s.n), a, b, got)
				}
				compare("by columns")
				turned := operand{bf16: make([]uint16, s.k*s.n)}
				turnHalves(turned.bf16, b.bf16, s.n, s.k, s.n)
				mul.product(w, shape{n: s.n, k: s.k, plain: true}, m, a, turned, got)
				compare("plain")
				stride := m + 3
				columns := operand{bf16: make([]uint16, s.k*stride)}
				turnHalves(columns.bf16, a.bf16, m, s.k, stride)
				mul.reduce(w, shape{n: s.n, k: s.k, stride: stride}, m, columns, turned, got)
				compare("sums over rows")
				add, before := mul.(adder), noise(m*s.n, false, 3).f32
				added := func(how writing, into func(how writing, dst []float32)) {
					t.Helper()
					copy(got, before)
					into(how, got)
					for i := range got {
						if w := want[i] + before[i]; how == writeAdd && sameBits(got[i:i+1], []float32{w}) {
							got[i] = want[i]
						}
					}
					compare(fmt.Sprintf("written as %d", how))
				}
				for _, how := range []writing{writeOver, writeAdd, writePast} {
					added(how, func(how writing, dst []float32) {
						for lo := 0; lo < s.n; lo += 96 {
							add.productInto(w, s, m, lo, min(lo+96, s.n), a, b, how, dst)
						}
					})
					added(how, func(how writing, dst []float32) {
						for lo := 0; lo < s.n; lo += 96 {
							add.productInto(w, shape{n: s.n, k: s.k, plain: true}, m, lo, min(lo+96, s.n), a, turned, how, dst)
						}
					})
					added(how, func(how writing, dst []float32) {
						add.reduceInto(w, shape{n: s.n, k: s.k, stride: stride}, m, columns, turned, how, dst)
					})
				}
			})
		}
	}
}

// turnHalves writes rows of a [rows, k] as columns of dst [k, stride].
func turnHalves(dst, a []uint16, rows, k, stride int) {
	for i := range rows {
		for p := range k {
			dst[p*stride+i] = a[i*k+p]
		}
	}
}
