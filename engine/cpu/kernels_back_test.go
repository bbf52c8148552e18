package cpu

import (
	"math"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
)

// slope is the central difference of f at x, in float64.
func slope(f func(float64) float64, x float64) float64 {
	const h = 1e-5
	return (f(x+h) - f(x-h)) / (2 * h)
}

// TestGateBack compares every variant with differences of the activations.
func TestGateBack(t *testing.T) {
	linear, cubic := geluCoefficients()
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	for name, c := range map[string]struct {
		run func(k *kernels, out, dg, du, d, g, u []float32)
		f   func(x float64) float64
	}{
		"silu":      {func(k *kernels, out, dg, du, d, g, u []float32) { k.gateBack(out, dg, du, d, g, u, 1, 0) }, func(x float64) float64 { return x * sigmoid(x) }},
		"gelu-tanh": {func(k *kernels, out, dg, du, d, g, u []float32) { k.gateBack(out, dg, du, d, g, u, linear, cubic) }, func(x float64) float64 { return x * sigmoid(2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)) }},
		"relu":      {func(k *kernels, out, dg, du, d, g, u []float32) { k.gateReLUBack(out, dg, du, d, g, u, false) }, func(x float64) float64 { return max(x, 0) }},
		"relu²":     {func(k *kernels, out, dg, du, d, g, u []float32) { k.gateReLUBack(out, dg, du, d, g, u, true) }, func(x float64) float64 { return max(x, 0) * max(x, 0) }},
		"gelu":      {func(_ *kernels, out, dg, du, d, g, u []float32) { gateErfBack(out, dg, du, d, g, u) }, func(x float64) float64 { return x * (1 + math.Erf(x/math.Sqrt2)) / 2 }},
	} {
		t.Run(name, func(t *testing.T) {
			eachVariant(t, func(t *testing.T, k *kernels, g, u []float32) {
				n := len(g)
				d := noise(n, false, 13).f32
				out, dg, du := make([]float32, n), make([]float32, n), make([]float32, n)
				c.run(k, out, dg, du, d, g, u)
				at := func(f func(g, u, d float64) float64) []float32 {
					return mapped(n, func(i int) float64 { return f(float64(g[i]), float64(u[i]), float64(d[i])) })
				}
				near(t, out, at(func(g, u, _ float64) float64 { return c.f(g) * u }), 1e-5, 1)
				near(t, dg, at(func(g, u, d float64) float64 { return d * u * slope(c.f, g) }), 1e-5, 1)
				near(t, du, at(func(g, _, d float64) float64 { return d * c.f(g) }), 1e-5, 1)
			})
		})
	}
}

// TestRMSNormBack compares with differences of the norm in float64.
func TestRMSNormBack(t *testing.T) {
	eachVariant(t, func(t *testing.T, k *kernels, x, w []float32) {
		const eps = 1e-3
		n := len(x)
		dy := noise(n, false, 14).f32
		loss := func(x, w []float64) (sum float64) {
			var square float64
			for _, v := range x {
				square += v * v
			}
			for i, v := range x {
				sum += float64(dy[i]) * v * w[i] / math.Sqrt(square/float64(n)+eps)
			}
			return sum
		}
		xs, ws := wide(x), wide(w)
		by := func(of []float64) []float32 {
			return mapped(n, func(i int) float64 {
				old := of[i]
				defer func() { of[i] = old }()
				return slope(func(v float64) float64 { of[i] = v; return loss(xs, ws) }, old)
			})
		}
		dx, dw := slices.Clone(dy), make([]float32, n)
		k.rmsNormBack(dx, dx, x, w, dw, eps)
		near(t, dx, by(xs), 1e-5, 1)
		near(t, dw, by(ws), 1e-5, 1)
		again := slices.Clone(x)
		k.rmsNormBack(again, dy, again, w, nil, eps) // over its input
		near(t, again, dx, 0, 0)
	})
}

func wide(xs []float32) []float64 {
	out := make([]float64, len(xs))
	for i, x := range xs {
		out[i] = float64(x)
	}
	return out
}

func TestBackElementwise(t *testing.T) {
	for name, tt := range map[string]struct {
		run  func(k *kernels, dst, a, b []float32)
		want func(a, b float64) float64
	}{
		"addProduct":  {func(k *kernels, dst, a, b []float32) { copy(dst, b); k.addProduct(dst, a, b, 0.5) }, func(a, b float64) float64 { return b + a*b*0.5 }},
		"expLess":     {func(k *kernels, dst, a, b []float32) { k.expLess(dst, a, b, 0.5) }, func(a, b float64) float64 { return math.Exp(a*0.5 - b) }},
		"softmaxBack": {func(k *kernels, dst, a, b []float32) { k.softmaxBack(dst, a, a, b, 0.5) }, func(a, b float64) float64 { return a * (a - b) * 0.5 }},
		"softCapBack": {func(k *kernels, dst, a, b []float32) { copy(dst, a); k.softCapBack(dst, b, 3) }, func(a, b float64) float64 { return a * (1 - b*b/9) }},
	} {
		t.Run(name, func(t *testing.T) {
			eachVariant(t, func(t *testing.T, k *kernels, a, b []float32) {
				dst := make([]float32, len(a)+1)
				dst[len(a)] = 77
				tt.run(k, dst[:len(a)], a, b)
				near(t, dst, mapped(len(a), func(i int) float64 { return tt.want(float64(a[i]), float64(b[i])) }), 1e-6, 1)
				if dst[len(a)] != 77 {
					t.Error("wrote past the end")
				}
			})
		})
	}
	eachVariant(t, func(t *testing.T, k *kernels, a, b []float32) {
		var two, three float64
		for i := range a {
			two += float64(a[i]) * float64(b[i])
			three += float64(a[i]) * float64(b[i]) * float64(a[i])
		}
		near(t, []float32{float32(k.dot(a, b)), float32(k.dot3(a, b, a))}, []float32{float32(two), float32(three)}, 1e-6, 1)
	})
}

// TestExpLessExtremes: padding vanishes, what is masked afterwards stays finite.
func TestExpLessExtremes(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, k := range variants() {
		src := slices.Repeat([]float32{0, 1e30, -inf}, 7)
		less := slices.Repeat([]float32{inf, 0, 0}, 7)
		k.expLess(src, src, less, 1)
		if src[0] != 0 || !(src[1] > 1e37 && src[1] < inf) || src[2] != 0 {
			t.Errorf("%s: exp less = %v", k.name, src[:3])
		}
	}
}

// TestRotaryBack: turning there and back is turning by nothing, and each is the
// other's transpose.
func TestRotaryBack(t *testing.T) {
	for _, k := range variants() {
		for _, half := range []int{1, 4, 10, 32} {
			angle := noise(half, false, 4).f32
			cos := mapped(half, func(i int) float64 { return math.Cos(float64(angle[i])) })
			sin := mapped(half, func(i int) float64 { return math.Sin(float64(angle[i])) })
			head := noise(2*half, false, 3).f32
			got := slices.Clone(head)
			k.rotate(got[:half], got[half:], cos, sin)
			k.rotate(got[half:], got[:half], cos, sin)
			near(t, got, head, ulps, 1)
		}
	}
}

// TestAdamW compares with the formula in float64, two steps of it.
func TestAdamW(t *testing.T) {
	s := adamStep{gradScale: 0.5, decay: 0.999, beta1: 0.9, rest1: 0.1, beta2: 0.99, rest2: 0.01, root2: 0.3, eps: 1e-8, rate: 0.01}
	eachVariant(t, func(t *testing.T, k *kernels, a, b []float32) {
		n := len(a)
		p, m, v := slices.Clone(a), make([]float32, n), make([]float32, n)
		wp, wm, wv := wide(a), make([]float64, n), make([]float64, n)
		for range 2 {
			k.adamW(p, b, m, v, &s)
			for i := range wp {
				g := float64(b[i]) * 0.5
				wm[i] = wm[i]*0.9 + g*0.1
				wv[i] = wv[i]*0.99 + g*g*0.01
				wp[i] = wp[i]*0.999 - 0.01*wm[i]/(math.Sqrt(wv[i])/0.3+1e-8)
			}
		}
		for got, want := range map[*[]float32][]float64{&p: wp, &m: wm, &v: wv} {
			near(t, *got, mapped(n, func(i int) float64 { return want[i] }), 1e-5, 1e-3)
		}
	})
}

// BenchmarkBackKernels reports the rate of each kernel on rows of the size they
// meet in a model, all in cache.
func BenchmarkBackKernels(b *testing.B) {
	const n = 2048
	row := func(seed uint32) []float32 { return noise(n, false, seed).f32 }
	x, y, z, u, v, w := row(1), row(2), row(3), row(4), row(5), row(6)
	s := adamStep{gradScale: 1, decay: 1, beta1: 0.9, rest1: 0.1, beta2: 0.99, rest2: 0.01, root2: 1, eps: 1e-8}
	for _, k := range variants() {
		for _, bench := range []struct {
			name string
			run  func()
		}{
			{"RMSNormBack", func() { k.rmsNormBack(z, x, y, u, v, 1e-5) }},
			{"GateBack", func() { k.gateBack(z, u, v, x, y, w, 1, 0) }},
			{"ExpLess", func() { k.expLess(z, x, y, 1) }},
			{"SoftmaxBack", func() { k.softmaxBack(z, x, y, u, 1) }},
			{"AdamW", func() { k.adamW(z, x, u, v, &s) }},
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

// TestMask holds every variant to engine.Dropout's masks.
func TestMask(t *testing.T) {
	d := engine.Dropout{Seed: 5, Step: 9}
	for _, k := range variants() {
		for _, n := range lengths() {
			for _, p := range []float32{0.05, 0.3, 0.5} {
				want, got := make([]float32, n), make([]float32, n)
				d.Mask(want, 77, 3, 11, p)
				k.mask(got, d.Counter(77, 3, 11), float32(uint64(float64(p)*(1<<24))), 1/(1-p))
				if !slices.Equal(got, want) {
					t.Errorf("%s: mask of %d values, dropout %g: %v, want %v", k.name, n, p, got, want)
				}
			}
		}
	}
}
