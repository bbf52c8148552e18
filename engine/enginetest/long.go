package enginetest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// longTokens is more than one block of keys, any window and any original length here.
const longTokens = 560

// testLong holds every family to what it computes of sequences far longer than the
// goldens': of batches of many lengths, of a cache that is filled in steps, and, for
// those whose layers or lengths differ most, to the float64 reference.
func testLong(t *testing.T, build New) {
	for _, name := range append(Picos(), dynamic) {
		t.Run(name, func(t *testing.T) {
			r := load(t, build(t, engine.Float32), longModel(t, name))
			var seqs [][]int32
			for i, n := range []int{20, 32, 33, 37, longTokens} {
				seqs = append(seqs, tokens(n, r.m.Spec.Vocab, uint64(i+20)))
			}
			_, all := r.forward(t, pack(seqs[len(seqs)-1]), nil)
			longInBatches(t, r, seqs, all)
			longInSteps(t, r, seqs[len(seqs)-1], all)
		})
	}
	for _, name := range []string{"gemma3", "olmo3", "phi3", dynamic} {
		t.Run(name+"/Reference", func(t *testing.T) {
			r := load(t, build(t, engine.Float32), longModel(t, name))
			ids := tokens(longTokens, r.m.Spec.Vocab, 24)
			_, logits := r.forward(t, pack(ids), nil)
			within(t, "logits", logits, Logits(t, r.m, ids), logitTolerance)
		})
	}
}

// dynamic is a Llama whose rotary embeddings follow the length of a sequence.
const dynamic = "llama, dynamic"

func longModel(t testing.TB, name string) *model.Model {
	if name != dynamic {
		return Pico(t, name)
	}
	return Open(t, testkit.Llama(t, testkit.Options{Layers: 3, Vocab: 300, MaxPositions: 32, Seed: 11, RopeScaling: map[string]any{"type": "dynamic", "factor": 3.0}}))
}

// longInBatches compares sequences of a batch with each alone, of which all is the
// last one's.
func longInBatches(t *testing.T, r *resident, seqs [][]int32, all []float32) {
	t.Helper()
	v := r.m.Spec.Vocab
	b := pack(seqs...)
	_, logits := r.forward(t, b, nil)
	for i, seq := range seqs {
		want := all
		if i < len(seqs)-1 {
			_, want = r.forward(t, pack(seq), nil)
		}
		sameBits(t, fmt.Sprintf("%d tokens in a batch", len(seq)), rows(logits, b.Segments[i], v), want)
	}
}

// longInSteps feeds a sequence to a cache and compares with one pass. Where its length
// decides how all its tokens are rotated, steps say how long it is to be.
func longInSteps(t *testing.T, r *resident, ids []int32, all []float32) {
	t.Helper()
	v := r.m.Spec.Vocab
	kvs := newCaches(t, r, 1, len(ids))
	past := 0
	for _, n := range []int{40, 1, 470, 1, 48} {
		b := &engine.Batch{}
		b.Continue(ids[past:past+n], 0, past)
		if byLength(r.m.Spec) {
			b.Segments[0].Length = len(ids)
		}
		_, logits := r.forward(t, b, kvs)
		sameBits(t, fmt.Sprintf("%d tokens after %d", n, past), logits, all[past*v:(past+n)*v])
		past += n
	}
	if past != len(ids) {
		t.Fatalf("%d tokens of %d were fed", past, len(ids))
	}
}

// byLength says whether keys are rotated by the length of their sequence.
func byLength(s *model.Spec) bool {
	kinds := []string{s.Rope.Scaling.Kind}
	for _, r := range s.Ropes {
		kinds = append(kinds, r.Scaling.Kind)
	}
	return slices.Contains(kinds, "longrope") || slices.Contains(kinds, "dynamic")
}
