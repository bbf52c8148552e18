package data

import (
	"fmt"
	"math/rand/v2"
)

// SampleOptions say which windows Sample draws.
type SampleOptions struct {
	Samples int // how many windows
	Length  int // tokens in each
	Seed    uint64
}

// Sample draws windows of Length tokens from texts. The documents are visited
// in an order that the seed decides, passing over those too short; each gives
// one window, at a random place, before any gives a second one. No window is
// drawn twice. Encode turns a text into ids; it is called for no more
// documents than are needed. The same texts and options give the same windows.
func Sample(texts []string, encode func(string) ([]int32, error), opt SampleOptions) ([][]int32, error) {
	if opt.Samples < 1 || opt.Length < 1 {
		return nil, fmt.Errorf("%d samples of %d tokens: want at least one of each", opt.Samples, opt.Length)
	}
	rng := rand.New(rand.NewPCG(opt.Seed, 0))
	s := sampler{length: opt.Length, rng: rng}
	for _, i := range rng.Perm(len(texts)) {
		if len(s.out) == opt.Samples {
			return s.out, nil
		}
		// Normalisation may lengthen a text elevenfold, never more; the bound
		// spares encoding documents that cannot be long enough.
		if 11*len(texts[i])+8 < opt.Length {
			continue
		}
		ids, err := encode(texts[i])
		if err != nil {
			return nil, err
		}
		s.longest = max(s.longest, len(ids))
		if len(ids) >= opt.Length {
			s.visit(&document{ids: ids, left: len(ids) - opt.Length + 1})
		}
	}
	return s.more(len(texts), opt.Samples)
}

type sampler struct {
	length  int
	rng     *rand.Rand
	docs    []*document
	out     [][]int32
	longest int
}

// document is a text that has windows left to give.
type document struct {
	ids   []int32
	left  int          // number of starts not drawn
	drawn map[int]bool // starts drawn
}

func (s *sampler) visit(d *document) {
	s.out = append(s.out, d.draw(s.rng, s.length))
	if d.left > 0 {
		s.docs = append(s.docs, d)
	}
}

// more goes round the documents again until there are n windows.
func (s *sampler) more(texts, n int) ([][]int32, error) {
	if len(s.out) == 0 {
		return nil, fmt.Errorf("none of %d texts has %d tokens (the longest looked at has %d); ask for a smaller --length", texts, s.length, s.longest)
	}
	for len(s.out) < n {
		if len(s.docs) == 0 {
			return nil, fmt.Errorf("the texts hold only %d different windows of %d tokens, and %d are asked for; ask for fewer --samples or a smaller --length", len(s.out), s.length, n)
		}
		docs := s.docs
		s.docs = nil
		for i, d := range docs {
			if len(s.out) == n {
				s.docs = append(s.docs, docs[i:]...)
				break
			}
			s.visit(d)
		}
	}
	return s.out, nil
}

// draw takes the k-th start not drawn yet, k random.
func (d *document) draw(rng *rand.Rand, length int) []int32 {
	starts := len(d.ids) - length + 1
	at := rng.IntN(starts)
	for d.drawn[at] { // at most as many steps as windows drawn
		at = (at + 1) % starts
	}
	if d.drawn == nil {
		d.drawn = map[int]bool{}
	}
	d.drawn[at] = true
	d.left--
	return d.ids[at : at+length : at+length]
}
