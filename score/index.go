package score

import (
	"math/bits"
	"math/rand/v2"
)

// index fills in the metrics that look at nothing but the layers' places.
func (r *request) index() {
	last := r.layers[len(r.layers)-1]
	reverse, keepLast, random := r.undefined(), r.undefined(), r.undefined()
	places := permutation(r.m.Spec.Layers, r.opt.Seed)
	for _, l := range r.layers {
		reverse[l], keepLast[l], random[l] = float64(l), float64(l), float64(places[l])
	}
	keepLast[last] = -1 // below every index, so that it goes last
	r.scores[Reverse], r.scores[ReverseKeepLast], r.scores[Random] = reverse, keepLast, random
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
