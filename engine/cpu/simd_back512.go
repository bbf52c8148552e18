//go:build goexperiment.simd && amd64

package cpu

import "simd/archsimd"

// The AVX-512 kernels of the backward pass; simd_back256.go is their AVX2 twin
// (see simd512.go).

func backKernels512() backKernels {
	return backKernels{
		dot: dot512, dot3: dot3x512, normBack: normBack512, addProduct: addProduct512, gateBack: gateBack512, gateReLUBack: gateReLUBack512,
		expLess: expLess512, softmaxBack: softmaxBack512, softCapBack: softCapBack512, mask: mask, adamW: adamW512,
	}
}

func dot512(a, b []float32) float64 {
	b = b[:len(a)]
	var parts [lanes512 / 2]float64
	var s0, s1 archsimd.Float64x8
	for len(a) > 0 {
		x, y := archsimd.LoadFloat32x16SlicePart(a), archsimd.LoadFloat32x16SlicePart(b)
		s0 = x.GetLo().ConvertToFloat64().MulAdd(y.GetLo().ConvertToFloat64(), s0)
		s1 = x.GetHi().ConvertToFloat64().MulAdd(y.GetHi().ConvertToFloat64(), s1)
		n := min(lanes512, len(a))
		a, b = a[n:], b[n:]
	}
	return total512(s0.Add(s1), &parts)
}

func dot3x512(a, b, c []float32) float64 {
	b, c = b[:len(a)], c[:len(a)]
	var parts [lanes512 / 2]float64
	var s0, s1 archsimd.Float64x8
	for len(a) > 0 {
		x, y, z := archsimd.LoadFloat32x16SlicePart(a), archsimd.LoadFloat32x16SlicePart(b), archsimd.LoadFloat32x16SlicePart(c)
		s0 = x.GetLo().ConvertToFloat64().Mul(y.GetLo().ConvertToFloat64()).MulAdd(z.GetLo().ConvertToFloat64(), s0)
		s1 = x.GetHi().ConvertToFloat64().Mul(y.GetHi().ConvertToFloat64()).MulAdd(z.GetHi().ConvertToFloat64(), s1)
		n := min(lanes512, len(a))
		a, b, c = a[n:], b[n:], c[n:]
	}
	return total512(s0.Add(s1), &parts)
}

func normBack512(dst, dy, weight, x []float32, scale, shrink float32) {
	f, g := archsimd.BroadcastFloat32x16(scale), archsimd.BroadcastFloat32x16(shrink)
	dst, weight, x = dst[:len(dy)], weight[:len(dy)], x[:len(dy)]
	i := 0
	for ; i+lanes512 <= len(dy); i += lanes512 {
		d := archsimd.LoadFloat32x16Slice(dy[i:]).Mul(archsimd.LoadFloat32x16Slice(weight[i:])).Mul(f)
		d.Sub(archsimd.LoadFloat32x16Slice(x[i:]).Mul(g)).StoreSlice(dst[i:])
	}
	if i < len(dy) {
		d := archsimd.LoadFloat32x16SlicePart(dy[i:]).Mul(archsimd.LoadFloat32x16SlicePart(weight[i:])).Mul(f)
		d.Sub(archsimd.LoadFloat32x16SlicePart(x[i:]).Mul(g)).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func addProduct512(acc, a, b []float32, f float32) {
	factor := archsimd.BroadcastFloat32x16(f)
	acc, b = acc[:len(a)], b[:len(a)]
	i := 0
	for ; i+lanes512 <= len(a); i += lanes512 {
		p := archsimd.LoadFloat32x16Slice(a[i:]).Mul(archsimd.LoadFloat32x16Slice(b[i:])).Mul(factor)
		archsimd.LoadFloat32x16Slice(acc[i:]).Add(p).StoreSlice(acc[i:])
	}
	if i < len(a) {
		p := archsimd.LoadFloat32x16SlicePart(a[i:]).Mul(archsimd.LoadFloat32x16SlicePart(b[i:])).Mul(factor)
		archsimd.LoadFloat32x16SlicePart(acc[i:]).Add(p).StoreSlicePart(acc[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func gateBack512(out, dg, du, d, g, up []float32, linear, cubic float32) {
	n := len(d)
	out, dg, du, g, up = out[:n], dg[:n], du[:n], g[:n], up[:n]
	c := gateCoefficients512{archsimd.BroadcastFloat32x16(linear), archsimd.BroadcastFloat32x16(cubic), archsimd.BroadcastFloat32x16(3 * cubic), archsimd.BroadcastFloat32x16(1)}
	i := 0
	for ; i+lanes512 <= n; i += lanes512 {
		dy, x, u := archsimd.LoadFloat32x16Slice(d[i:]), archsimd.LoadFloat32x16Slice(g[i:]), archsimd.LoadFloat32x16Slice(up[i:])
		gated, slope := c.gate(x)
		gated.Mul(u).StoreSlice(out[i:])
		dy.Mul(u).Mul(slope).StoreSlice(dg[i:])
		dy.Mul(gated).StoreSlice(du[i:])
	}
	if i < n {
		dy, x, u := archsimd.LoadFloat32x16SlicePart(d[i:]), archsimd.LoadFloat32x16SlicePart(g[i:]), archsimd.LoadFloat32x16SlicePart(up[i:])
		gated, slope := c.gate(x)
		gated.Mul(u).StoreSlicePart(out[i:])
		dy.Mul(u).Mul(slope).StoreSlicePart(dg[i:])
		dy.Mul(gated).StoreSlicePart(du[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// gateCoefficients512 are linear, cubic, 3 cubic and one.
type gateCoefficients512 struct{ linear, cubic, slope, one vec512 }

// gate is x sigmoid(z), z = x (linear + cubic x²), and its slope.
func (c *gateCoefficients512) gate(x vec512) (gated, slope vec512) {
	var zero vec512
	z := c.cubic.Mul(x).MulAdd(x, c.linear).Mul(x)
	low := zero.Sub(z).Min(archsimd.BroadcastFloat32x16(88))
	s := c.one.Div(exp512(low).Add(c.one))
	gated = x.Mul(s)
	return gated, gated.Mul(c.one.Sub(s)).Mul(c.slope.Mul(x).MulAdd(x, c.linear)).Add(s)
}

func gateReLUBack512(out, dg, du, d, g, up []float32, squared bool) {
	n := len(d)
	out, dg, du, g, up = out[:n], dg[:n], du[:n], g[:n], up[:n]
	i := 0
	for ; i+lanes512 <= n; i += lanes512 {
		dy, x, u := archsimd.LoadFloat32x16Slice(d[i:]), archsimd.LoadFloat32x16Slice(g[i:]), archsimd.LoadFloat32x16Slice(up[i:])
		y := relu512(x, squared)
		y.Mul(u).StoreSlice(out[i:])
		dy.Mul(u).Mul(reluSlope512(x, squared)).StoreSlice(dg[i:])
		dy.Mul(y).StoreSlice(du[i:])
	}
	if i < n {
		dy, x, u := archsimd.LoadFloat32x16SlicePart(d[i:]), archsimd.LoadFloat32x16SlicePart(g[i:]), archsimd.LoadFloat32x16SlicePart(up[i:])
		y := relu512(x, squared)
		y.Mul(u).StoreSlicePart(out[i:])
		dy.Mul(u).Mul(reluSlope512(x, squared)).StoreSlicePart(dg[i:])
		dy.Mul(y).StoreSlicePart(du[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// reluSlope512 is the slope of what relu512 is: 0 or 1, or 2 max(x, 0).
func reluSlope512(x vec512, squared bool) vec512 {
	var zero vec512
	if squared {
		x = relu512(x, false)
		return x.Add(x)
	}
	return archsimd.BroadcastFloat32x16(1).Merge(zero, x.Greater(zero))
}

func expLess512(dst, src, less []float32, scale float32) {
	dst, less = dst[:len(src)], less[:len(src)]
	f, most := archsimd.BroadcastFloat32x16(scale), archsimd.BroadcastFloat32x16(88)
	i := 0
	for ; i+lanes512 <= len(src); i += lanes512 {
		x := archsimd.LoadFloat32x16Slice(src[i:]).Mul(f).Sub(archsimd.LoadFloat32x16Slice(less[i:]))
		exp512(x.Min(most)).StoreSlice(dst[i:])
	}
	if i < len(src) {
		x := archsimd.LoadFloat32x16SlicePart(src[i:]).Mul(f).Sub(archsimd.LoadFloat32x16SlicePart(less[i:]))
		exp512(x.Min(most)).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func softmaxBack512(dst, p, dp, delta []float32, scale float32) {
	dst, dp, delta = dst[:len(p)], dp[:len(p)], delta[:len(p)]
	f := archsimd.BroadcastFloat32x16(scale)
	i := 0
	for ; i+lanes512 <= len(p); i += lanes512 {
		d := archsimd.LoadFloat32x16Slice(dp[i:]).Sub(archsimd.LoadFloat32x16Slice(delta[i:]))
		archsimd.LoadFloat32x16Slice(p[i:]).Mul(d).Mul(f).StoreSlice(dst[i:])
	}
	if i < len(p) {
		d := archsimd.LoadFloat32x16SlicePart(dp[i:]).Sub(archsimd.LoadFloat32x16SlicePart(delta[i:]))
		archsimd.LoadFloat32x16SlicePart(p[i:]).Mul(d).Mul(f).StoreSlicePart(dst[i:])
	}
	archsimd.ClearAVXUpperBits()
}

func softCapBack512(d, y []float32, limit float32) {
	y = y[:len(d)]
	one, whole := archsimd.BroadcastFloat32x16(1), archsimd.BroadcastFloat32x16(limit)
	i := 0
	for ; i+lanes512 <= len(d); i += lanes512 {
		t := archsimd.LoadFloat32x16Slice(y[i:]).Div(whole)
		archsimd.LoadFloat32x16Slice(d[i:]).Mul(one.Sub(t.Mul(t))).StoreSlice(d[i:])
	}
	if i < len(d) {
		t := archsimd.LoadFloat32x16SlicePart(y[i:]).Div(whole)
		archsimd.LoadFloat32x16SlicePart(d[i:]).Mul(one.Sub(t.Mul(t))).StoreSlicePart(d[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// adamW512 rounds as adamW does: nothing is fused.
func adamW512(p, g, m, v []float32, s *adamStep) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	c := newAdam512(s)
	i := 0
	for ; i+lanes512 <= len(p); i += lanes512 {
		x, first, second := c.step(archsimd.LoadFloat32x16Slice(p[i:]), archsimd.LoadFloat32x16Slice(g[i:]), archsimd.LoadFloat32x16Slice(m[i:]), archsimd.LoadFloat32x16Slice(v[i:]))
		x.StoreSlice(p[i:])
		first.StoreSlice(m[i:])
		second.StoreSlice(v[i:])
	}
	if i < len(p) {
		x, first, second := c.step(archsimd.LoadFloat32x16SlicePart(p[i:]), archsimd.LoadFloat32x16SlicePart(g[i:]), archsimd.LoadFloat32x16SlicePart(m[i:]), archsimd.LoadFloat32x16SlicePart(v[i:]))
		x.StoreSlicePart(p[i:])
		first.StoreSlicePart(m[i:])
		second.StoreSlicePart(v[i:])
	}
	archsimd.ClearAVXUpperBits()
}

// adam512 is an adamStep in vectors.
type adam512 struct{ gradScale, decay, beta1, rest1, beta2, rest2, root2, eps, rate vec512 }

func newAdam512(s *adamStep) *adam512 {
	all := archsimd.BroadcastFloat32x16
	return &adam512{all(s.gradScale), all(s.decay), all(s.beta1), all(s.rest1), all(s.beta2), all(s.rest2), all(s.root2), all(s.eps), all(s.rate)}
}

func (c *adam512) step(p, g, m, v vec512) (x, first, second vec512) {
	g = g.Mul(c.gradScale)
	first = m.Mul(c.beta1).Add(g.Mul(c.rest1))
	second = v.Mul(c.beta2).Add(g.Mul(g).Mul(c.rest2))
	return p.Mul(c.decay).Sub(first.Div(second.Sqrt().Div(c.root2).Add(c.eps)).Mul(c.rate)), first, second
}
