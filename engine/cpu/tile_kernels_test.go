//go:build goexperiment.simd && amd64

package cpu

import (
	"fmt"
	"math"
	"testing"
	"unsafe"
)

// withTileKernels is kernels that multiply by tiles; the test is skipped where there are none.
func withTileKernels(t *testing.T) *kernels {
	t.Helper()
	k := kernelsNamed(levelBF16)
	if k == nil {
		t.Skip("needs a processor with AVX512_BF16")
	}
	return k
}

// tiled writes a row of scores as tileProducts leaves row r of 32, among numbers that
// nothing may see.
func tiled(scores []float32, r int) []float32 {
	out := make([]float32, tilePair*len(scores))
	for i := range out {
		out[i] = float32(math.NaN())
	}
	for j, x := range scores {
		out[tileRow(r)+j/tilePair*tilePair*tilePair+j%tilePair/tileEdge*tileEdge*tileEdge+j%tileEdge] = x
	}
	return out
}

// TestTileSoftmax: the largest of what is seen, and exponentials of that alone.
func TestTileSoftmax(t *testing.T) {
	withTileKernels(t)
	for _, n := range []int{64, 512} {
		for _, see := range [][2]int{{0, 1}, {0, 16}, {0, 17}, {0, 32}, {0, 33}, {0, n}, {5, 40}, {31, 33}, {32, 64}, {40, 41}, {50, n}, {n - 1, n}} {
			t.Run(fmt.Sprint(n, see), func(t *testing.T) {
				const scale = 0.37
				from, to := see[0], see[1]
				scores := noise(n, false, 5).f32
				for i := range scores {
					scores[i] *= 30
				}
				scores[(from+to)/2] = -900 // far below
				rows := tiled(scores, 19)
				row := unsafe.Pointer(&rows[tileRow(19)])
				top := float32(math.Inf(-1))
				for _, s := range scores[from:to] {
					top = max(top, s)
				}
				if got := tileRowMax(row, from, to); got != top {
					t.Fatalf("largest %g, want %g", got, top)
				}
				probs := make([]uint16, n*tileEdge)
				sum := tileRowExp(unsafe.Pointer(&probs[3*tilePair]), row, n/tilePair, from, to, scale, top*scale)
				var want float64
				for j, s := range scores {
					p := 0.0
					if j >= from && j < to {
						p = math.Exp(float64(s)*scale - float64(top)*scale)
					}
					want += p
					got := float64(fromBF16(probs[j/tilePair*tilePair*tileEdge+3*tilePair+j%tilePair]))
					if !(math.Abs(got-p) <= p/256+1e-30) {
						t.Fatalf("key %d: %g, want %g", j, got, p)
					}
				}
				near(t, []float32{sum}, []float32{float32(want)}, 1e-5, 0)
			})
		}
	}
}

// TestGateHalf: what is rounded in one pass is what gate gives, rounded.
func TestGateHalf(t *testing.T) {
	k := withTileKernels(t)
	linear, cubic := geluCoefficients()
	for _, c := range [][2]float32{{1, 0}, {linear, cubic}} {
		g, up := noise(224, false, 3).f32, noise(224, false, 4).f32
		for i := range g {
			g[i] *= float32(i)
		}
		g[3] = 1e30
		want, got := make([]float32, len(g)), make([]uint16, len(g))
		gate(want, g, up, c[0], c[1])
		if n := k.gateHalf(got, g, up, c[0], c[1]); n != len(g) {
			t.Fatalf("took %d of %d", n, len(g))
		}
		for i, w := range want {
			if x := fromBF16(got[i]); !(math.Abs(float64(x-w)) <= math.Abs(float64(w))/250+1e-30) {
				t.Errorf("gate of %g and %g = %g, want %g", g[i], up[i], x, w)
			}
		}
		g[40] = float32(math.NaN())
		if k.gateHalf(got, g, up, c[0], c[1]); fromBF16(got[40]) == fromBF16(got[40]) {
			t.Error("a NaN is hidden")
		}
	}
}

// TestPackRows: rows are rounded as pack rounds them.
func TestPackRows(t *testing.T) {
	k := withTileKernels(t)
	const rows, d, stride = 5, 96, 130
	src := noise(rows*stride, false, 6).f32
	src[7] = float32(math.NaN())
	got, want := make([]uint16, rows*d), make([]uint16, d)
	packRows(unsafe.Pointer(&got[0]), unsafe.Pointer(&src[0]), rows, d/tilePair, stride*4)
	for i := range rows {
		k.pack(want, src[i*stride:][:d])
		for j, w := range want {
			if got[i*d+j] != w {
				t.Fatalf("row %d, value %d: %x, want %x", i, j, got[i*d+j], w)
			}
		}
	}
}

// BenchmarkTiles: 32 rows by 256 columns, 256 deep, in the caches.
func BenchmarkTiles(b *testing.B) {
	const depth, columns = 256, 256
	for _, level := range []string{levelAMX, levelBF16} {
		k := kernelsNamed(level)
		if k == nil {
			continue
		}
		b.Run(level, func(b *testing.B) {
			rows, laid, sums := make([]uint16, tilePair*depth), make([]uint16, columns*depth), make([]float32, tilePair*columns)
			run := tileRun{b: unsafe.Pointer(&laid[0]), across: tileEdge * depth * 2, steps: depth / tileStep, pairs: columns / tilePair}
			run.byRows(rows, depth, tilePair)
			for b.Loop() {
				run.into(k.tiles, sums, false)
			}
			b.ReportMetric(2*tilePair*depth*columns*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
