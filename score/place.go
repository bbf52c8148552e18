package score

import (
	"math/bits"
	"math/rand/v2"
)

// placed is the source of metrics that look at nothing but the layers' places:
// the score of a layer by its original index.
func placed(score func(p *Priced) func(layer int) float64) source {
	return func(p *Priced, metric Metric) (reader, error) {
		scores, of := p.undefined(), score(p)
		for _, l := range p.layers {
			scores[l] = of(l)
		}
		return p.scored(metric, func() []float64 { return scores }), nil
	}
}

func reverse(*Priced) func(int) float64 {
	return func(layer int) float64 { return float64(layer) }
}

// reverseKeepLast scores the last layer below every index, so that it goes last.
func reverseKeepLast(p *Priced) func(int) float64 {
	last := p.layers[len(p.layers)-1]
	return func(layer int) float64 {
		if layer == last {
			return -1
		}
		return float64(layer)
	}
}

func random(p *Priced) func(int) float64 {
	places := permutation(p.m.Spec.Layers, p.opt.Seed)
	return func(layer int) float64 { return float64(places[layer]) }
}

// permutation draws a permutation of 0…n-1 that depends on n and the seed only,
// on every platform and in every version: Fisher-Yates from the end, the
// partner of i being the high word of (i+1) times the next output of PCG(seed, 0).
func permutation(n int, seed uint64) []int {
	source := rand.NewPCG(seed, 0)
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		j, _ := bits.Mul64(source.Uint64(), uint64(i+1))
		p[i], p[j] = p[j], p[i]
	}
	return p
}
