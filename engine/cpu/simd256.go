// Code generated from simd512.go by twin_test.go; DO NOT EDIT.

//go:build goexperiment.simd && amd64

package cpu

import (
	"math"
	"math/bits"
	"simd/archsimd"
)

// The AVX2 kernels, made from simd512.go: see there.
//
// While a register's upper half is in use, one instruction of the old encoding may
// cost as much as a thousand others: 400 ns on a Zen 3. Go compiles to those what
// is scalar, what zeroes or copies memory and what broadcasts a constant zero. So
// kernels do such things before their vectors or after ClearAVXUpperBits.
// Rows end in masked loads and stores, so that an element is computed alike
// wherever it stands.

const lanes256 = 8

type vec256 = archsimd.Float32x8

// exp256 is exp32 without the branches: x must not exceed 88.
func exp256(x vec256) vec256 {
	magic := archsimd.BroadcastFloat32x8(expMagic)
	n := x.MulAdd(archsimd.BroadcastFloat32x8(log2e), magic)
	power := n.AsInt32x8().Add(archsimd.BroadcastInt32x8(127)).ShiftAllLeft(23).AsFloat32x8()
	n = n.Sub(magic)
	r := n.MulAdd(archsimd.BroadcastFloat32x8(-ln2High), x)
	r = n.MulAdd(archsimd.BroadcastFloat32x8(-ln2Low), r)
	p := r.MulAdd(archsimd.BroadcastFloat32x8(exp5), archsimd.BroadcastFloat32x8(exp4))
	p = p.MulAdd(r, archsimd.BroadcastFloat32x8(exp3))
	p = p.MulAdd(r, archsimd.BroadcastFloat32x8(exp2))
	p = p.MulAdd(r, archsimd.BroadcastFloat32x8(exp1))
	p = p.MulAdd(r, archsimd.BroadcastFloat32x8(exp0))
	p = p.MulAdd(r.Mul(r), r).Add(archsimd.BroadcastFloat32x8(1)).Mul(power)
	var zero vec256
	// far below, power is not a power; NaN is not below and stays
	return zero.Merge(p, x.Less(archsimd.BroadcastFloat32x8(expLow)))
}

func sumSquares256(x []float32) float64 {
	var parts [lanes256 / 2]float64
	var s0, s1 archsimd.Float64x4
	i := 0
	for ; i+lanes256 <= len(x); i += lanes256 {
		v := archsimd.LoadFloat32x8Slice(x[i:])
		lo, hi := v.GetLo().ConvertToFloat64(), v.GetHi().ConvertToFloat64()
		s0 = lo.MulAdd(lo, s0)
		s1 = hi.MulAdd(hi, s1)
	}
	if i < len(x) {
		v := archsimd.LoadFloat32x8SlicePart(x[i:])
		lo, hi := v.GetLo().ConvertToFloat64(), v.GetHi().ConvertToFloat64()
		s0 = lo.MulAdd(lo, s0)
		s1 = hi.MulAdd(hi, s1)
	}
	return total256(s0.Add(s1), &parts)
}

func sum256(x []float32) float64 {
	var parts [lanes256 / 2]float64
	var s0, s1 archsimd.Float64x4
	i := 0
	for ; i+lanes256 <= len(x); i += lanes256 {
		v := archsimd.LoadFloat32x8Slice(x[i:])
		s0 = s0.Add(v.GetLo().ConvertToFloat64())
		s1 = s1.Add(v.GetHi().ConvertToFloat64())
	}
	if i < len(x) {
		v := archsimd.LoadFloat32x8SlicePart(x[i:])
		s0 = s0.Add(v.GetLo().ConvertToFloat64())
		s1 = s1.Add(v.GetHi().ConvertToFloat64())
	}
	return total256(s0.Add(s1), &parts)
}

// total256 adds up the values of v, in memory that was zeroed before there were
// vectors (see above).
func total256(v archsimd.Float64x4, parts *[lanes256 / 2]float64) (sum float64) {
	v.Store(parts)
	archsimd.ClearAVXUpperBits()
	for _, p := range parts {
		sum += p
	}
	return sum
}

func norm256(dst, x, weight []float32, scale float32) {
	f := archsimd.BroadcastFloat32x8(scale)
	dst, weight = dst[:len(x)], weight[:len(x)]
	i := 0
	for ; i+lanes256 <= len(x); i += lanes256 {
		v := archsimd.LoadFloat32x8Slice(x[i:]).Mul(f)
		archsimd.LoadFloat32x8Slice(weight[i:]).Mul(v).StoreSlice(dst[i:])
	}
	if i < len(x) {
		v := archsimd.LoadFloat32x8SlicePart(x[i:]).Mul(f)
		archsimd.LoadFloat32x8SlicePart(weight[i:]).Mul(v).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func add256(dst, a, b []float32) {
	dst, b = dst[:len(a)], b[:len(a)]
	i := 0
	for ; i+lanes256 <= len(a); i += lanes256 {
		archsimd.LoadFloat32x8Slice(a[i:]).Add(archsimd.LoadFloat32x8Slice(b[i:])).StoreSlice(dst[i:])
	}
	if i < len(a) {
		archsimd.LoadFloat32x8SlicePart(a[i:]).Add(archsimd.LoadFloat32x8SlicePart(b[i:])).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func minus256(dst, x []float32, m float32) {
	mean := archsimd.BroadcastFloat32x8(m)
	dst = dst[:len(x)]
	i := 0
	for ; i+lanes256 <= len(x); i += lanes256 {
		archsimd.LoadFloat32x8Slice(x[i:]).Sub(mean).StoreSlice(dst[i:])
	}
	if i < len(x) {
		archsimd.LoadFloat32x8SlicePart(x[i:]).Sub(mean).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func scale256(xs []float32, f float32) {
	factor := archsimd.BroadcastFloat32x8(f)
	i := 0
	for ; i+lanes256 <= len(xs); i += lanes256 {
		archsimd.LoadFloat32x8Slice(xs[i:]).Mul(factor).StoreSlice(xs[i:])
	}
	if i < len(xs) {
		archsimd.LoadFloat32x8SlicePart(xs[i:]).Mul(factor).StoreSlicePart(xs[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func gate256(dst, g, up []float32, linear, cubic float32) {
	dst, up = dst[:len(g)], up[:len(g)]
	c1, c3 := archsimd.BroadcastFloat32x8(-linear), archsimd.BroadcastFloat32x8(-cubic)
	i := 0
	for ; i+lanes256 <= len(g); i += lanes256 {
		x, u := archsimd.LoadFloat32x8Slice(g[i:]), archsimd.LoadFloat32x8Slice(up[i:])
		gated256(x, u, c1, c3).StoreSlice(dst[i:])
	}
	if i < len(g) {
		x, u := archsimd.LoadFloat32x8SlicePart(g[i:]), archsimd.LoadFloat32x8SlicePart(up[i:])
		gated256(x, u, c1, c3).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// gated256 is x u / (1 + exp(x (c1 + c3 x x))).
func gated256(x, u, c1, c3 vec256) vec256 {
	z := x.Mul(c3.Mul(x).MulAdd(x, c1)).Min(archsimd.BroadcastFloat32x8(88))
	return x.Div(exp256(z).Add(archsimd.BroadcastFloat32x8(1))).Mul(u)
}

func gateReLU256(dst, g, up []float32, squared bool) {
	dst, up = dst[:len(g)], up[:len(g)]
	i := 0
	for ; i+lanes256 <= len(g); i += lanes256 {
		x := relu256(archsimd.LoadFloat32x8Slice(g[i:]), squared)
		x.Mul(archsimd.LoadFloat32x8Slice(up[i:])).StoreSlice(dst[i:])
	}
	if i < len(g) {
		x := relu256(archsimd.LoadFloat32x8SlicePart(g[i:]), squared)
		x.Mul(archsimd.LoadFloat32x8SlicePart(up[i:])).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// relu256 is max(x, 0), NaN where x is, or the square of that.
func relu256(x vec256, squared bool) vec256 {
	var zero vec256
	x = zero.Merge(x, x.Less(zero))
	if squared {
		return x.Mul(x)
	}
	return x
}

func rotate256(a, b, cos, sin []float32) {
	a, b, sin = a[:len(cos)], b[:len(cos)], sin[:len(cos)]
	i := 0
	for ; i+lanes256 <= len(cos); i += lanes256 {
		x, y := archsimd.LoadFloat32x8Slice(a[i:]), archsimd.LoadFloat32x8Slice(b[i:])
		c, s := archsimd.LoadFloat32x8Slice(cos[i:]), archsimd.LoadFloat32x8Slice(sin[i:])
		x.Mul(c).Sub(y.Mul(s)).StoreSlice(a[i:])
		y.Mul(c).Add(x.Mul(s)).StoreSlice(b[i:])
	}
	if i < len(cos) {
		x, y := archsimd.LoadFloat32x8SlicePart(a[i:]), archsimd.LoadFloat32x8SlicePart(b[i:])
		c, s := archsimd.LoadFloat32x8SlicePart(cos[i:]), archsimd.LoadFloat32x8SlicePart(sin[i:])
		x.Mul(c).Sub(y.Mul(s)).StoreSlicePart(a[i:])
		y.Mul(c).Add(x.Mul(s)).StoreSlicePart(b[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func rotatePairs256(x, cos, sin []float32) {
	x, sin = x[:len(cos)], sin[:len(cos)]
	order := [8]uint32{1, 0, 3, 2, 5, 4, 7, 6}
	swapped := archsimd.LoadUint32x8Slice(order[:])
	i := 0
	for ; i+lanes256 <= len(cos); i += lanes256 {
		v := archsimd.LoadFloat32x8Slice(x[i:])
		w := v.Permute(swapped).Mul(archsimd.LoadFloat32x8Slice(sin[i:]))
		v.Mul(archsimd.LoadFloat32x8Slice(cos[i:])).Add(w).StoreSlice(x[i:])
	}
	if i < len(cos) {
		v := archsimd.LoadFloat32x8SlicePart(x[i:])
		w := v.Permute(swapped).Mul(archsimd.LoadFloat32x8SlicePart(sin[i:]))
		v.Mul(archsimd.LoadFloat32x8SlicePart(cos[i:])).Add(w).StoreSlicePart(x[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func scaleMax256(xs []float32, f float32) float32 {
	var parts [lanes256]float32
	top := float32(math.Inf(-1))
	whole := len(xs) / lanes256 * lanes256
	for i, x := range xs[whole:] {
		xs[whole+i] = x * f
		top = max(top, x*f)
	}
	factor, tops := archsimd.BroadcastFloat32x8(f), archsimd.BroadcastFloat32x8(top)
	for i := 0; i < whole; i += lanes256 {
		v := archsimd.LoadFloat32x8Slice(xs[i:]).Mul(factor)
		v.StoreSlice(xs[i:])
		tops = tops.Max(v)
	}
	return largest256(tops, &parts)
}

func largest256(v vec256, parts *[lanes256]float32) float32 {
	v.Store(parts)
	archsimd.ClearAVXUpperBits()
	top := parts[0]
	for _, p := range parts[1:] {
		if p > top {
			top = p
		}
	}
	return top
}

func argmax256(xs []float32) (top float32, at int) {
	if len(xs) < lanes256 {
		return argmax(xs)
	}
	var parts [lanes256]float32
	v := archsimd.LoadFloat32x8Slice(xs)
	i := lanes256
	for ; i+lanes256 <= len(xs); i += lanes256 {
		v = v.Max(archsimd.LoadFloat32x8Slice(xs[i:]))
	}
	top = largest256(v, &parts)
	for _, x := range xs[i:] {
		if x > top {
			top = x
		}
	}
	v = archsimd.BroadcastFloat32x8(top)
	for i = 0; i+lanes256 <= len(xs); i += lanes256 {
		if found := archsimd.LoadFloat32x8Slice(xs[i:]).Equal(v).ToBits(); found != 0 {
			archsimd.ClearAVXUpperBits()
			return top, i + bits.TrailingZeros8(uint8(found))
		}
	}
	archsimd.ClearAVXUpperBits()
	for ; i < len(xs) && xs[i] != top; i++ {
	}
	return top, min(i, len(xs)-1)
}

func expSum256(dst, src []float32, top float32) float64 {
	dst = dst[:len(src)]
	var parts [lanes256 / 2]float64
	m := archsimd.BroadcastFloat32x8(top)
	var s0, s1 archsimd.Float64x4
	i := 0
	for ; i+lanes256 <= len(src); i += lanes256 {
		p := exp256(archsimd.LoadFloat32x8Slice(src[i:]).Sub(m))
		p.StoreSlice(dst[i:])
		s0 = s0.Add(p.GetLo().ConvertToFloat64())
		s1 = s1.Add(p.GetHi().ConvertToFloat64())
	}
	if i < len(src) {
		exp256(archsimd.LoadFloat32x8SlicePart(src[i:]).Sub(m)).StoreSlicePart(dst[i:])
	}
	sum := total256(s0.Add(s1), &parts)
	var rest float64
	for _, p := range dst[i:] {
		rest += float64(p)
	}
	return sum + rest
}

func softCap256(xs []float32, limit float32) {
	twice, whole := archsimd.BroadcastFloat32x8(2/limit), archsimd.BroadcastFloat32x8(limit)
	i := 0
	for ; i+lanes256 <= len(xs); i += lanes256 {
		capped256(archsimd.LoadFloat32x8Slice(xs[i:]), twice, whole).StoreSlice(xs[i:])
	}
	if i < len(xs) {
		capped256(archsimd.LoadFloat32x8SlicePart(xs[i:]), twice, whole).StoreSlicePart(xs[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// capped256 is whole tanh(x twice / 2), from tanh(y) = 1 - 2 / (1 + exp(2y)).
func capped256(x, twice, whole vec256) vec256 {
	e := exp256(x.Mul(twice).Min(archsimd.BroadcastFloat32x8(88)))
	one := archsimd.BroadcastFloat32x8(1)
	t := archsimd.BroadcastFloat32x8(-2).Div(e.Add(one)).Add(one)
	return t.Mul(whole)
}

func widen256(dst []float32, src []uint16) {
	src = src[:len(dst)]
	i := 0
	for ; i+lanes256 <= len(dst); i += lanes256 {
		archsimd.LoadUint16x8Slice(src[i:]).ExtendToUint32().ShiftAllLeft(16).AsFloat32x8().StoreSlice(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
	widenBF16(dst[i:], src[i:])
}

// widenHalf256 moves exponent and fraction into place and scales by 2^112,
// which makes subnormals normal; the largest exponent is infinity or NaN.
func widenHalf256(dst []float32, src []uint16) {
	src = src[:len(dst)]
	magnitude, sign := archsimd.BroadcastUint32x8(0x7fff), archsimd.BroadcastUint32x8(0x8000)
	infinite, inf := archsimd.BroadcastUint32x8(0x7c00), archsimd.BroadcastUint32x8(0x7f800000)
	zero := archsimd.BroadcastUint32x8(0)
	scale := archsimd.BroadcastFloat32x8(0x1p112)
	i := 0
	for ; i+lanes256 <= len(dst); i += lanes256 {
		h := archsimd.LoadUint16x8Slice(src[i:]).ExtendToUint32()
		v := h.And(magnitude).ShiftAllLeft(13).AsFloat32x8().Mul(scale).AsUint32x8()
		special := inf.Merge(zero, h.And(infinite).Equal(infinite))
		v.Or(special).Or(h.And(sign).ShiftAllLeft(16)).AsFloat32x8().StoreSlice(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
	widenF16(dst[i:], src[i:])
}
