package model

import "strings"

// MACs are the multiply-accumulates of one forward pass over a sequence.
type MACs struct {
	Linear    int64 // of linear maps, the head for every token
	Attention int64 // of queries with keys, and of weights with values
	NormTerms int64 // not multiplied, but what norms are of: elements that go through them
}

// Total are those of all products.
func (m MACs) Total() int64 { return m.Linear + m.Attention }

// Paper is what the authors of "Reassessing Layer Pruning in LLMs" count (their
// test_speedup.py, which has ptflops count): linear maps, and two for each element of
// an RMSNorm; attention is left out, since their hook names a class that is not used.
func (m MACs) Paper() int64 { return m.Linear + 2*m.NormTerms }

// MACs counts the multiply-accumulates of a sequence of n tokens through the given
// layers and the head. Token t sees t keys, or as many as its layer's window has.
func (s *Spec) MACs(layers []int, n int) MACs {
	tokens := int64(n)
	out := MACs{Linear: tokens * int64(s.Vocab) * int64(s.Hidden)}
	for _, w := range s.TopWeights() {
		out.NormTerms += tokens * w.normTerms()
	}
	for _, i := range layers {
		for _, w := range s.LayerWeights(i) {
			out.NormTerms += tokens * w.normTerms()
			if len(w.Shape) == 2 {
				out.Linear += tokens * w.Elements()
			}
		}
		out.Attention += 2 * int64(s.Heads) * int64(s.HeadDim) * s.keysSeen(i, tokens)
	}
	return out
}

// keysSeen are the keys that the queries of n tokens see in layer i, all together.
func (s *Spec) keysSeen(i int, n int64) int64 {
	if w := int64(s.Window(i)); w > 0 && w < n {
		return w*(w+1)/2 + (n-w)*w
	}
	return n * (n + 1) / 2
}

// normTerms are the elements of a norm's weight, 0 of other tensors.
func (w Weight) normTerms() int64 {
	if strings.HasSuffix(string(w.Role), "-norm") {
		return w.Elements()
	}
	return 0
}
