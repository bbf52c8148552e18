package cpu

import (
	"math"
	"strings"
)

// kernels are the loops that are not matrix products, in one variant: the
// scalar ones of this file, which are the reference, or vector ones. What a
// kernel gives for a row depends on that row alone. Destinations may be sources.
type kernels struct {
	name string
	backKernels

	// sum is the sum of x, sumSquares that of x², in float64.
	sum, sumSquares func(x []float32) float64
	// norm: dst = weight * (x * scale).
	norm func(dst, x, weight []float32, scale float32)
	// add: dst = a + b.
	add func(dst, a, b []float32)
	// minus: dst = x - m.
	minus func(dst, x []float32, m float32)
	// scale: xs *= f.
	scale func(xs []float32, f float32)
	// gate: dst = g sigmoid(g (linear + cubic g²)) * up, which is a gated SiLU
	// for (1, 0), however large g is, and a gated tanh-GELU for geluCoefficients.
	gate func(dst, g, up []float32, linear, cubic float32)
	// gateHalf, or nil, writes what gate gives of the first n values, as many as it
	// takes at a time, rounded to bfloat16.
	gateHalf func(dst []uint16, g, up []float32, linear, cubic float32) (n int)
	// gateReLU: dst = max(g, 0) * up, or of the square of that.
	gateReLU func(dst, g, up []float32, squared bool)
	// rotate turns pairs (a[j], b[j]) by the angle with cos[j], sin[j].
	rotate func(a, b, cos, sin []float32)
	// rotatePairs turns pairs (x[2j], x[2j+1]); cos and sin are doubled, as
	// ropeTable keeps them: cos[2j] = cos[2j+1], sin[2j] = -sin[2j+1].
	rotatePairs func(x, cos, sin []float32)
	// scaleMax: xs *= f; it returns the largest, -Inf of none.
	scaleMax func(xs []float32, f float32) float32
	// argmax returns the largest value and where it first stands; xs is not empty.
	argmax func(xs []float32) (top float32, at int)
	// expSum: dst = exp(src - top); it returns the sum, kept in float64.
	expSum func(dst, src []float32, top float32) float64
	// softCap: xs = limit * tanh(xs / limit).
	softCap func(xs []float32, limit float32)
	// pack rounds to bfloat16, ties to even.
	pack func(dst []uint16, src []float32)
	// widen makes float32 of bfloat16, widenHalf of IEEE half precision.
	widen, widenHalf func(dst []float32, src []uint16)

	// products sets dst [m, n] = a [m, k] x b, where b is [n, k] or, for
	// productsPlain, [k, n]. A row's bits do not depend on m.
	products, productsPlain func(m, n, k int, a, b, dst []float32)
	// narrow sets columns [lo, hi) of dst [m, n] to what products gives, for few rows.
	narrow func(m, n, k, lo, hi int, a, b, dst []float32)
	// columns and columnsHalf do the same in the order of another library's sums
	// (see gemv.go). Up to several rows, columns is as fast as libraries' products.
	columns     func(m, n, k int, r runs, lo, hi int, a, b, dst []float32)
	columnsHalf func(m, n, k int, r runs, lo, hi int, a, b []uint16, dst []float32)
	several     int
	tiles       tileUnit // multiplies bfloat16 (see tiles.go)
	// transpose writes the rows of b, stride apart, as columns of panel [depth, pitch].
	transpose func(panel []float32, pitch int, b []float32, columns, stride, depth int)
}

func scalarKernels() *kernels {
	return &kernels{
		name: "scalar", backKernels: scalarBackKernels(),
		sum: sum, sumSquares: sumSquares, norm: normScale, add: add, minus: minus, scale: scale, gate: gate, gateReLU: gateReLU,
		rotate: rotate, rotatePairs: rotatePairs,
		scaleMax: scaleMax, argmax: argmax, expSum: expSum, softCap: softCap,
		pack: packBF16, widen: widenBF16, widenHalf: widenF16,
		products: productRows, productsPlain: productPlain, narrow: narrowRows,
		columns: columns, columnsHalf: columnsHalf, several: fewRows, transpose: transposeRows,
	}
}

// kernelsNamed returns the variant of a name, the fastest for "". Letter case and
// hyphens do not count. It is nil where the build or the processor lacks it.
func kernelsNamed(name string) *kernels {
	letters := strings.NewReplacer("-", "", "_", "")
	for _, k := range allKernels() {
		if name == "" || strings.EqualFold(letters.Replace(name), letters.Replace(k.name)) {
			return k
		}
	}
	return nil
}

// allKernels are the variants of this build and processor, fastest first.
func allKernels() []*kernels { return append(vectorKernels(), scalarKernels()) }

// kernelNames are the variants that kernelsNamed finds, fastest first.
func kernelNames() (names []string) {
	for _, k := range allKernels() {
		names = append(names, k.name)
	}
	return names
}

// exp32 is e^x in float32 within 2 units in the last place, 0 below -87.3 and
// +Inf above 88.7. Range reduction and polynomial as in Cephes' expf.
func exp32(x float32) float32 {
	if !(x > expLow) {
		if x != x {
			return x
		}
		return 0
	}
	if x > 88.72283 {
		return float32(math.Inf(1))
	}
	n := float32(x*log2e) + expMagic
	bits := math.Float32bits(n)
	n -= expMagic
	r := x - float32(n*ln2High)
	r -= float32(n * ln2Low)
	p := float32(exp5)
	p = float32(p*r) + exp4
	p = float32(p*r) + exp3
	p = float32(p*r) + exp2
	p = float32(p*r) + exp1
	p = float32(p*r) + exp0
	p = float32(p*float32(r*r)) + r + 1
	// 2^n in two factors, so that neither leaves the normal range
	k := int32(bits) - 0x4b400000
	h := k / 2
	return p * math.Float32frombits(uint32(h+127)<<23) * math.Float32frombits(uint32(k-h+127)<<23)
}

// Constants of exp32.
const (
	expLow   = -87.33654
	log2e    = 1.44269504088896341
	expMagic = 12582912 // 1.5 * 2^23: adding it rounds to an integer
	ln2High  = 0.693359375
	ln2Low   = -2.12194440e-4
	exp5     = 1.9875691500e-4
	exp4     = 1.3981999507e-3
	exp3     = 8.3334519073e-3
	exp2     = 4.1665795894e-2
	exp1     = 1.6666665459e-1
	exp0     = 5.0000001201e-1
)

func sumSquares(x []float32) float64 {
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		a, b, c, d := float64(x[i]), float64(x[i+1]), float64(x[i+2]), float64(x[i+3])
		s0 += float64(a * a)
		s1 += float64(b * b)
		s2 += float64(c * c)
		s3 += float64(d * d)
	}
	for ; i < len(x); i++ {
		a := float64(x[i])
		s0 += float64(a * a)
	}
	return s0 + s1 + s2 + s3
}

func normScale(dst, x, weight []float32, scale float32) {
	dst, weight = dst[:len(x)], weight[:len(x)]
	for i, v := range x {
		dst[i] = weight[i] * (v * scale)
	}
}

// rmsNorm: dst = x / sqrt(mean(x²) + eps) * weight, one row, the mean in
// float64. dst may be x. (Zhang & Sennrich 2019, eq. 4.)
func (k *kernels) rmsNorm(dst, x, weight []float32, eps float64) {
	k.norm(dst, x, weight, float32(1/math.Sqrt(k.sumSquares(x)/float64(len(x))+eps)))
}

func add(dst, a, b []float32) {
	dst, b = dst[:len(a)], b[:len(a)]
	for i, v := range a {
		dst[i] = v + b[i]
	}
}

// addBias adds a bias to a row; a nil one adds nothing.
func (k *kernels) addBias(row, bias []float32) {
	if bias != nil {
		k.add(row, row, bias)
	}
}

func scale(xs []float32, f float32) {
	for i := range xs {
		xs[i] *= f
	}
}

// geluCoefficients make gate the tanh approximation of GELU (Hendrycks &
// Gimpel 2016): 0.5 (1 + tanh(u)) = sigmoid(2u), u = sqrt(2/pi) (g + 0.044715 g³).
func geluCoefficients() (linear, cubic float32) {
	c := 2 * math.Sqrt(2/math.Pi)
	return float32(c), float32(c * 0.044715)
}

func gate(dst, g, up []float32, linear, cubic float32) {
	dst, up = dst[:len(g)], up[:len(g)]
	for i, x := range g {
		z := x * (linear + float32(float32(cubic*x)*x))
		dst[i] = x / (1 + exp32(-z)) * up[i]
	}
}

// gateErf: dst = g Phi(g) * up, the exact GELU, which no vector variant has.
func gateErf(dst, g, up []float32) {
	for i, x := range g {
		dst[i] = float32(0.5*float64(x)*math.Erfc(-float64(x)/math.Sqrt2)) * up[i]
	}
}

// rotate and rotatePairs: Su et al. 2021, eq. 34, in the half-split layout and
// in that of the paper.
func rotate(a, b, cos, sin []float32) {
	a, b, sin = a[:len(cos)], b[:len(cos)], sin[:len(cos)]
	for j, c := range cos {
		x, y, s := a[j], b[j], sin[j]
		a[j] = float32(x*c) - float32(y*s)
		b[j] = float32(y*c) + float32(x*s)
	}
}

func rotatePairs(x, cos, sin []float32) {
	x, sin = x[:len(cos)], sin[:len(cos)]
	for j := 0; j+1 < len(cos); j += 2 {
		a, b := x[j], x[j+1]
		x[j] = float32(a*cos[j]) + float32(b*sin[j])
		x[j+1] = float32(b*cos[j+1]) + float32(a*sin[j+1])
	}
}

func scaleMax(xs []float32, f float32) float32 {
	top := float32(math.Inf(-1))
	for i, s := range xs {
		s *= f
		xs[i] = s
		if s > top {
			top = s
		}
	}
	return top
}

func argmax(xs []float32) (top float32, at int) {
	top = xs[0]
	for i, x := range xs {
		if x > top {
			top, at = x, i
		}
	}
	return top, at
}

func expSum(dst, src []float32, top float32) (sum float64) {
	dst = dst[:len(src)]
	for i, x := range src {
		p := exp32(x - top)
		dst[i] = p
		sum += float64(p)
	}
	return sum
}

func softCap(xs []float32, limit float32) {
	for i, x := range xs {
		xs[i] = float32(float64(limit) * math.Tanh(float64(x)/float64(limit)))
	}
}
