package cpu

import "math"

// backKernels are the partners of kernels in a backward pass, and what an
// optimiser does to every value. Destinations may be sources.
type backKernels struct {
	// dot is the sum of a b, dot3 that of a b c, in float64.
	dot  func(a, b []float32) float64
	dot3 func(a, b, c []float32) float64
	// normBack: dst = scale * (weight * dy) - x * shrink.
	normBack func(dst, dy, weight, x []float32, scale, shrink float32)
	// addProduct: acc += a * b * f.
	addProduct func(acc, a, b []float32, f float32)
	// gateBack is the partner of gate: of d, the gradient of its output, it makes
	// those of g and up, and the output itself.
	gateBack func(out, dg, du, d, g, up []float32, linear, cubic float32)
	// gateReLUBack is that of gateReLU.
	gateReLUBack func(out, dg, du, d, g, up []float32, squared bool)
	// expLess: dst = exp(src * scale - less), value by value, the exponent being 88
	// at most.
	expLess func(dst, src, less []float32, scale float32)
	// softmaxBack: dst = p * (dp - delta) * scale.
	softmaxBack func(dst, p, dp, delta []float32, scale float32)
	// softCapBack multiplies d by the soft cap's slope where its output is y:
	// 1 - (y / limit)².
	softCapBack func(d, y []float32, limit float32)
	// mask is engine.Dropout's: a value is 0 where 24 bits of what the counter gives
	// are below limit, else stays.
	mask func(keep []float32, counter uint64, limit, stays float32)
	// adamW is one update of a run of parameters; see engine.AdamW.
	adamW func(p, g, m, v []float32, s *adamStep)
}

func scalarBackKernels() backKernels {
	return backKernels{
		dot: dot, dot3: dot3, normBack: normBack, addProduct: addProduct, gateBack: gateBack, gateReLUBack: gateReLUBack,
		expLess: expLess, softmaxBack: softmaxBack, softCapBack: softCapBack, mask: mask, adamW: adamW,
	}
}

func dot(a, b []float32) (sum float64) {
	b = b[:len(a)]
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

func dot3(a, b, c []float32) (sum float64) {
	b, c = b[:len(a)], c[:len(a)]
	for i, x := range a {
		sum += float64(x) * float64(b[i]) * float64(c[i])
	}
	return sum
}

func normBack(dst, dy, weight, x []float32, scale, shrink float32) {
	dst, weight, x = dst[:len(dy)], weight[:len(dy)], x[:len(dy)]
	for i, d := range dy {
		dst[i] = float32(scale*(weight[i]*d)) - float32(x[i]*shrink)
	}
}

// rmsNormBack is the partner of rmsNorm: with r = 1 / sqrt(mean(x²) + eps) and
// y = x r w,
//
//	dL/dx = r (w dy) - x r³ sum(w dy x) / D
//
// dL/dw is added to dw, if that is not nil. dst may be dy or x.
func (k *kernels) rmsNormBack(dst, dy, x, weight, dw []float32, eps float64) {
	n := float64(len(x))
	r := 1 / math.Sqrt(k.sumSquares(x)/n+eps)
	if dw != nil {
		k.addProduct(dw, dy, x, float32(r))
	}
	k.normBack(dst, dy, weight, x, float32(r), float32(r*r*r*k.dot3(dy, weight, x)/n))
}

func addProduct(acc, a, b []float32, f float32) {
	acc, b = acc[:len(a)], b[:len(a)]
	for i, x := range a {
		acc[i] += float32(x * b[i] * f)
	}
}

// gateBack: with z = g (linear + cubic g²) and s = sigmoid(z), the output is
// g s up and the slope of g s is s + g s (1 - s) (linear + 3 cubic g²).
func gateBack(out, dg, du, d, g, up []float32, linear, cubic float32) {
	n := len(d)
	out, dg, du, g, up = out[:n], dg[:n], du[:n], g[:n], up[:n]
	for i, dy := range d {
		x, u := g[i], up[i]
		s := 1 / (1 + exp32(-x*(linear+float32(float32(cubic*x)*x))))
		gated := float32(x * s)
		slope := s + float32(gated*(1-s))*(linear+float32(float32(3*cubic*x)*x))
		out[i] = gated * u
		dg[i] = float32(dy*u) * slope
		du[i] = dy * gated
	}
}

// gateErfBack is the partner of gateErf: the slope of g Phi(g) is Phi(g) + g phi(g).
func gateErfBack(out, dg, du, d, g, up []float32) {
	for i, dy := range d {
		x, u := float64(g[i]), float64(up[i])
		phi := 0.5 * math.Erfc(-x/math.Sqrt2)
		slope := phi + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
		out[i] = float32(x * phi * u)
		dg[i] = float32(float64(dy) * u * slope)
		du[i] = float32(float64(dy) * x * phi)
	}
}

func expLess(dst, src, less []float32, scale float32) {
	dst, less = dst[:len(src)], less[:len(src)]
	for i, x := range src {
		dst[i] = exp32(min(float32(x*scale)-less[i], 88))
	}
}

func softmaxBack(dst, p, dp, delta []float32, scale float32) {
	dst, dp, delta = dst[:len(p)], dp[:len(p)], delta[:len(p)]
	for i, x := range p {
		dst[i] = x * (dp[i] - delta[i]) * scale
	}
}

func softCapBack(d, y []float32, limit float32) {
	y = y[:len(d)]
	for i := range d {
		t := y[i] / limit
		d[i] *= 1 - float32(t*t)
	}
}

// mask is SplitMix64, as engine.Dropout defines it.
func mask(keep []float32, counter uint64, limit, stays float32) {
	below := uint64(limit)
	for j := range keep {
		counter += splitGolden
		x := counter
		x = (x ^ x>>30) * splitFirst
		x = (x ^ x>>27) * splitSecond
		keep[j] = 0
		if (x^x>>31)>>40 >= below {
			keep[j] = stays
		}
	}
}

// Constants of SplitMix64 (Steele, Lea and Flood 2014).
const (
	splitGolden = 0x9e3779b97f4a7c15
	splitFirst  = 0xbf58476d1ce4e5b9
	splitSecond = 0x94d049bb133111eb
)

// adamStep is an engine.AdamW as the kernel needs it, rounded as torch rounds
// scalars that meet float32 tensors.
type adamStep struct {
	gradScale, decay           float32 // decay: 1 - LR WeightDecay
	beta1, rest1, beta2, rest2 float32 // rest: 1 - beta
	root2, eps, rate           float32 // root2: sqrt(1 - beta2^t); rate: LR / (1 - beta1^t)
}

func adamW(p, g, m, v []float32, s *adamStep) {
	g, m, v = g[:len(p)], m[:len(p)], v[:len(p)]
	for i := range p {
		x := g[i] * s.gradScale
		m[i] = float32(m[i]*s.beta1) + float32(x*s.rest1)
		v[i] = float32(v[i]*s.beta2) + float32(float32(x*x)*s.rest2)
		root := float32(math.Sqrt(float64(v[i])))/s.root2 + s.eps
		p[i] = float32(p[i]*s.decay) - float32(s.rate*(m[i]/root))
	}
}
