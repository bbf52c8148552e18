package eval

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/all"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/safetensors"
	"github.com/coppice-ml/coppice/tokenizer"
)

// padded are the harness's batches as work: every sequence as long as the
// batch's longest. Only rows that are scored reach the head, which the harness
// does not spare itself.
func padded(seqs []Sequence) []forest.Work {
	var out []forest.Work
	for _, batch := range harnessBatches(seqs) {
		var w forest.Work
		for _, s := range batch {
			row := w.Batch.Len()
			in := slices.Clone(s.inputs())
			for i := len(s.Tokens) - s.Scored; i < len(s.Tokens); i++ {
				w.Targets = append(w.Targets, engine.Target{Row: row + i - 1, Token: s.Tokens[i]})
			}
			for len(in) < len(batch[0].inputs()) {
				in = append(in, 0)
			}
			w.Batch.Add(in, engine.NoParent)
		}
		out = append(out, w)
	}
	return out
}

// BenchmarkAgainstHarness measures pairs of runs over the same requests, one as
// the harness batches them and one as trees: bfloat16 where it can be had, the
// shape of SmolLM-135M, real documents. "of-count" is the ratio of times over
// the ratio of tokens.
func BenchmarkAgainstHarness(b *testing.B) {
	d := benchmarks(b)
	tok, err := tokenizer.Load(testkit.Shared(b, "data", "tokenizers", "llama3"))
	if err != nil {
		b.Fatal(err)
	}
	m := enginetest.Open(b, testkit.Llama(b, testkit.Options{
		Layers: 30, Hidden: 576, Heads: 9, KVHeads: 3, FF: 1536, Vocab: 49152, MaxPositions: 2048, Tied: true, DType: safetensors.BF16, Seed: 1,
	}))
	e, err := all.Open("cpu", all.Options{DType: "auto", Getenv: os.Getenv})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	run := forest.New(m, e, forest.Options{})
	defer run.Close()
	encoder := &Encoder{Tokenizer: tok, MaxLength: 2048, Vocab: 1 << 20}
	for _, tt := range []struct {
		task string
		docs int
	}{{"hellaswag", 16}, {"arc_easy", 32}, {"openbookqa", 64}, {"piqa", 48}, {"mmlu_anatomy", 24}} {
		b.Run(tt.task, func(b *testing.B) {
			task := task(b, tt.task)
			a := build(b, task, docs(b, d, task, task.Split()), nil, BuildOptions{Limit: tt.docs})
			seqs, of, err := a.Encode(encoder)
			if err != nil {
				b.Fatal(err)
			}
			groups := make([]int, len(of))
			for i, r := range of {
				groups[i] = a.Requests[r].Doc
				for j := range seqs[i].Tokens { // into the vocabulary; what is shared stays so
					seqs[i].Tokens[j] %= 49152
				}
			}
			theirs, ours := padded(seqs), Pack(seqs, groups, 2048)
			count := float64(tokensOf(theirs)) / float64(ours.Tokens())
			var ratios []float64
			for b.Loop() {
				harness := timed(b, run, theirs)
				ratios = append(ratios, harness.Seconds()/timed(b, run, ours.Work).Seconds())
			}
			slices.Sort(ratios)
			median := ratios[len(ratios)/2]
			b.ReportMetric(count, "fewer-tokens")
			b.ReportMetric(median, "times-faster")
			b.ReportMetric(median/count, "of-count")
		})
	}
}

func tokensOf(work []forest.Work) int {
	n := 0
	for i := range work {
		n += work[i].Batch.Len()
	}
	return n
}

func timed(b *testing.B, run *forest.Runner, work []forest.Work) time.Duration {
	b.Helper()
	start := time.Now()
	if err := run.Score(context.Background(), nil, work, func(int, []engine.TokenScore) error { return nil }); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}
