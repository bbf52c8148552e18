// Code generated from simd_back512.go by twin_test.go; DO NOT EDIT.

//go:build goexperiment.simd && amd64

package cpu

import "simd/archsimd"

// The AVX2 kernels of the backward pass, made from simd_back512.go.

func backKernels256() backKernels {
	return backKernels{
		dot: dot256, dot3: dot3x256, normBack: normBack256, addProduct: addProduct256, gateBack: gateBack256, gateReLUBack: gateReLUBack256,
		expLess: expLess256, softmaxBack: softmaxBack256, softCapBack: softCapBack256, mask: mask, adamW: adamW256,
	}
}

func dot256(a, b []float32) float64 {
	b = b[:len(a)]
	var parts [lanes256 / 2]float64
	var s0, s1 archsimd.Float64x4
	for len(a) > 0 {
		x, y := archsimd.LoadFloat32x8SlicePart(a), archsimd.LoadFloat32x8SlicePart(b)
		s0 = x.GetLo().ConvertToFloat64().MulAdd(y.GetLo().ConvertToFloat64(), s0)
		s1 = x.GetHi().ConvertToFloat64().MulAdd(y.GetHi().ConvertToFloat64(), s1)
		n := min(lanes256, len(a))
		a, b = a[n:], b[n:]
	}
	return total256(s0.Add(s1), &parts)
}

func dot3x256(a, b, c []float32) float64 {
	b, c = b[:len(a)], c[:len(a)]
	var parts [lanes256 / 2]float64
	var s0, s1 archsimd.Float64x4
	for len(a) > 0 {
		x, y, z := archsimd.LoadFloat32x8SlicePart(a), archsimd.LoadFloat32x8SlicePart(b), archsimd.LoadFloat32x8SlicePart(c)
		s0 = x.GetLo().ConvertToFloat64().Mul(y.GetLo().ConvertToFloat64()).MulAdd(z.GetLo().ConvertToFloat64(), s0)
		s1 = x.GetHi().ConvertToFloat64().Mul(y.GetHi().ConvertToFloat64()).MulAdd(z.GetHi().ConvertToFloat64(), s1)
		n := min(lanes256, len(a))
		a, b, c = a[n:], b[n:], c[n:]
	}
	return total256(s0.Add(s1), &parts)
}

func normBack256(dst, dy, weight, x []float32, scale, shrink float32) {
	f, g := archsimd.BroadcastFloat32x8(scale), archsimd.BroadcastFloat32x8(shrink)
	dst, weight, x = dst[:len(dy)], weight[:len(dy)], x[:len(dy)]
	i := 0
	for ; i+lanes256 <= len(dy); i += lanes256 {
		d := archsimd.LoadFloat32x8Slice(dy[i:]).Mul(archsimd.LoadFloat32x8Slice(weight[i:])).Mul(f)
		d.Sub(archsimd.LoadFloat32x8Slice(x[i:]).Mul(g)).StoreSlice(dst[i:])
	}
	if i < len(dy) {
		d := archsimd.LoadFloat32x8SlicePart(dy[i:]).Mul(archsimd.LoadFloat32x8SlicePart(weight[i:])).Mul(f)
		d.Sub(archsimd.LoadFloat32x8SlicePart(x[i:]).Mul(g)).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func addProduct256(acc, a, b []float32, f float32) {
	factor := archsimd.BroadcastFloat32x8(f)
	acc, b = acc[:len(a)], b[:len(a)]
	i := 0
	for ; i+lanes256 <= len(a); i += lanes256 {
		p := archsimd.LoadFloat32x8Slice(a[i:]).Mul(archsimd.LoadFloat32x8Slice(b[i:])).Mul(factor)
		archsimd.LoadFloat32x8Slice(acc[i:]).Add(p).StoreSlice(acc[i:])
	}
	if i < len(a) {
		p := archsimd.LoadFloat32x8SlicePart(a[i:]).Mul(archsimd.LoadFloat32x8SlicePart(b[i:])).Mul(factor)
		archsimd.LoadFloat32x8SlicePart(acc[i:]).Add(p).StoreSlicePart(acc[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func gateBack256(out, dg, du, d, g, up []float32, linear, cubic float32) {
	n := len(d)
	out, dg, du, g, up = out[:n], dg[:n], du[:n], g[:n], up[:n]
	c := gateCoefficients256{archsimd.BroadcastFloat32x8(linear), archsimd.BroadcastFloat32x8(cubic), archsimd.BroadcastFloat32x8(3 * cubic), archsimd.BroadcastFloat32x8(1)}
	i := 0
	for ; i+lanes256 <= n; i += lanes256 {
		dy, x, u := archsimd.LoadFloat32x8Slice(d[i:]), archsimd.LoadFloat32x8Slice(g[i:]), archsimd.LoadFloat32x8Slice(up[i:])
		gated, slope := c.gate(x)
		gated.Mul(u).StoreSlice(out[i:])
		dy.Mul(u).Mul(slope).StoreSlice(dg[i:])
		dy.Mul(gated).StoreSlice(du[i:])
	}
	if i < n {
		dy, x, u := archsimd.LoadFloat32x8SlicePart(d[i:]), archsimd.LoadFloat32x8SlicePart(g[i:]), archsimd.LoadFloat32x8SlicePart(up[i:])
		gated, slope := c.gate(x)
		gated.Mul(u).StoreSlicePart(out[i:])
		dy.Mul(u).Mul(slope).StoreSlicePart(dg[i:])
		dy.Mul(gated).StoreSlicePart(du[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// gateCoefficients256 are linear, cubic, 3 cubic and one.
type gateCoefficients256 struct{ linear, cubic, slope, one vec256 }

// gate is x sigmoid(z), z = x (linear + cubic x²), and its slope.
func (c *gateCoefficients256) gate(x vec256) (gated, slope vec256) {
	var zero vec256
	z := c.cubic.Mul(x).MulAdd(x, c.linear).Mul(x)
	low := zero.Sub(z).Min(archsimd.BroadcastFloat32x8(88))
	s := c.one.Div(exp256(low).Add(c.one))
	gated = x.Mul(s)
	return gated, gated.Mul(c.one.Sub(s)).Mul(c.slope.Mul(x).MulAdd(x, c.linear)).Add(s)
}

func gateReLUBack256(out, dg, du, d, g, up []float32, squared bool) {
	n := len(d)
	out, dg, du, g, up = out[:n], dg[:n], du[:n], g[:n], up[:n]
	i := 0
	for ; i+lanes256 <= n; i += lanes256 {
		dy, x, u := archsimd.LoadFloat32x8Slice(d[i:]), archsimd.LoadFloat32x8Slice(g[i:]), archsimd.LoadFloat32x8Slice(up[i:])
		y := relu256(x, squared)
		y.Mul(u).StoreSlice(out[i:])
		dy.Mul(u).Mul(reluSlope256(x, squared)).StoreSlice(dg[i:])
		dy.Mul(y).StoreSlice(du[i:])
	}
	if i < n {
		dy, x, u := archsimd.LoadFloat32x8SlicePart(d[i:]), archsimd.LoadFloat32x8SlicePart(g[i:]), archsimd.LoadFloat32x8SlicePart(up[i:])
		y := relu256(x, squared)
		y.Mul(u).StoreSlicePart(out[i:])
		dy.Mul(u).Mul(reluSlope256(x, squared)).StoreSlicePart(dg[i:])
		dy.Mul(y).StoreSlicePart(du[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// reluSlope256 is the slope of what relu256 is: 0 or 1, or 2 max(x, 0).
func reluSlope256(x vec256, squared bool) vec256 {
	var zero vec256
	if squared {
		x = relu256(x, false)
		return x.Add(x)
	}
	return archsimd.BroadcastFloat32x8(1).Merge(zero, x.Greater(zero))
}

func expLess256(dst, src, less []float32, scale float32) {
	dst, less = dst[:len(src)], less[:len(src)]
	f, most := archsimd.BroadcastFloat32x8(scale), archsimd.BroadcastFloat32x8(88)
	i := 0
	for ; i+lanes256 <= len(src); i += lanes256 {
		x := archsimd.LoadFloat32x8Slice(src[i:]).Mul(f).Sub(archsimd.LoadFloat32x8Slice(less[i:]))
		exp256(x.Min(most)).StoreSlice(dst[i:])
	}
	if i < len(src) {
		x := archsimd.LoadFloat32x8SlicePart(src[i:]).Mul(f).Sub(archsimd.LoadFloat32x8SlicePart(less[i:]))
		exp256(x.Min(most)).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func softmaxBack256(dst, p, dp, delta []float32, scale float32) {
	dst, dp, delta = dst[:len(p)], dp[:len(p)], delta[:len(p)]
	f := archsimd.BroadcastFloat32x8(scale)
	i := 0
	for ; i+lanes256 <= len(p); i += lanes256 {
		d := archsimd.LoadFloat32x8Slice(dp[i:]).Sub(archsimd.LoadFloat32x8Slice(delta[i:]))
		archsimd.LoadFloat32x8Slice(p[i:]).Mul(d).Mul(f).StoreSlice(dst[i:])
	}
	if i < len(p) {
		d := archsimd.LoadFloat32x8SlicePart(dp[i:]).Sub(archsimd.LoadFloat32x8SlicePart(delta[i:]))
		archsimd.LoadFloat32x8SlicePart(p[i:]).Mul(d).Mul(f).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func softCapBack256(d, y []float32, limit float32) {
	y = y[:len(d)]
	one, whole := archsimd.BroadcastFloat32x8(1), archsimd.BroadcastFloat32x8(limit)
	i := 0
	for ; i+lanes256 <= len(d); i += lanes256 {
		t := archsimd.LoadFloat32x8Slice(y[i:]).Div(whole)
		archsimd.LoadFloat32x8Slice(d[i:]).Mul(one.Sub(t.Mul(t))).StoreSlice(d[i:])
	}
	if i < len(d) {
		t := archsimd.LoadFloat32x8SlicePart(y[i:]).Div(whole)
		archsimd.LoadFloat32x8SlicePart(d[i:]).Mul(one.Sub(t.Mul(t))).StoreSlicePart(d[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// adamW256 rounds as adamW does: nothing is fused.
func adamW256(p, g, m, v []float32, s *adamStep) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	c := newAdam256(s)
	i := 0
	for ; i+lanes256 <= len(p); i += lanes256 {
		x, first, second := c.step(archsimd.LoadFloat32x8Slice(p[i:]), archsimd.LoadFloat32x8Slice(g[i:]), archsimd.LoadFloat32x8Slice(m[i:]), archsimd.LoadFloat32x8Slice(v[i:]))
		x.StoreSlice(p[i:])
		first.StoreSlice(m[i:])
		second.StoreSlice(v[i:])
	}
	if i < len(p) {
		x, first, second := c.step(archsimd.LoadFloat32x8SlicePart(p[i:]), archsimd.LoadFloat32x8SlicePart(g[i:]), archsimd.LoadFloat32x8SlicePart(m[i:]), archsimd.LoadFloat32x8SlicePart(v[i:]))
		x.StoreSlicePart(p[i:])
		first.StoreSlicePart(m[i:])
		second.StoreSlicePart(v[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// adam256 is an adamStep in vectors.
type adam256 struct{ gradScale, decay, beta1, rest1, beta2, rest2, root2, eps, rate vec256 }

func newAdam256(s *adamStep) *adam256 {
	all := archsimd.BroadcastFloat32x8
	return &adam256{all(s.gradScale), all(s.decay), all(s.beta1), all(s.rest1), all(s.beta2), all(s.rest2), all(s.root2), all(s.eps), all(s.rate)}
}

func (c *adam256) step(p, g, m, v vec256) (x, first, second vec256) {
	g = g.Mul(c.gradScale)
	first = m.Mul(c.beta1).Add(g.Mul(c.rest1))
	second = v.Mul(c.beta2).Add(g.Mul(g).Mul(c.rest2))
	return p.Mul(c.decay).Sub(first.Div(second.Sqrt().Div(c.root2).Add(c.eps)).Mul(c.rate)), first, second
}
