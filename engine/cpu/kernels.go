package cpu

import "math"

// exp32 is e^x in float32 within 2 units in the last place, 0 below -87.3 and
// +Inf above 88.7. Range reduction and polynomial as in Cephes' expf.
func exp32(x float32) float32 {
	if !(x > -87.33654) {
		if x != x {
			return x
		}
		return 0
	}
	if x > 88.72283 {
		return float32(math.Inf(1))
	}
	const magic = 12582912 // 1.5 * 2^23: adding it rounds to an integer
	n := float32(x*1.44269504088896341) + magic
	bits := math.Float32bits(n)
	n -= magic
	r := x - float32(n*0.693359375)
	r -= float32(n * -2.12194440e-4)
	p := float32(1.9875691500e-4)
	p = float32(p*r) + 1.3981999507e-3
	p = float32(p*r) + 8.3334519073e-3
	p = float32(p*r) + 4.1665795894e-2
	p = float32(p*r) + 1.6666665459e-1
	p = float32(p*r) + 5.0000001201e-1
	p = float32(p*float32(r*r)) + r + 1
	// 2^n in two factors, so that neither leaves the normal range
	k := int32(bits) - 0x4b400000
	h := k / 2
	return p * math.Float32frombits(uint32(h+127)<<23) * math.Float32frombits(uint32(k-h+127)<<23)
}

// rmsNorm: dst = x / sqrt(mean(x²) + eps) * weight, one row [D], the mean in
// float64. dst may be x. (Zhang & Sennrich 2019, eq. 4.)
func rmsNorm(dst, x, weight []float32, eps float64) {
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
	scale := float32(1 / math.Sqrt((s0+s1+s2+s3)/float64(len(x))+eps))
	dst, weight = dst[:len(x)], weight[:len(x)]
	for i, v := range x {
		dst[i] = weight[i] * (v * scale)
	}
}

// siluMul: dst = silu(gate) * up, elementwise; dst may be gate.
func siluMul(dst, gate, up []float32) {
	dst, up = dst[:len(gate)], up[:len(gate)]
	for i, g := range gate {
		dst[i] = g / (1 + exp32(-g)) * up[i]
	}
}

// add: dst = a + b, elementwise; dst may be a.
func add(dst, a, b []float32) {
	dst, b = dst[:len(a)], b[:len(a)]
	for i, v := range a {
		dst[i] = v + b[i]
	}
}

// addRows adds a bias [width] to every row of x; a nil bias adds nothing.
func addRows(x, bias []float32) {
	if bias == nil {
		return
	}
	for len(x) > 0 {
		add(x[:len(bias)], x[:len(bias)], bias)
		x = x[len(bias):]
	}
}

// rotate applies rotary embeddings in place to one head: pairs (j, j+d/2) of
// its first d = 2 len(cos) columns. (Su et al. 2021, in transformers' half-split layout.)
func rotate(head, cos, sin []float32) {
	n := len(cos)
	a, b := head[:n], head[n:2*n]
	sin = sin[:n]
	for j, c := range cos {
		x, y, s := a[j], b[j], sin[j]
		a[j] = float32(x*c) - float32(y*s)
		b[j] = float32(y*c) + float32(x*s)
	}
}
