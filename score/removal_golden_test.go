package score_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/score"
)

// golden opens a family's checkpoint with a float32 runner and its sequences.
func golden(t *testing.T, family string, opt forest.Options) (*testkit.Goldens, *forest.Runner, [][]int32) {
	t.Helper()
	g := testkit.Golden(t, family)
	run := forest.New(enginetest.Open(t, g.Checkpoint), newEngine(t, cpu.Options{DType: "float32"}), opt)
	t.Cleanup(run.Close)
	return g, run, g.Sequences(t, "calib_ids")
}

// Angular, CKA and removals against the oracle: CKA and angular within 1e-6,
// perplexities within 1e-5 of their size. Gemma-2's layers keep their windows.
func TestGoldenPasses(t *testing.T) {
	for _, family := range testkit.AllGoldens(t) {
		for name, opt := range map[string]forest.Options{"resident": {}, "streaming": {Memory: 1}} {
			t.Run(family+"/"+name, func(t *testing.T) {
				g, run, seqs := golden(t, family, opt)
				m := run.Model()
				layers := m.Spec.Layers
				got := rank(t, m, run, score.Options{
					Metrics: []string{score.Angular, score.CKA, score.PPL, score.BI}, Block: 2, Matrix: true, Sequences: seqs,
				})
				var angular, token, sequence [][]float64
				g.Decode(t, &angular, "scores", "angular")
				g.Decode(t, &token, "scores", "cka_token")
				g.Decode(t, &sequence, "scores", "cka_seq")
				within(t, "angular", got[0].Matrix, angular)
				for l, v := range got[0].Block.Scores {
					if v != got[0].Matrix[l][l+2] {
						t.Errorf("block at %d scores %v, the matrix says %v", l, v, got[0].Matrix[l][l+2])
					}
				}
				within(t, "cka by token", got[1].Matrix, token)
				for l := range layers {
					if got[1].Scores[l] != got[1].Matrix[l][l+1] {
						t.Errorf("cka of layer %d = %v, the matrix says %v", l, got[1].Scores[l], got[1].Matrix[l][l+1])
					}
				}
				near(t, "ppl", got[2].Scores, keepWindows(t, g, "ppl_remove"))
				near(t, "bi", got[3].Scores, g.Floats(t, "scores", "bi_token"))

				bySequence := rank(t, m, run, score.Options{Metrics: []string{score.CKA}, Rows: score.RowsSequences, Matrix: true, Sequences: seqs})
				outputs := bySequence[0].Matrix[1:] // the oracle compares the layers' outputs
				for i := range outputs {
					outputs[i] = outputs[i][1:]
				}
				within(t, "cka by sequence", outputs, sequence)
			})
		}
	}
}

// keepWindows reads what the oracle computed with every layer keeping its kind
// of attention, where that makes a difference.
func keepWindows(t *testing.T, g *testkit.Goldens, key string) []float64 {
	t.Helper()
	var scores map[string]any
	g.Decode(t, &scores, "scores")
	if _, ok := scores[key+"_keep_windows"]; ok {
		key += "_keep_windows"
	}
	return g.Floats(t, "scores", key)
}

func within(t *testing.T, what string, got, want [][]float64) {
	t.Helper()
	worst := math.Inf(1)
	if len(got) == len(want) {
		worst = 0
		for i := range want {
			for j := range want[i] {
				worst = max(worst, math.Abs(got[i][j]-want[i][j]))
			}
		}
	}
	t.Logf("%s: largest error %.2g", what, worst)
	if !(worst <= 1e-6) {
		t.Errorf("%s differs by %g: %v, want %v", what, worst, got, want)
	}
}

func TestGoldenTails(t *testing.T) {
	for _, family := range testkit.AllGoldens(t) {
		t.Run(family, func(t *testing.T) {
			g, run, seqs := golden(t, family, forest.Options{})
			layers := run.Model().Spec.Layers
			var lists [][]int
			for n := range layers {
				lists = append(lists, without(layers, n))
			}
			m := score.Measurement{Run: run, Sequences: seqs}
			priced, err := m.Price(lists)
			if err != nil {
				t.Fatal(err)
			}
			sums, err := priced.Run(context.Background(), forest.RunOptions{})
			if err != nil {
				t.Fatal(err)
			}
			loss := make([]float64, layers)
			for n, s := range sums {
				loss[n] = s.Mean()
			}
			near(t, "tail loss", loss, keepWindows(t, g, "tail_loss"))
			near(t, "ppl", []float64{sums[0].Perplexity()}, []float64{g.Float(t, "scores", "ppl_full")})
		})
	}
}

// without is 0…layers-1 without the last n.
func without(layers, n int) []int {
	all := make([]int, layers-n)
	for i := range all {
		all[i] = i
	}
	return all
}

// greedy-ppl is what a loop over one pruning at a time finds.
func TestGreedyIsNaive(t *testing.T) {
	g, run, seqs := golden(t, "llama", forest.Options{})
	_ = g
	for _, protect := range [][]int{nil, {0, 5}} {
		got := rank(t, run.Model(), run, score.Options{Metrics: []string{score.GreedyPPL}, Protect: protect, Sequences: seqs})[0]
		layers := without(run.Model().Spec.Layers, 0)
		for round := 0; len(layers) > 1 && len(layers) > len(protect); round++ {
			best, layer := math.Inf(1), -1
			for _, l := range layers {
				if slices.Contains(protect, l) {
					continue
				}
				if loss := meanLoss(t, run, slices.DeleteFunc(slices.Clone(layers), func(x int) bool { return x == l }), seqs); loss <= best {
					best, layer = loss, l
				}
			}
			if got.Order[round] != layer || got.Scores[layer] != float64(round+1) || math.Abs(got.Losses[round]-best) > 1e-9 {
				t.Fatalf("round %d: layer %d with loss %v, want %d with %v", round, got.Order[round], got.Losses[round], layer, best)
			}
			layers = slices.DeleteFunc(layers, func(x int) bool { return x == layer })
		}
	}
}

func meanLoss(t *testing.T, run *forest.Runner, layers []int, seqs [][]int32) float64 {
	t.Helper()
	var sum float64
	n := 0
	err := run.LogProbs(context.Background(), layers, seqs, func(_ int, scores []engine.TokenScore) error {
		for _, s := range scores {
			sum, n = sum-s.LogProb, n+1
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum / float64(n)
}

// kl has no golden: it is 0 for a layer that changes nothing, positive else,
// and what the log-probabilities of all tokens say.
func TestKLByHand(t *testing.T) {
	_, run, seqs := golden(t, "llama_tied", forest.Options{})
	m := run.Model()
	got := rank(t, m, run, score.Options{Metrics: []string{score.KL}, Sequences: seqs[:1], Protect: []int{0, 2, 3}})[0]
	want := naiveKL(t, run, slices.DeleteFunc(without(m.Spec.Layers, 0), func(l int) bool { return l == 1 }), seqs[0])
	if math.Abs(got.Scores[1]-want) > 1e-6 {
		t.Errorf("kl of layer 1 = %v, want %v", got.Scores[1], want)
	}
	for _, l := range []int{0, 2, 3} {
		if !math.IsNaN(got.Scores[l]) {
			t.Errorf("protected layer %d scores %v", l, got.Scores[l])
		}
	}
}

// naiveKL asks for the log-probability of every token at every place.
func naiveKL(t *testing.T, run *forest.Runner, layers []int, seq []int32) float64 {
	t.Helper()
	all := func(layers []int) []float64 {
		work := forest.Sequences([][]int32{seq})
		work[0].Targets = nil
		for row := range len(seq) - 1 {
			for token := range run.Model().Spec.Vocab {
				work[0].Targets = append(work[0].Targets, engine.Target{Row: row, Token: int32(token)})
			}
		}
		var out []float64
		err := run.Score(context.Background(), layers, work, func(_ int, scores []engine.TokenScore) error {
			for _, s := range scores {
				out = append(out, s.LogProb)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	p, q := all(nil), all(layers)
	var kl float64
	for i := range p {
		kl += math.Exp(p[i]) * (p[i] - q[i])
	}
	return kl / float64(len(seq)-1)
}
