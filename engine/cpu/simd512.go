//go:build goexperiment.simd && amd64

package cpu

import (
	"math"
	"math/bits"
	"simd/archsimd"
)

// The AVX-512 kernels. simd256.go, with the AVX2 ones, is made from this file
// by the substitutions in twin_test.go: go test ./engine/cpu -run Twin -update.
//
// While a register's upper half is in use, one instruction of the old encoding may
// cost as much as a thousand others: 400 ns on a Zen 3. Go compiles to those what
// is scalar, what zeroes or copies memory and what broadcasts a constant zero. So
// kernels do such things before their vectors or after ClearAVXUpperBits.
// Rows end in masked loads and stores, so that an element is computed alike
// wherever it stands.

const lanes512 = 16

type vec512 = archsimd.Float32x16

// exp512 is exp32 without the branches: x must not exceed 88.
func exp512(x vec512) vec512 {
	magic := archsimd.BroadcastFloat32x16(expMagic)
	n := x.MulAdd(archsimd.BroadcastFloat32x16(log2e), magic)
	power := n.AsInt32x16().Add(archsimd.BroadcastInt32x16(127)).ShiftAllLeft(23).AsFloat32x16()
	n = n.Sub(magic)
	r := n.MulAdd(archsimd.BroadcastFloat32x16(-ln2High), x)
	r = n.MulAdd(archsimd.BroadcastFloat32x16(-ln2Low), r)
	p := r.MulAdd(archsimd.BroadcastFloat32x16(exp5), archsimd.BroadcastFloat32x16(exp4))
	p = p.MulAdd(r, archsimd.BroadcastFloat32x16(exp3))
	p = p.MulAdd(r, archsimd.BroadcastFloat32x16(exp2))
	p = p.MulAdd(r, archsimd.BroadcastFloat32x16(exp1))
	p = p.MulAdd(r, archsimd.BroadcastFloat32x16(exp0))
	p = p.MulAdd(r.Mul(r), r).Add(archsimd.BroadcastFloat32x16(1)).Mul(power)
	var zero vec512
	// far below, power is not a power; NaN is not below and stays
	return zero.Merge(p, x.Less(archsimd.BroadcastFloat32x16(expLow)))
}

func sumSquares512(x []float32) float64 {
	var parts [lanes512 / 2]float64
	var s0, s1 archsimd.Float64x8
	i := 0
	for ; i+lanes512 <= len(x); i += lanes512 {
		v := archsimd.LoadFloat32x16Slice(x[i:])
		lo, hi := v.GetLo().ConvertToFloat64(), v.GetHi().ConvertToFloat64()
		s0 = lo.MulAdd(lo, s0)
		s1 = hi.MulAdd(hi, s1)
	}
	if i < len(x) {
		v := archsimd.LoadFloat32x16SlicePart(x[i:])
		lo, hi := v.GetLo().ConvertToFloat64(), v.GetHi().ConvertToFloat64()
		s0 = lo.MulAdd(lo, s0)
		s1 = hi.MulAdd(hi, s1)
	}
	return total512(s0.Add(s1), &parts)
}

func sum512(x []float32) float64 {
	var parts [lanes512 / 2]float64
	var s0, s1 archsimd.Float64x8
	i := 0
	for ; i+lanes512 <= len(x); i += lanes512 {
		v := archsimd.LoadFloat32x16Slice(x[i:])
		s0 = s0.Add(v.GetLo().ConvertToFloat64())
		s1 = s1.Add(v.GetHi().ConvertToFloat64())
	}
	if i < len(x) {
		v := archsimd.LoadFloat32x16SlicePart(x[i:])
		s0 = s0.Add(v.GetLo().ConvertToFloat64())
		s1 = s1.Add(v.GetHi().ConvertToFloat64())
	}
	return total512(s0.Add(s1), &parts)
}

// total512 adds up the values of v, in memory that was zeroed before there were
// vectors (see above).
func total512(v archsimd.Float64x8, parts *[lanes512 / 2]float64) (sum float64) {
	v.Store(parts)
	archsimd.ClearAVXUpperBits()
	for _, p := range parts {
		sum += p
	}
	return sum
}

func norm512(dst, x, weight []float32, scale float32) {
	f := archsimd.BroadcastFloat32x16(scale)
	dst, weight = dst[:len(x)], weight[:len(x)]
	i := 0
	for ; i+lanes512 <= len(x); i += lanes512 {
		v := archsimd.LoadFloat32x16Slice(x[i:]).Mul(f)
		archsimd.LoadFloat32x16Slice(weight[i:]).Mul(v).StoreSlice(dst[i:])
	}
	if i < len(x) {
		v := archsimd.LoadFloat32x16SlicePart(x[i:]).Mul(f)
		archsimd.LoadFloat32x16SlicePart(weight[i:]).Mul(v).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func add512(dst, a, b []float32) {
	dst, b = dst[:len(a)], b[:len(a)]
	i := 0
	for ; i+lanes512 <= len(a); i += lanes512 {
		archsimd.LoadFloat32x16Slice(a[i:]).Add(archsimd.LoadFloat32x16Slice(b[i:])).StoreSlice(dst[i:])
	}
	if i < len(a) {
		archsimd.LoadFloat32x16SlicePart(a[i:]).Add(archsimd.LoadFloat32x16SlicePart(b[i:])).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func minus512(dst, x []float32, m float32) {
	mean := archsimd.BroadcastFloat32x16(m)
	dst = dst[:len(x)]
	i := 0
	for ; i+lanes512 <= len(x); i += lanes512 {
		archsimd.LoadFloat32x16Slice(x[i:]).Sub(mean).StoreSlice(dst[i:])
	}
	if i < len(x) {
		archsimd.LoadFloat32x16SlicePart(x[i:]).Sub(mean).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func scale512(xs []float32, f float32) {
	factor := archsimd.BroadcastFloat32x16(f)
	i := 0
	for ; i+lanes512 <= len(xs); i += lanes512 {
		archsimd.LoadFloat32x16Slice(xs[i:]).Mul(factor).StoreSlice(xs[i:])
	}
	if i < len(xs) {
		archsimd.LoadFloat32x16SlicePart(xs[i:]).Mul(factor).StoreSlicePart(xs[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func gate512(dst, g, up []float32, linear, cubic float32) {
	dst, up = dst[:len(g)], up[:len(g)]
	c1, c3 := archsimd.BroadcastFloat32x16(-linear), archsimd.BroadcastFloat32x16(-cubic)
	i := 0
	for ; i+lanes512 <= len(g); i += lanes512 {
		x, u := archsimd.LoadFloat32x16Slice(g[i:]), archsimd.LoadFloat32x16Slice(up[i:])
		gated512(x, u, c1, c3).StoreSlice(dst[i:])
	}
	if i < len(g) {
		x, u := archsimd.LoadFloat32x16SlicePart(g[i:]), archsimd.LoadFloat32x16SlicePart(up[i:])
		gated512(x, u, c1, c3).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// gated512 is x u / (1 + exp(x (c1 + c3 x x))).
func gated512(x, u, c1, c3 vec512) vec512 {
	z := x.Mul(c3.Mul(x).MulAdd(x, c1)).Min(archsimd.BroadcastFloat32x16(88))
	return x.Div(exp512(z).Add(archsimd.BroadcastFloat32x16(1))).Mul(u)
}

func gateReLU512(dst, g, up []float32, squared bool) {
	dst, up = dst[:len(g)], up[:len(g)]
	i := 0
	for ; i+lanes512 <= len(g); i += lanes512 {
		x := relu512(archsimd.LoadFloat32x16Slice(g[i:]), squared)
		x.Mul(archsimd.LoadFloat32x16Slice(up[i:])).StoreSlice(dst[i:])
	}
	if i < len(g) {
		x := relu512(archsimd.LoadFloat32x16SlicePart(g[i:]), squared)
		x.Mul(archsimd.LoadFloat32x16SlicePart(up[i:])).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// relu512 is max(x, 0), NaN where x is, or the square of that.
func relu512(x vec512, squared bool) vec512 {
	var zero vec512
	x = zero.Merge(x, x.Less(zero))
	if squared {
		return x.Mul(x)
	}
	return x
}

func rotate512(a, b, cos, sin []float32) {
	a, b, sin = a[:len(cos)], b[:len(cos)], sin[:len(cos)]
	i := 0
	for ; i+lanes512 <= len(cos); i += lanes512 {
		x, y := archsimd.LoadFloat32x16Slice(a[i:]), archsimd.LoadFloat32x16Slice(b[i:])
		c, s := archsimd.LoadFloat32x16Slice(cos[i:]), archsimd.LoadFloat32x16Slice(sin[i:])
		x.Mul(c).Sub(y.Mul(s)).StoreSlice(a[i:])
		y.Mul(c).Add(x.Mul(s)).StoreSlice(b[i:])
	}
	if i < len(cos) {
		x, y := archsimd.LoadFloat32x16SlicePart(a[i:]), archsimd.LoadFloat32x16SlicePart(b[i:])
		c, s := archsimd.LoadFloat32x16SlicePart(cos[i:]), archsimd.LoadFloat32x16SlicePart(sin[i:])
		x.Mul(c).Sub(y.Mul(s)).StoreSlicePart(a[i:])
		y.Mul(c).Add(x.Mul(s)).StoreSlicePart(b[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func rotatePairs512(x, cos, sin []float32) {
	x, sin = x[:len(cos)], sin[:len(cos)]
	order := [16]uint32{1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14}
	swapped := archsimd.LoadUint32x16Slice(order[:])
	i := 0
	for ; i+lanes512 <= len(cos); i += lanes512 {
		v := archsimd.LoadFloat32x16Slice(x[i:])
		w := v.Permute(swapped).Mul(archsimd.LoadFloat32x16Slice(sin[i:]))
		v.Mul(archsimd.LoadFloat32x16Slice(cos[i:])).Add(w).StoreSlice(x[i:])
	}
	if i < len(cos) {
		v := archsimd.LoadFloat32x16SlicePart(x[i:])
		w := v.Permute(swapped).Mul(archsimd.LoadFloat32x16SlicePart(sin[i:]))
		v.Mul(archsimd.LoadFloat32x16SlicePart(cos[i:])).Add(w).StoreSlicePart(x[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func scaleMax512(xs []float32, f float32) float32 {
	var parts [lanes512]float32
	top := float32(math.Inf(-1))
	whole := len(xs) / lanes512 * lanes512
	for i, x := range xs[whole:] {
		xs[whole+i] = x * f
		top = max(top, x*f)
	}
	factor, tops := archsimd.BroadcastFloat32x16(f), archsimd.BroadcastFloat32x16(top)
	for i := 0; i < whole; i += lanes512 {
		v := archsimd.LoadFloat32x16Slice(xs[i:]).Mul(factor)
		v.StoreSlice(xs[i:])
		tops = tops.Max(v)
	}
	return largest512(tops, &parts)
}

func largest512(v vec512, parts *[lanes512]float32) float32 {
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

func argmax512(xs []float32) (top float32, at int) {
	if len(xs) < lanes512 {
		return argmax(xs)
	}
	var parts [lanes512]float32
	v := archsimd.LoadFloat32x16Slice(xs)
	i := lanes512
	for ; i+lanes512 <= len(xs); i += lanes512 {
		v = v.Max(archsimd.LoadFloat32x16Slice(xs[i:]))
	}
	top = largest512(v, &parts)
	for _, x := range xs[i:] {
		if x > top {
			top = x
		}
	}
	v = archsimd.BroadcastFloat32x16(top)
	for i = 0; i+lanes512 <= len(xs); i += lanes512 {
		if found := archsimd.LoadFloat32x16Slice(xs[i:]).Equal(v).ToBits(); found != 0 {
			archsimd.ClearAVXUpperBits()
			return top, i + bits.TrailingZeros16(uint16(found))
		}
	}
	archsimd.ClearAVXUpperBits()
	for ; i < len(xs) && xs[i] != top; i++ {
	}
	return top, min(i, len(xs)-1)
}

func expSum512(dst, src []float32, top float32) float64 {
	dst = dst[:len(src)]
	var parts [lanes512 / 2]float64
	m := archsimd.BroadcastFloat32x16(top)
	var s0, s1 archsimd.Float64x8
	i := 0
	for ; i+lanes512 <= len(src); i += lanes512 {
		p := exp512(archsimd.LoadFloat32x16Slice(src[i:]).Sub(m))
		p.StoreSlice(dst[i:])
		s0 = s0.Add(p.GetLo().ConvertToFloat64())
		s1 = s1.Add(p.GetHi().ConvertToFloat64())
	}
	if i < len(src) {
		exp512(archsimd.LoadFloat32x16SlicePart(src[i:]).Sub(m)).StoreSlicePart(dst[i:])
	}
	sum := total512(s0.Add(s1), &parts)
	var rest float64
	for _, p := range dst[i:] {
		rest += float64(p)
	}
	return sum + rest
}

func softCap512(xs []float32, limit float32) {
	twice, whole := archsimd.BroadcastFloat32x16(2/limit), archsimd.BroadcastFloat32x16(limit)
	i := 0
	for ; i+lanes512 <= len(xs); i += lanes512 {
		capped512(archsimd.LoadFloat32x16Slice(xs[i:]), twice, whole).StoreSlice(xs[i:])
	}
	if i < len(xs) {
		capped512(archsimd.LoadFloat32x16SlicePart(xs[i:]), twice, whole).StoreSlicePart(xs[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// capped512 is whole tanh(x twice / 2), from tanh(y) = 1 - 2 / (1 + exp(2y)).
func capped512(x, twice, whole vec512) vec512 {
	e := exp512(x.Mul(twice).Min(archsimd.BroadcastFloat32x16(88)))
	one := archsimd.BroadcastFloat32x16(1)
	t := archsimd.BroadcastFloat32x16(-2).Div(e.Add(one)).Add(one)
	return t.Mul(whole)
}

func widen512(dst []float32, src []uint16) {
	src = src[:len(dst)]
	i := 0
	for ; i+lanes512 <= len(dst); i += lanes512 {
		archsimd.LoadUint16x16Slice(src[i:]).ExtendToUint32().ShiftAllLeft(16).AsFloat32x16().StoreSlice(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
	widenBF16(dst[i:], src[i:])
}

// widenHalf512 moves exponent and fraction into place and scales by 2^112,
// which makes subnormals normal; the largest exponent is infinity or NaN.
func widenHalf512(dst []float32, src []uint16) {
	src = src[:len(dst)]
	magnitude, sign := archsimd.BroadcastUint32x16(0x7fff), archsimd.BroadcastUint32x16(0x8000)
	infinite, inf := archsimd.BroadcastUint32x16(0x7c00), archsimd.BroadcastUint32x16(0x7f800000)
	zero := archsimd.BroadcastUint32x16(0)
	scale := archsimd.BroadcastFloat32x16(0x1p112)
	i := 0
	for ; i+lanes512 <= len(dst); i += lanes512 {
		h := archsimd.LoadUint16x16Slice(src[i:]).ExtendToUint32()
		v := h.And(magnitude).ShiftAllLeft(13).AsFloat32x16().Mul(scale).AsUint32x16()
		special := inf.Merge(zero, h.And(infinite).Equal(infinite))
		v.Or(special).Or(h.And(sign).ShiftAllLeft(16)).AsFloat32x16().StoreSlice(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
	widenF16(dst[i:], src[i:])
}
