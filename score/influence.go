package score

import (
	"context"
	"math"
	"runtime"
)

// moments are the sums over D that every metric of hidden states is made of,
// for one token: input x, output y. Kept in float64.
type moments struct {
	xx, xy, yy float64 // <x,x>, <x,y>, <y,y>
	dd         float64 // <y-x,y-x>
}

// flow gathers one layer's scores, token by token in the order of the
// sequences, so that how they were packed into batches changes no bit.
type flow struct {
	tokens   int64
	bi       float64 // sum over tokens of 1 - cos
	relative float64 // sum over tokens of |y-x| / |y|
	whole    moments // sums over all tokens; dd is not used
}

// influence scores bi, bi-global and relative from the states around each layer.
//
//	bi        1 - mean_t cos(X_i,t , X_i+1,t)                 ShortGPT
//	bi-global 1 - <X_i, X_i+1> / (|X_i| |X_i+1|), flattened   the paper's code
//	relative  mean_t |X_i+1,t - X_i,t| / |X_i+1,t|
//
// A token whose input or output is the zero vector (the embedding of a padding
// token can be) counts as cos = 0.
type influence struct {
	layers   []int  // of the list that is run
	flows    []flow // by original index
	perToken []moments
}

func newInfluence(p *Priced) (*influence, error) {
	return &influence{layers: p.layers, flows: make([]flow, p.m.Spec.Layers)}, nil
}

// see implements probe.
func (f *influence) see(ctx context.Context, s *states) error {
	in, err := s.in(ctx)
	if err != nil {
		return err
	}
	out, err := s.out(ctx)
	if err != nil {
		return err
	}
	f.perToken = tokenMoments(f.perToken[:0], in, out, s.Batch.Len())
	for t, m := range f.perToken {
		if !finite(m.xx) {
			return s.NotFinite(t, true)
		}
		if !finite(m.yy) {
			return s.NotFinite(t, false)
		}
		f.flows[s.Layer].add(m)
	}
	return nil
}

// holds implements probe: sums are next to nothing.
func (f *influence) holds(int) (one, across int64) { return 0, 0 }

// bi, biGlobal and relative are scores [L], NaN for layers that were not run.
func (f *influence) bi() []float64 {
	return f.each(func(s *flow) float64 { return s.bi / float64(s.tokens) })
}

func (f *influence) biGlobal() []float64 {
	global := f.each(func(s *flow) float64 { return 1 - s.whole.cos() })
	global[f.layers[len(f.layers)-1]] = math.NaN() // the paper's code never scores it
	return global
}

func (f *influence) relative() []float64 {
	return f.each(func(s *flow) float64 { return s.relative / float64(s.tokens) })
}

func (f *influence) each(score func(*flow) float64) []float64 {
	scores := make([]float64, len(f.flows))
	for i := range scores {
		scores[i] = math.NaN()
	}
	for _, l := range f.layers {
		scores[l] = score(&f.flows[l])
	}
	return scores
}

func (f *flow) add(m moments) {
	f.tokens++
	f.bi += 1 - m.cos()
	f.relative += m.relative()
	f.whole.xx += m.xx
	f.whole.xy += m.xy
	f.whole.yy += m.yy
}

func (m moments) cos() float64 {
	if m.xx == 0 || m.yy == 0 {
		return 0
	}
	return m.xy / (math.Sqrt(m.xx) * math.Sqrt(m.yy))
}

// relative is |y-x| / |y|. Where y is zero and x is not, it is 1, as if
// measured against x: the layer wiped out everything there was.
func (m moments) relative() float64 {
	switch {
	case m.dd == 0:
		return 0
	case m.yy == 0:
		return 1
	}
	return math.Sqrt(m.dd) / math.Sqrt(m.yy)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// tokenMoments appends the moments of each of n tokens to dst: of x and y [n, D].
// Tokens are independent, so they are split over the CPUs.
func tokenMoments(dst []moments, x, y []float32, n int) []moments {
	d := len(x) / n
	dst = append(dst, make([]moments, n)...)
	const least = 1 << 16 // elements that make a goroutine worth it
	workers := max(1, min(runtime.GOMAXPROCS(0), n*d/least))
	parallel(workers, func(w int) {
		for t := n * w / workers; t < n*(w+1)/workers; t++ {
			dst[t] = momentsOf(x[t*d:(t+1)*d], y[t*d:(t+1)*d])
		}
	})
	return dst
}

// momentsOf sums over one token's x and y [D], even and odd columns apart (two
// chains of additions keep the CPU busy), the halves added at the end.
func momentsOf(x, y []float32) moments {
	var xx0, xy0, yy0, dd0, xx1, xy1, yy1, dd1 float64 // apart, so that they stay in registers
	for ; len(x) >= 2 && len(y) >= 2; x, y = x[2:], y[2:] {
		a0, b0 := float64(x[0]), float64(y[0])
		a1, b1 := float64(x[1]), float64(y[1])
		xx0 += a0 * a0
		xy0 += a0 * b0
		yy0 += b0 * b0
		dd0 += (b0 - a0) * (b0 - a0)
		xx1 += a1 * a1
		xy1 += a1 * b1
		yy1 += b1 * b1
		dd1 += (b1 - a1) * (b1 - a1)
	}
	if len(x) > 0 {
		a, b := float64(x[0]), float64(y[0])
		xx0 += a * a
		xy0 += a * b
		yy0 += b * b
		dd0 += (b - a) * (b - a)
	}
	return moments{xx: xx0 + xx1, xy: xy0 + xy1, yy: yy0 + yy1, dd: dd0 + dd1}
}
