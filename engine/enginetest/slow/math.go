package slow

import (
	"math"

	"github.com/coppice-ml/coppice/model"
)

// norm is RMSNorm of every row of x [n, len(w)]; without weights, x.
func (l *layer) norm(w *vector, x []float64) []float64 { return rmsNorm(w, x, l.s.NormEps) }

// headNorm is the norm of every head of every row.
func (l *layer) headNorm(w *vector, x []float64) []float64 { return l.norm(w, x) }

// normal is a norm of the residual stream: by the root mean square or, centred,
// with the mean taken off before and perhaps a bias.
type normal struct {
	weight, bias *vector
	centred      bool
	eps          float64
}

func (l *layer) first() normal  { return normal{l.attnNorm, l.attnNormBias, l.s.LayerNorm, l.s.NormEps} }
func (l *layer) second() normal { return normal{l.mlpNorm, l.mlpNormBias, l.s.LayerNorm, l.s.NormEps} }
func (h *head) last() normal    { return normal{h.norm, h.normBias, h.s.LayerNorm, h.s.NormEps} }

func (n normal) apply(x []float64) []float64 {
	out := rmsNorm(n.weight, n.centre(x), n.eps)
	if n.bias != nil {
		bias := n.bias.values()
		for i := range out {
			out[i] += bias[i%len(bias)]
		}
	}
	return out
}

// back adds to the gradients and returns dL/dx.
func (n normal) back(x, dy []float64) []float64 {
	if n.bias != nil {
		for i, d := range dy {
			n.bias.add(i%n.bias.len, d)
		}
	}
	return n.centre(backNorm(n.weight, n.centre(x), dy, n.eps))
}

// centre takes the mean off every row.
func (n normal) centre(x []float64) []float64 {
	if !n.centred {
		return x
	}
	d, out := n.weight.len, make([]float64, len(x))
	for i := 0; i < len(x); i += d {
		var mean float64
		for _, v := range x[i : i+d] {
			mean += v / float64(d)
		}
		for j, v := range x[i : i+d] {
			out[i+j] = v - mean
		}
	}
	return out
}

func rmsNorm(w *vector, x []float64, eps float64) []float64 {
	if w == nil {
		return x
	}
	d, weights, out := w.len, w.values(), make([]float64, len(x))
	for i := 0; i < len(x); i += d {
		inverse := inverseRMS(x[i:i+d], eps)
		for j, v := range x[i : i+d] {
			out[i+j] = weights[j] * v * inverse
		}
	}
	return out
}

func inverseRMS(x []float64, eps float64) float64 {
	return 1 / math.Sqrt(dot(x, x)/float64(len(x))+eps)
}

// backNorm adds to the gradient of the weights for y = norm(x) and returns dL/dx:
// with r = 1/rms and g = w dy, r g - x r³ mean(x g).
func backNorm(w *vector, x, dy []float64, eps float64) []float64 {
	if w == nil {
		return dy
	}
	d, weights, dx := w.len, w.values(), make([]float64, len(x))
	for i := 0; i < len(x); i += d {
		row, inverse := x[i:i+d], inverseRMS(x[i:i+d], eps)
		var mean float64
		for j, v := range row {
			mean += v * weights[j] * dy[i+j] / float64(d)
			w.add(j, dy[i+j]*v*inverse)
		}
		for j, v := range row {
			dx[i+j] = inverse*weights[j]*dy[i+j] - v*inverse*inverse*inverse*mean
		}
	}
	return dx
}

// rotate turns the pairs of every head's first columns by the angles of its row's
// position, or, with a negative sign, back.
func (l *layer) rotate(x []float64, c *call, rows []int, heads int, sign float64) []float64 {
	out := append([]float64(nil), x...)
	width := l.s.HeadDim
	if l.rope.Dim == 0 {
		return out
	}
	for i, r := range rows {
		position := c.batch.Positions[r]
		cos, sin := l.e.rotaries.Reach(l.rope, c.choices[c.segment(r)], position).At(position)
		for h := range heads {
			head := out[(i*heads+h)*width:][:width]
			for j := range l.rope.Dim / 2 {
				first, second, at := j, j+l.rope.Dim/2, j
				if l.rope.Interleaved {
					first, second, at = 2*j, 2*j+1, 2*j+1
				}
				co, si := float64(cos[at]), sign*float64(sin[at])
				a, b := head[first], head[second]
				head[first], head[second] = a*co-b*si, b*co+a*si
			}
		}
	}
	return out
}

// activate is the activation of x and its derivative.
func activate(a model.Activation, x float64) (y, slope float64) {
	switch a {
	case model.GELU:
		phi := (1 + math.Erf(x/math.Sqrt2)) / 2
		return x * phi, phi + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case model.GELUTanh:
		c := math.Sqrt(2 / math.Pi)
		t := math.Tanh(c * (x + 0.044715*x*x*x))
		return x * (1 + t) / 2, (1+t)/2 + x*(1-t*t)/2*c*(1+3*0.044715*x*x)
	case model.ReLU:
		if x > 0 {
			return x, 1
		}
		return 0, 0
	case model.ReLU2:
		x = math.Max(x, 0)
		return x * x, 2 * x
	default:
		s := 1 / (1 + math.Exp(-x))
		return x * s, s * (1 + x*(1-s))
	}
}

// capped is c tanh(x/c) and its derivative; without a cap, x.
func capped(x, c float64) (y, slope float64) {
	if c == 0 {
		return x, 1
	}
	t := math.Tanh(x / c)
	return c * t, 1 - t*t
}

// softmax turns logits into probabilities in place and returns log sum exp.
func softmax(x []float64) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		if v > top || math.IsNaN(v) {
			top = v
		}
	}
	var total float64
	for i, v := range x {
		x[i] = math.Exp(v - top)
		total += x[i]
	}
	for i := range x {
		x[i] /= total
	}
	return top + math.Log(total)
}
