package generate

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
)

// random is a sequence's own source of randomness.
type random struct{ *rand.PCG }

// uniform draws from [0, 1): the top 53 bits of the generator's next output.
func (r *random) uniform() float64 { return float64(r.Uint64()>>11) / (1 << 53) }

// seeds gives every prompt a generator: PCG with the seed and, as its second
// word, the FNV-1a hash of the prompt's ids and of how many equal prompts came
// before. So a prompt's draws do not depend on what else is asked for.
func seeds(prompts [][]int32, seed uint64) []random {
	out := make([]random, len(prompts))
	before := map[uint64]uint32{}
	for i, prompt := range prompts {
		h := fnv.New64a()
		var word [4]byte
		write := func(v uint32) {
			binary.LittleEndian.PutUint32(word[:], v)
			h.Write(word[:]) // never fails
		}
		for _, id := range prompt {
			write(uint32(id))
		}
		key := h.Sum64()
		write(before[key])
		before[key]++
		out[i] = random{rand.NewPCG(seed, h.Sum64())}
	}
	return out
}

// sampler picks tokens. Its buffers are used anew for every token.
type sampler struct {
	opt     Options
	weights []float64   // [V] of exp((logit - largest) / temperature)
	heap    []candidate // empty unless TopK or TopP ask for an order
}

type candidate struct {
	weight float64
	id     int32
}

func newSampler(opt Options, vocab int) *sampler {
	s := &sampler{opt: opt}
	if opt.Temperature == 0 {
		return s
	}
	if opt.TopK >= vocab {
		s.opt.TopK = 0
	}
	if opt.TopP == 1 {
		s.opt.TopP = 0
	}
	s.weights = make([]float64, vocab)
	if s.opt.TopK > 0 || s.opt.TopP > 0 {
		s.heap = make([]candidate, vocab)
	}
	return s
}

var errLogits = errors.New("the logits hold NaN or +Inf; check the checkpoint's weights, or use --dtype float32")

// pick returns the next token for logits [V]: the likeliest, the lowest id of
// equals, or at a temperature above 0 a draw. -Inf forbids a token.
func (s *sampler) pick(logits []float32, r *random) (int32, error) {
	best, err := greedy(logits)
	if err != nil || s.opt.Temperature == 0 {
		return best, err
	}
	total := 0.0
	for i, v := range logits {
		w := math.Exp((float64(v) - float64(logits[best])) / s.opt.Temperature)
		s.weights[i] = w
		total += w
	}
	if s.heap == nil {
		return draw(s.weights, total*r.uniform(), best), nil
	}
	return s.drawFromTop(total, r), nil
}

// greedy is the lowest id among those with the largest logit.
func greedy(logits []float32) (int32, error) {
	best, top := int32(-1), float32(math.Inf(-1))
	for i, v := range logits {
		if v != v {
			return 0, errLogits
		}
		if v > top {
			best, top = int32(i), v
		}
	}
	if best < 0 || math.IsInf(float64(top), 1) {
		return 0, errLogits
	}
	return best, nil
}

// draw walks the weights until they come to more than at. Rounding may leave
// it without an answer; the likeliest token is one, then.
func draw(weights []float64, at float64, likeliest int32) int32 {
	for i, w := range weights {
		if at -= w; at < 0 {
			return int32(i)
		}
	}
	return likeliest
}

// drawFromTop draws among the TopK likeliest tokens and, of those, the fewest
// whose share of their sum reaches TopP (the one that reaches it included), in
// the order transformers applies the two. Equal weights: the lower id first.
func (s *sampler) drawFromTop(total float64, r *random) int32 {
	top := s.top(total)
	sum := 0.0
	for _, c := range top {
		sum += c.weight
	}
	at := sum * r.uniform()
	for _, c := range top {
		if at -= c.weight; at < 0 {
			return c.id
		}
	}
	return top[0].id
}

// top returns the candidates to draw from, likeliest first. They are taken off a
// heap, so that the rest of the vocabulary need not be sorted; total is the sum
// of all weights.
func (s *sampler) top(total float64) []candidate {
	h := s.heap
	for i, w := range s.weights {
		h[i] = candidate{w, int32(i)}
	}
	for i := len(h)/2 - 1; i >= 0; i-- {
		sift(h, i)
	}
	most, enough := len(h), total*s.opt.TopP
	if s.opt.TopK > 0 {
		most, enough = s.opt.TopK, math.Inf(1)
	}
	rest, sum := len(h), 0.0
	for len(h)-rest < most && sum < enough {
		rest--
		h[0], h[rest] = h[rest], h[0]
		sift(h[:rest], 0)
		sum += h[rest].weight
	}
	taken := h[rest:]
	slices.Reverse(taken)
	if s.opt.TopK > 0 && s.opt.TopP > 0 {
		return nucleus(taken, sum*s.opt.TopP)
	}
	return taken
}

// nucleus is the shortest start of the candidates whose weights come to enough.
func nucleus(taken []candidate, enough float64) []candidate {
	sum := 0.0
	for i, c := range taken {
		if sum += c.weight; sum >= enough {
			return taken[:i+1]
		}
	}
	return taken
}

// sift restores the heap below place i: the likeliest candidate on top.
func sift(h []candidate, i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// before is the order of candidates: likeliest first, then by id.
func (c candidate) before(o candidate) bool {
	return c.weight > o.weight || c.weight == o.weight && c.id < o.id
}
