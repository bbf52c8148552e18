package cpu

// normal is a norm of whole rows as a model has it: by the root mean square or,
// centred, LayerNorm (Ba et al. 2016), which takes the mean off before that and
// may add a bias. Without a weight it leaves rows as they are.
type normal struct {
	weight, bias []float32
	centred      bool
	eps          float64
}

// first is the norm of what attention takes, second of what the feed-forward does.
func (l *layer) first() normal {
	return normal{l.attnNorm, l.attnNormBias, l.s.LayerNorm, l.s.NormEps}
}

func (l *layer) second() normal {
	if l.s.Parallel {
		return l.first()
	}
	return normal{l.mlpNorm, l.mlpNormBias, l.s.LayerNorm, l.s.NormEps}
}

// last is the norm before the projection.
func (h *head) last() normal { return normal{h.norm, h.normBias, h.s.LayerNorm, h.s.NormEps} }

// normalise writes the norm of a row. dst may be x.
func (k *kernels) normalise(dst, x []float32, n normal) {
	switch {
	case n.weight == nil:
		copy(dst, x)
	case n.centred:
		k.centre(dst, x)
		k.rmsNorm(dst, dst, n.weight, n.eps)
		k.addBias(dst, n.bias)
	default:
		k.rmsNorm(dst, x, n.weight, n.eps)
	}
}

// normaliseBack is its partner: dL/dx of dy = dL/dy, and the gradients of weight
// and bias added to dw and db, if those are not nil. dst may be dy; tmp is
// memory for a row. Taking the mean off is its own transpose.
func (k *kernels) normaliseBack(dst, dy, x []float32, n normal, dw, db, tmp []float32) {
	if n.weight == nil {
		copy(dst, dy)
		return
	}
	if db != nil {
		k.add(db, db, dy)
	}
	if n.centred {
		k.centre(tmp, x)
		x = tmp
	}
	k.rmsNormBack(dst, dy, x, n.weight, dw, n.eps)
	if n.centred {
		k.centre(dst, dst)
	}
}

// scaleBy multiplies by a factor that mostly is 1.
func (k *kernels) scaleBy(xs []float32, f float64) {
	if f != 1 {
		k.scale(xs, float32(f))
	}
}

// centre takes the mean off.
func (k *kernels) centre(dst, x []float32) { k.minus(dst, x, k.mean(x)) }

// mean of a row, added up in float64.
func (k *kernels) mean(x []float32) float32 { return float32(k.sum(x) / float64(len(x))) }

func sum(x []float32) float64 {
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		s0, s1, s2, s3 = s0+float64(x[i]), s1+float64(x[i+1]), s2+float64(x[i+2]), s3+float64(x[i+3])
	}
	for ; i < len(x); i++ {
		s0 += float64(x[i])
	}
	return s0 + s1 + s2 + s3
}

func minus(dst, x []float32, m float32) {
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] = v - m
	}
}

func gateReLU(dst, g, up []float32, squared bool) {
	for i, x := range g {
		x = max(x, 0)
		if squared {
			x = float32(x * x)
		}
		dst[i] = x * up[i]
	}
}

func gateReLUBack(out, dg, du, d, g, up []float32, squared bool) {
	for i, dy := range d {
		x, slope := max(g[i], 0), float32(0)
		if x > 0 {
			slope = 1
		}
		if squared {
			x, slope = float32(x*x), 2*x
		}
		out[i] = x * up[i]
		dg[i] = float32(dy*up[i]) * slope
		du[i] = dy * x
	}
}
