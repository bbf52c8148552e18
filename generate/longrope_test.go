package generate_test

import (
	"context"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// What is written past the length at which longrope changes is what scoring the
// text so far says is likeliest, whatever else is being written.
func TestAcrossLongropesSwitch(t *testing.T) {
	m := open(t, testkit.Golden(t, "phi3_longrope").Checkpoint)
	run := runner(t, m, cpu.Options{DType: "float32"})
	var prompts [][]int32
	for i, n := range []int{20, 28, 31, 32, 33} {
		p := make([]int32, n)
		for j := range p {
			p[j] = int32(3 + (j*j*7+i*31)%(m.Spec.Vocab-3))
		}
		prompts = append(prompts, p)
	}
	const more = 12
	texts := continuations(t, run, nil, prompts, generate.Options{MaxTokens: more})
	var many []generate.Prompt
	for _, p := range prompts {
		many = append(many, generate.Prompt{Tokens: p})
	}
	err := generate.Many(context.Background(), run.Resident(), nil, many, generate.Options{MaxTokens: more}, nil, func(a generate.Answer) error {
		if !slices.Equal(a.Tokens, texts[a.Seq]) {
			t.Errorf("one of many: %v, want %v", a.Tokens, texts[a.Seq])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, written := range texts {
		if len(written) != more {
			t.Fatalf("text %d has %d tokens more", i, len(written))
		}
		var work []forest.Work
		for _, next := range written {
			var w forest.Work
			w.Batch.Add(prompts[i], engine.NoParent)
			w.Targets = []engine.Target{{Row: len(prompts[i]) - 1, Token: next}}
			work = append(work, w)
			prompts[i] = append(prompts[i], next)
		}
		err := run.Score(context.Background(), nil, work, func(n int, scores []engine.TokenScore) error {
			if !scores[0].Greedy {
				t.Errorf("text %d: scoring has another token than %d at %d", i, written[n], n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
