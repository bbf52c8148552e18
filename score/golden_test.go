package score_test

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/safetensors"
	"github.com/coppice-ml/coppice/score"
)

func newEngine(tb testing.TB, opt cpu.Options) *cpu.Engine {
	tb.Helper()
	if opt.Kernels == "" {
		opt.Kernels = os.Getenv("COPPICE_KERNELS")
	}
	e, err := cpu.New(opt)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.Close() })
	return e
}

func dataMetrics() []string {
	return []string{score.BI, score.BIGlobal, score.Relative, score.Angular, score.CKA, score.PPL, score.KL, score.Taylor, score.TaylorL2}
}

// Every score is held to 1e-5 of the oracle's.
func TestGoldenScores(t *testing.T) {
	for _, family := range testkit.AllGoldens(t) {
		for _, oneDNN := range []string{"off", ""} {
			t.Run(family+"/oneDNN="+oneDNN, func(t *testing.T) {
				g := testkit.Golden(t, family)
				m := enginetest.Open(t, g.Checkpoint)
				e := newEngine(t, cpu.Options{DType: "float32", OneDNN: oneDNN})
				run := forest.New(m, e, forest.Options{})
				defer run.Close()
				got := rank(t, m, run, score.Options{
					Metrics:   []string{score.BI, score.BIGlobal, score.MagnitudeL1, score.MagnitudeL2, score.Taylor, score.TaylorL2},
					Batch:     2,
					Sequences: g.Sequences(t, "calib_ids"),
				})
				for i, key := range []string{"bi_token", "bi_repo", "magnitude_l1", "magnitude_l2", "taylor", "taylor_l2"} {
					near(t, key, got[i].Scores, g.Floats(t, "scores", key))
				}
				if last := got[1].Scores[m.Spec.Layers-1]; !math.IsNaN(last) {
					t.Errorf("bi-global of the last layer = %v, want NaN", last)
				}
			})
		}
	}
}

func near(t *testing.T, key string, got, want []float64) {
	t.Helper()
	worst := 0.0
	for l, w := range want {
		worst = max(worst, math.Abs(got[l]-w)/math.Abs(w))
	}
	t.Logf("%s: largest relative error %.2g", key, worst)
	if !(worst <= 1e-5) {
		t.Errorf("%s = %v, want %v within 1e-5", key, got[:len(want)], want)
	}
}

// relative has no golden of its own, but the oracle's hidden states give it.
func TestGoldenRelative(t *testing.T) {
	g := testkit.Golden(t, "llama")
	m := enginetest.Open(t, g.Checkpoint)
	hidden, shape := g.Array(t, "hidden") // [L+1, 2, 37, D]
	tokens, d := shape[1]*shape[2], shape[3]
	want := make([]float64, m.Spec.Layers)
	for l := range want {
		for token := range tokens {
			var num, den float64
			for c := range d {
				x := float64(hidden[(l*tokens+token)*d+c])
				y := float64(hidden[((l+1)*tokens+token)*d+c])
				num += (y - x) * (y - x)
				den += y * y
			}
			want[l] += math.Sqrt(num/den) / float64(tokens)
		}
	}
	run := forest.New(m, newEngine(t, cpu.Options{DType: "float32"}), forest.Options{})
	defer run.Close()
	got := rank(t, m, run, score.Options{Metrics: []string{score.Relative}, Sequences: g.Sequences(t, "input_ids")})
	near(t, "relative", got[0].Scores, want)
}

// Batches, memory and the sharing of a pass change no bit of any score.
func TestPackingChangesNothing(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 5, Hidden: 48, Heads: 4}))
	r := rand.New(rand.NewPCG(1, 2))
	var seqs [][]int32
	for range 23 {
		seq := make([]int32, 1+r.IntN(70))
		for i := range seq {
			seq[i] = r.Int32N(int32(m.Spec.Vocab))
		}
		seqs = append(seqs, seq)
	}
	for _, opt := range []cpu.Options{
		{DType: "float32", OneDNN: "off"}, {DType: "float32"}, {DType: "bfloat16"}, {DType: "float32", Threads: 3},
	} {
		e := newEngine(t, opt)
		scores := func(opt forest.Options, metrics ...string) map[string][]float64 {
			run := forest.New(m, e, opt)
			defer run.Close()
			out := map[string][]float64{}
			for _, r := range rank(t, m, run, score.Options{Metrics: metrics, Sequences: seqs}) {
				out[r.Metric] = r.Scores
			}
			return out
		}
		want := scores(forest.Options{}, dataMetrics()...)
		for _, fo := range []forest.Options{{BatchTokens: 1}, {BatchTokens: 17}, {BatchTokens: 100}, {BatchTokens: 128}, {BatchTokens: 1 << 20}, {Memory: 1}, {Memory: 1, BatchTokens: 50}} {
			got := scores(fo, dataMetrics()...)
			for _, metric := range dataMetrics() {
				if !same(got[metric], want[metric]) {
					t.Errorf("%+v, %s with %+v: %v, want %v", opt, metric, fo, got[metric], want[metric])
				}
			}
		}
		for _, metric := range dataMetrics() {
			if got := scores(forest.Options{}, metric)[metric]; !same(got, want[metric]) {
				t.Errorf("%+v, %s alone: %v, want %v", opt, metric, got, want[metric])
			}
		}
	}
}

// Scoring a pruning in place is scoring the pruned checkpoint.
func TestPruningScoresAlike(t *testing.T) {
	g := testkit.Golden(t, "llama")
	m := enginetest.Open(t, g.Checkpoint)
	run := forest.New(m, newEngine(t, cpu.Options{DType: "float32"}), forest.Options{})
	defer run.Close()
	keep := []int{0, 2, 4, 5, 6, 7}
	opt := score.Options{Metrics: append(dataMetrics(), score.MagnitudeL1), Sequences: g.Sequences(t, "calib_ids"), Layers: keep}
	got := rank(t, m, run, opt)
	for _, r := range got {
		for _, l := range []int{1, 3} {
			if !math.IsNaN(r.Scores[l]) {
				t.Errorf("%s scores layer %d, which is not there: %v", r.Metric, l, r.Scores[l])
			}
		}
		if r.Metric != score.Angular && len(r.Order) != len(keep) {
			t.Errorf("%s: order %v", r.Metric, r.Order)
		}
	}
	// Layer 0 sees the same input as in the whole model, layer 2 does not.
	whole := rank(t, m, run, score.Options{Metrics: []string{score.BI}, Sequences: opt.Sequences})[0]
	if got[0].Scores[0] != whole.Scores[0] || got[0].Scores[2] == whole.Scores[2] {
		t.Errorf("layers 0 and 2 score %v, %v; in the whole model %v, %v", got[0].Scores[0], got[0].Scores[2], whole.Scores[0], whole.Scores[2])
	}
}

// BenchmarkMagnitude scans one layer of the TinyLlama shape.
//
//	go test ./score -run '^$' -bench Magnitude
func BenchmarkMagnitude(b *testing.B) {
	for _, d := range []safetensors.DType{safetensors.BF16, safetensors.F16, safetensors.F32} {
		b.Run(string(d), func(b *testing.B) {
			m := enginetest.Open(b, testkit.Llama(b, testkit.Options{Layers: 1, Hidden: 2048, Heads: 32, KVHeads: 4, FF: 5632, Vocab: 8, DType: d}))
			b.SetBytes(m.Spec.LayerParameters() * int64(d.Size()))
			for b.Loop() {
				if _, err := score.Rank(context.Background(), m, nil, score.Options{Metrics: []string{score.MagnitudeL1, score.MagnitudeL2}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
