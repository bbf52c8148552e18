package cpu

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// variants are all kernels this build and processor have, scalar ones last.
func variants() []*kernels { return append(vectorKernels(), scalarKernels()) }

// lengths cover whole vectors, parts of one, and both.
func lengths() []int { return []int{1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 512, 577} }

// eachVariant runs f for every variant on inputs of every length.
func eachVariant(t *testing.T, f func(t *testing.T, k *kernels, a, b []float32)) {
	for _, k := range variants() {
		for _, n := range lengths() {
			t.Run(fmt.Sprintf("%s/%d", k.name, n), func(t *testing.T) {
				a, b := noise(n, false, 11).f32, noise(n, false, 12).f32
				for i := range a {
					a[i] *= 9
				}
				f(t, k, a, b)
			})
		}
	}
}

// near compares with a reference, relative to the larger of its size and floor.
func near(t *testing.T, got, want []float32, relative, floor float64) {
	t.Helper()
	for i, w := range want {
		if diff := math.Abs(float64(got[i]) - float64(w)); !(diff <= relative*max(math.Abs(float64(w)), floor)) {
			t.Fatalf("value %d of %d = %g, want %g", i, len(want), got[i], w)
		}
	}
}

func mapped(n int, f func(i int) float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(f(i))
	}
	return out
}

const ulps = 4.0 / (1 << 24)

func TestElementwise(t *testing.T) {
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	for name, tt := range map[string]struct {
		run  func(k *kernels, dst, a, b []float32)
		want func(a, b float64) float64
		tol  float64
	}{
		"norm":  {func(k *kernels, dst, a, b []float32) { k.norm(dst, a, b, 0.3) }, func(a, b float64) float64 { return a * float64(float32(0.3)) * b }, ulps},
		"add":   {func(k *kernels, dst, a, b []float32) { k.add(dst, a, b) }, func(a, b float64) float64 { return a + b }, ulps},
		"minus": {func(k *kernels, dst, a, _ []float32) { k.minus(dst, a, 0.25) }, func(a, _ float64) float64 { return a - 0.25 }, ulps},
		"relu":  {func(k *kernels, dst, a, b []float32) { k.gateReLU(dst, a, b, false) }, func(a, b float64) float64 { return max(a, 0) * b }, ulps},
		"relu²": {func(k *kernels, dst, a, b []float32) { k.gateReLU(dst, a, b, true) }, func(a, b float64) float64 { return max(a, 0) * max(a, 0) * b }, ulps},
		"scale": {func(k *kernels, dst, a, _ []float32) { copy(dst, a); k.scale(dst, 3) }, func(a, _ float64) float64 { return 3 * a }, ulps},
		"silu":  {func(k *kernels, dst, a, b []float32) { k.gate(dst, a, b, 1, 0) }, func(a, b float64) float64 { return a * sigmoid(a) * b }, 2 * ulps},
		"gelu": {func(k *kernels, dst, a, b []float32) { c1, c3 := geluCoefficients(); k.gate(dst, a, b, c1, c3) }, func(a, b float64) float64 {
			return 0.5 * a * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(a+0.044715*a*a*a))) * b
		}, 1e-5},
		"soft cap": {func(k *kernels, dst, a, _ []float32) { copy(dst, a); k.softCap(dst, 5) }, func(a, _ float64) float64 { return 5 * math.Tanh(a/5) }, 4 * ulps},
		"exp":      {func(k *kernels, dst, a, _ []float32) { k.expSum(dst, a, 9) }, func(a, _ float64) float64 { return math.Exp(float64(float32(a) - 9)) }, ulps},
	} {
		t.Run(name, func(t *testing.T) {
			eachVariant(t, func(t *testing.T, k *kernels, a, b []float32) {
				dst := make([]float32, len(a)+1)
				dst[len(a)] = 77
				tt.run(k, dst[:len(a)], a, b)
				floor := 0.0
				if tt.tol > 2*ulps {
					floor = 1
				}
				near(t, dst, mapped(len(a), func(i int) float64 { return tt.want(float64(a[i]), float64(b[i])) }), tt.tol, floor)
				if dst[len(a)] != 77 {
					t.Error("wrote past the end")
				}
			})
		})
	}
}

func TestExactGELU(t *testing.T) {
	g := []float32{-20, -3, -1, 0, 0.5, 4}
	got := make([]float32, len(g))
	gateErf(got, g, []float32{1, 1, 1, 1, 1, 2})
	near(t, got, []float32{-5.4e-88, -0.004049694, -0.15865526, 0, 0.34573123, 7.9997467}, 1e-5, 1e-20)
}

func TestReductions(t *testing.T) {
	eachVariant(t, func(t *testing.T, k *kernels, a, b []float32) {
		var square, sum, plain float64
		for _, x := range a {
			plain += float64(x)
			square += float64(x) * float64(x)
			sum += math.Exp(float64(x - 9))
		}
		if got := k.sumSquares(a); math.Abs(got-square) > 1e-12*square {
			t.Errorf("sum of squares %g, want %g", got, square)
		}
		if got := k.sum(a); math.Abs(got-plain) > 1e-12*math.Sqrt(square) {
			t.Errorf("sum %g, want %g", got, plain)
		}
		if got := k.expSum(make([]float32, len(a)), a, 9); math.Abs(got-sum) > 1e-6*sum {
			t.Errorf("sum of exponentials %g, want %g", got, sum)
		}
		largest := slices.Max(a)
		if top, at := k.argmax(a); top != largest || at != slices.Index(a, largest) {
			t.Errorf("argmax = %g at %d, want %g at %d", top, at, largest, slices.Index(a, largest))
		}
		scaled := slices.Clone(a)
		if got := k.scaleMax(scaled, 2); got != 2*largest || scaled[0] != 2*a[0] {
			t.Errorf("scaleMax = %g, want %g", got, 2*largest)
		}
		twice := append(slices.Clone(a), a...) // of equals, the first
		if _, at := k.argmax(twice); at != slices.Index(a, largest) {
			t.Errorf("argmax of a repeated row is at %d, want %d", at, slices.Index(a, largest))
		}
	})
}

// TestExtremes: what is not finite stays visible, and nothing else becomes so.
func TestExtremes(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, k := range variants() {
		t.Run(k.name, func(t *testing.T) {
			for at := range 20 {
				xs := make([]float32, 20)
				xs[at] = nan
				if sum := k.expSum(make([]float32, 20), xs, 1); sum == sum {
					t.Error("exp hides a NaN")
				}
				out := make([]float32, 20)
				if k.gate(out, xs, xs, 1, 0); out[at] == out[at] {
					t.Error("gate hides a NaN")
				}
				if k.gateReLU(out, xs, xs, at%2 == 0); out[at] == out[at] {
					t.Error("ReLU hides a NaN")
				}
				half := make([]uint16, 20)
				if k.pack(half, xs); half[at]&0x7fff <= 0x7f80 {
					t.Errorf("pack makes %#x of NaN", half[at])
				}
			}
			row := slices.Repeat([]float32{-inf, -1000, -88, 0}, 5)
			if k.expSum(row, row, 0); row[0] != 0 || row[1] != 0 || row[2] > 1e-37 || row[3] != 1 {
				t.Errorf("exp = %v", row[:4])
			}
			g, gated := slices.Repeat([]float32{-1000, -90, 90, 1000, 1e30}, 5), slices.Repeat([]float32{0, 0, 90, 1000, 1e30}, 5)
			ones, out, slope, du := slices.Repeat([]float32{1}, 25), make([]float32, 25), make([]float32, 25), make([]float32, 25)
			k.gateBack(out, slope, du, ones, g, ones, 1, 0)
			near(t, out, gated, 1e-6, 1e-20)
			near(t, slope, slices.Repeat([]float32{0, 0, 1, 1, 1}, 5), 1e-6, 1e-20)
			k.gate(g, g, ones, 1, 0)
			near(t, g, gated, 1e-6, 1e-20)
			c := slices.Repeat([]float32{-1e30, -300, 300, 1e30}, 5)
			k.softCap(c, 30)
			near(t, c, slices.Repeat([]float32{-30, -30, 30, 30}, 5), 1e-6, 1)
		})
	}
}

func TestRotations(t *testing.T) {
	for _, k := range variants() {
		for _, half := range []int{1, 4, 10, 16, 32, 64} {
			t.Run(fmt.Sprintf("%s/%d", k.name, half), func(t *testing.T) {
				head, angle := noise(2*half, false, 3).f32, noise(half, false, 4).f32
				cos := mapped(half, func(i int) float64 { return math.Cos(float64(angle[i])) })
				sin := mapped(half, func(i int) float64 { return math.Sin(float64(angle[i])) })
				want, pairs := make([]float32, 2*half), make([]float32, 2*half)
				wideCos, wideSin := make([]float32, 2*half), make([]float32, 2*half)
				for j := range half {
					x, y, c, s := float64(head[j]), float64(head[half+j]), float64(cos[j]), float64(sin[j])
					want[j], want[half+j] = float32(x*c-y*s), float32(y*c+x*s)
					pairs[2*j], pairs[2*j+1] = head[j], head[half+j]
					wideCos[2*j], wideCos[2*j+1] = cos[j], cos[j]
					wideSin[2*j], wideSin[2*j+1] = -sin[j], sin[j]
				}
				got := slices.Clone(head)
				k.rotate(got[:half], got[half:], cos, sin)
				near(t, got, want, ulps, 1)
				k.rotatePairs(pairs, wideCos, wideSin)
				for j := range half {
					near(t, []float32{pairs[2*j], pairs[2*j+1]}, []float32{want[j], want[half+j]}, ulps, 1)
				}
			})
		}
	}
}

// TestConversions goes through every 16-bit pattern; conversions are exact.
func TestConversions(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	got := make([]float32, len(all))
	for _, k := range variants() {
		t.Run(k.name, func(t *testing.T) {
			for name, c := range map[string]struct {
				widen func([]float32, []uint16)
				one   func(uint16) float32
			}{"bfloat16": {k.widen, fromBF16}, "float16": {k.widenHalf, fromF16}} {
				c.widen(got, all)
				for i, h := range all {
					want := c.one(h)
					if got[i] != want && (got[i] == got[i] || want == want) {
						t.Fatalf("%s %#x = %g, want %g", name, h, got[i], want)
					}
				}
			}
			values := noise(4099, false, 5).f32
			values = append(values, float32(math.Inf(1)), math.Float32frombits(0x3f808000), math.Float32frombits(0x3f818000), math.MaxFloat32, 1e-45, 0)
			packed := make([]uint16, len(values))
			k.pack(packed, values)
			for i, v := range values {
				if packed[i] != roundBF16(v) {
					t.Fatalf("bfloat16 of %g = %#x, want %#x", v, packed[i], roundBF16(v))
				}
			}
		})
	}
}

// TestColumns: products in another library's order have the bits of the readable
// version, and nothing beside the columns is written.
func TestColumns(t *testing.T) {
	const n, lo, hi = 41, 3, 40
	for _, k := range variants() {
		for _, c := range []struct {
			m, k int
			r    runs
		}{
			{1, 1, runs{length: 1}}, {1, 500, runs{length: 500}}, {2, 130, runs{length: 64}}, {3, 300, runs{256, true}}, {5, 129, runs{128, true}},
			{6, 77, runs{length: 77}}, {8, 256, runs{length: 96}}, {13, 140, runs{length: 1024}}, {71, 200, runs{length: 150}}, {7, 333, runs{128, true}},
		} {
			t.Run(fmt.Sprintf("%s/%+v", k.name, c), func(t *testing.T) {
				a, b := noise(c.m*c.k, false, 5).f32, noise(n*c.k, false, 6).f32
				want, got := make([]float32, c.m*n), make([]float32, c.m*n)
				fill(want, 77)
				fill(got, 77)
				columns(c.m, n, c.k, c.r, lo, hi, a, b, want)
				k.columns(c.m, n, c.k, c.r, lo, hi, a, b, got)
				if !sameFloats(got, want) {
					t.Error("bits differ")
				}
			})
		}
	}
}

// BenchmarkKernels reports the rate of each kernel on rows of the size they
// meet in a model, all in cache.
func BenchmarkKernels(b *testing.B) {
	const n = 2048
	x, y, z := noise(n, false, 1).f32, noise(n, false, 2).f32, make([]float32, n)
	half := make([]uint16, n)
	for _, k := range variants() {
		for _, bench := range []struct {
			name string
			run  func()
		}{
			{"RMSNorm", func() { k.rmsNorm(z, x, y, 1e-5) }},
			{"Add", func() { k.add(z, x, y) }},
			{"SiLU", func() { k.gate(z, x, y, 1, 0) }},
			{"LayerNorm", func() { k.normalise(z, x, normal{y, y, true, 1e-5}) }},
			{"ReLU2", func() { k.gateReLU(z, x, y, true) }},
			{"Rotate", func() { k.rotate(z[:n/2], z[n/2:], x[:n/2], y[:n/2]) }},
			{"ExpSum", func() { k.expSum(z, x, 1) }},
			{"ScaleMax", func() { k.scaleMax(z, 1) }},
			{"Argmax", func() { k.argmax(x) }},
			{"SoftCap", func() { k.softCap(z, 50) }},
			{"Pack", func() { k.pack(half, x) }},
			{"Widen", func() { k.widen(z, half) }},
		} {
			b.Run(bench.name+"/"+k.name, func(b *testing.B) {
				b.SetBytes(4 * n)
				for b.Loop() {
					bench.run()
				}
			})
		}
	}
}

// BenchmarkProducts reports the rate of the Go kernels' matrix products on one core.
func BenchmarkProducts(b *testing.B) {
	for _, s := range []shape{{n: 2048, k: 2048}, {n: 576, k: 1536}, {n: 512, k: 64}, {n: 64, k: 512, plain: true}} {
		const m = 128
		x, w, y := noise(m*s.k, false, 1).f32, noise(s.n*s.k, false, 2).f32, make([]float32, m*s.n)
		for _, k := range variants() {
			b.Run(fmt.Sprintf("%dx%d plain=%v/%s", s.n, s.k, s.plain, k.name), func(b *testing.B) {
				for b.Loop() {
					goMultiplier{k}.product(nil, s, m, operand{f32: x}, operand{f32: w}, y)
				}
				b.ReportMetric(2*float64(m*s.n*s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

// BenchmarkSeveralRows reports at what rate the engine's products of several rows read
// weights, on one core.
func BenchmarkSeveralRows(b *testing.B) {
	s := shape{n: 512, k: 2048}
	for _, dtype := range []string{"float32", "bfloat16"} {
		e, err := Start(Options{DType: dtype, Threads: 1})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = e.Close() })
		const copies = 64 // more than caches hold
		w, size := noise(copies*s.n*s.k, e.half, 1), int64(4)
		if e.half {
			size = 2
		}
		for _, m := range []int{1, 2, 4, 16, 64} {
			x, y := noise(e.room(m)*s.k, e.half, 2), make([]float32, e.room(m)*s.n)
			b.Run(fmt.Sprintf("%s/%d", e.info.DType, m), func(b *testing.B) {
				b.SetBytes(size * int64(s.n*s.k))
				_ = e.pool.each(1, func(worker *worker, _ int) {
					for at := 0; b.Loop(); at = (at + 1) % copies {
						e.mul.narrow(worker, s, m, 0, s.n, x, w.from(at*s.n*s.k), y)
					}
				})
			})
		}
	}
}

// BenchmarkFewRows reports at what rate products of one row read weights, on
// one core, beside reading alone.
func BenchmarkFewRows(b *testing.B) {
	for _, s := range []shape{{n: 2048, k: 2048}, {n: 576, k: 1536}, {n: 1536, k: 576}} {
		copies := max(2, 64<<20/(s.n*s.k)) // more than caches hold
		w, half := noise(copies*s.n*s.k, false, 1).f32, noise(copies*s.n*s.k, true, 1).bf16
		x, halfX, y := noise(s.k, false, 2).f32, noise(s.k, true, 2).bf16, make([]float32, s.n)
		for _, k := range variants() {
			at := 0
			next := func() int { at = (at + 1) % copies; return at * s.n * s.k }
			for _, bench := range []struct {
				name  string
				bytes int
				run   func(at int)
			}{
				{"float32", 4, func(at int) { k.columns(1, s.n, s.k, runs{length: 1024}, 0, s.n, x, w[at:], y) }},
				{"bfloat16", 2, func(at int) { k.columnsHalf(1, s.n, s.k, runs{length: 1024}, 0, s.n, halfX, half[at:], y) }},
				{"reading", 4, func(at int) { k.argmax(w[at : at+s.n*s.k]) }},
			} {
				b.Run(fmt.Sprintf("%s/%dx%d/%s", bench.name, s.n, s.k, k.name), func(b *testing.B) {
					b.SetBytes(int64(bench.bytes * s.n * s.k))
					for b.Loop() {
						bench.run(next())
					}
				})
			}
		}
	}
}

// TestKernelNames: a variant is found by its name in any letter case, with hyphens
// or without.
func TestKernelNames(t *testing.T) {
	for _, k := range allKernels() {
		for _, name := range []string{k.name, strings.ToLower(k.name), strings.ReplaceAll(k.name, "-", ""), strings.ReplaceAll(k.name, "-", "_")} {
			if got := kernelsNamed(name); got == nil || got.name != k.name {
				t.Errorf("%s: want %s, not %+v", name, k.name, got)
			}
		}
	}
	if k := kernelsNamed("AVX3"); k != nil {
		t.Errorf("AVX3 is %s", k.name)
	}
}
