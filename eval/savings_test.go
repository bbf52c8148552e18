package eval

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/tokenizer"
)

// harnessTokens counts what the harness runs through the model for the same
// sequences: single-token continuations of one context once, the rest sorted by
// length and padded in batches of 32.
func harnessBatches(seqs []Sequence) [][]Sequence {
	byInput := map[string]bool{}
	var once []Sequence
	for _, s := range seqs {
		key := fmt.Sprint(s.inputs())
		if !byInput[key] {
			byInput[key] = true
			once = append(once, s)
		}
	}
	slices.SortStableFunc(once, func(a, b Sequence) int { return cmp.Compare(len(b.Tokens), len(a.Tokens)) })
	return slices.Collect(slices.Chunk(once, 32))
}

func harnessTokens(seqs []Sequence) int {
	n := 0
	for _, batch := range harnessBatches(seqs) {
		n += len(batch) * len(batch[0].inputs())
	}
	return n
}

// savings: how many fewer tokens pass every layer than in the harness.
func savings(t *testing.T, d Dir) {
	tok, err := tokenizer.Load(testkit.Shared(t, "data", "tokenizers", "llama3"))
	if err != nil {
		t.Fatal(err)
	}
	e := &Encoder{Tokenizer: tok, MaxLength: 2048, Vocab: 1 << 20}
	for _, tt := range []struct {
		task  string
		limit int
		want  float64
	}{
		{"hellaswag", 0, 1.8}, {"arc_easy", 0, 2.6}, {"arc_challenge", 0, 2.6}, {"openbookqa", 0, 2.1}, {"piqa", 0, 1.4}, {"mmlu", 40, 1},
	} {
		t.Run(tt.task, func(t *testing.T) {
			s, err := library(t).Select([]string{tt.task})
			if err != nil {
				t.Fatal(err)
			}
			ours := 0
			var all []Sequence
			for _, task := range s.Tasks {
				a := build(t, task, docs(t, d, task, task.Split()), nil, BuildOptions{Limit: tt.limit})
				w, err := newWork([]*Encoded{encodeTask(t.Context(), a, e)}, 2048)
				if err != nil {
					t.Fatal(err)
				}
				seqs, _, err := a.Encode(e)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, seqs...)
				ours += w.packed.Tokens()
			}
			theirs := harnessTokens(all)
			ratio := float64(theirs) / float64(ours)
			t.Logf("harness %d tokens, here %d: %.2f times fewer", theirs, ours, ratio)
			if ratio < tt.want {
				t.Errorf("%.3f times fewer tokens, want %.1f", ratio, tt.want)
			}
		})
	}
}
