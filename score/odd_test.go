package score_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/score"
)

// TestOddRows: scores agree with those of the Go kernels whatever multiple of
// rows a provider's products come in, for lengths that leave tiles and bands
// unfilled.
func TestOddRows(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4, Hidden: 48, Heads: 4, MaxPositions: 512}))
	r := rand.New(rand.NewPCG(3, 4))
	var seqs [][]int32
	for _, n := range []int{300, 257, 130, 63, 7, 1} {
		seq := make([]int32, n)
		for i := range seq {
			seq[i] = r.Int32N(int32(m.Spec.Vocab))
		}
		seqs = append(seqs, seq)
	}
	rankings := func(opt cpu.Options) []score.Ranking {
		opt.DType = "float32"
		run := forest.New(m, newEngine(t, opt), forest.Options{})
		defer run.Close()
		return rank(t, m, run, score.Options{Metrics: dataMetrics(), Sequences: seqs, Matrix: true})
	}
	want := rankings(cpu.Options{OneDNN: "off"})
	for _, opt := range []cpu.Options{
		{}, {Provider: cpu.OddRows(2, 0)}, {Provider: cpu.OddRows(6, 0), Threads: 3}, {Provider: cpu.OddRows(8, 0)},
		{Provider: cpu.OddRows(12, 0)}, {Provider: cpu.OddRows(16, 0), Threads: 16}, {Provider: cpu.OddRows(24, 0), Threads: 1},
	} {
		for i, got := range rankings(opt) {
			for l, w := range want[i].Scores {
				if g := got.Scores[l]; !(math.Abs(g-w) <= 1e-5*math.Abs(w)) && !(math.IsNaN(g) && math.IsNaN(w)) {
					t.Errorf("%s: %s of layer %d = %v, the Go kernels say %v", fmt.Sprint(opt.Provider), got.Metric, l, g, w)
				}
			}
		}
	}
}
