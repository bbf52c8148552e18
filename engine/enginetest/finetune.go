package enginetest

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// testGradientGoldens compares gradients and fine-tuning with PyTorch's.
func testGradientGoldens(t *testing.T, build New) {
	if _, ok := build(t, engine.Float32).(engine.Trainer); !ok {
		return
	}
	large := []string{"llama/full", "llama_tied/full", "chatglm2/full"}
	for _, name := range testkit.AllGoldens(t) {
		if strings.Contains(name, "/") && !slices.Contains(large, name) {
			continue // the large ones of all families would take a slow engine minutes
		}
		t.Run(name, func(t *testing.T) {
			g := testkit.Golden(t, name)
			t.Run("gradients", func(t *testing.T) { goldenGradients(t, build(t, engine.Float32), g) })
			if !g.Has("ft.ids") {
				return // it trains as others do
			}
			for _, run := range []string{"partial", "partial_clip1", "partial_clip1_nodecay_norm_bias", "lora", "lora_clip1"} {
				t.Run(run, func(t *testing.T) { goldenFinetune(t, build(t, engine.Float32), g, run) })
			}
		})
	}
}

// goldenGradients compares the gradient of the mean loss by every tensor.
func goldenGradients(t *testing.T, e engine.Engine, g *testkit.Goldens) {
	m := Open(t, g.Checkpoint)
	r := train(t, e, m, everything, nil)
	labels := g.Sequences(t, "input_ids")
	if d := math.Abs(r.loss(mean(labels, nil, labels)) - g.Float(t, "loss")); !(d <= lossTolerance) {
		t.Errorf("the loss is off by %g", d)
	}
	want := map[string][]float32{}
	for w := range m.Spec.Weights() {
		want[w.Name], _ = g.Array(t, "grad."+w.Name)
	}
	sameGradients(t, "", r.gradients(), want, gradientTolerance(engine.Float32))
}

// mean asks for the mean of -log p over labels that are not -100, each that of
// the token after its row. Tokens whose mask is 0 are padding; nil masks none.
func mean(ids, mask, labels [][]int32) question {
	q := question{batch: &engine.Batch{}}
	for i, seq := range ids {
		var real []int32
		start := q.batch.Len()
		for j, id := range seq {
			if mask != nil && mask[i][j] == 0 {
				continue
			}
			if len(real) > 0 && labels[i][j] != -100 {
				q.targets = append(q.targets, engine.Target{Row: start + len(real) - 1, Token: labels[i][j]})
			}
			real = append(real, id)
		}
		q.batch.Add(real, engine.NoParent)
	}
	q.weights = slices.Repeat([]float32{1 / float32(len(q.targets))}, len(q.targets))
	return q
}

// finetuning is a run as the goldens have it.
type finetuning struct {
	clip    float64 // of the global norm; 0: none
	decays  func(name string) bool
	batches []question
}

func (r *training) finetune(f finetuning) (losses, norms []float64) {
	ctx := context.Background()
	for step := range 8 {
		losses = append(losses, r.loss(f.batches[step%len(f.batches)]))
		var squares float64
		for _, x := range r.all() {
			s, err := x.GradSquares(ctx)
			r.must(err)
			squares += s
		}
		norms = append(norms, math.Sqrt(squares))
		o := engine.AdamW{LR: 1e-3 * min(float64(step)/2, float64(8-step)/6), Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, GradScale: 1, Step: int64(step + 1)}
		if f.clip > 0 {
			o.GradScale = min(1, f.clip/(norms[step]+1e-6))
		}
		for _, x := range r.all() {
			if o.WeightDecay = 0; f.decays(x.Name()) {
				o.WeightDecay = 0.01
			}
			r.must(x.Step(ctx, o))
		}
	}
	return losses, norms
}

// goldenFinetune trains for eight steps and compares what PyTorch recorded.
func goldenFinetune(t *testing.T, e engine.Engine, g *testkit.Goldens, run string) {
	m := Open(t, g.Checkpoint)
	chosen, lora := nothing, map[string]engine.Adapter(nil)
	if strings.HasPrefix(run, "lora") {
		lora = goldenAdapters(t, e, g, m)
	} else {
		chosen = func(w model.Weight) bool {
			return w.Layer >= m.Spec.Layers-2 || w.Role == model.FinalNorm || w.Role == model.FinalNormBias || w.Role == model.LMHead || w.Role == model.Embedding && m.Spec.Tied
		}
	}
	r := train(t, e, m, chosen, lora)
	f := finetuning{decays: func(string) bool { return true }}
	if strings.Contains(run, "clip1") {
		f.clip = 1
	}
	if strings.HasSuffix(run, "nodecay_norm_bias") {
		f.decays = func(name string) bool { return !strings.Contains(name, "norm") && !strings.HasSuffix(name, ".bias") }
	}
	ids, mask, labels := g.Sequences(t, "ft.ids"), g.Sequences(t, "ft.mask"), g.Sequences(t, "ft.labels")
	for i := 0; i < len(ids); i += 2 {
		f.batches = append(f.batches, mean(ids[i:i+2], mask[i:i+2], labels[i:i+2]))
	}
	before := r.masters()
	losses, norms := r.finetune(f)
	near(t, "losses", losses, g.Floats(t, "ft", run, "losses"), 2e-5)
	near(t, "norms of gradients", norms, g.Floats(t, "ft", run, "grad_norms"), 1e-4)
	var final []float64
	for _, q := range f.batches {
		final = append(final, r.loss(q))
	}
	near(t, "final losses", final, g.Floats(t, "ft", run, "final_losses"), 2e-5)
	r.compareMoves(g, run, before)
}

// masters reads the weights of all that trains.
func (r *training) masters() map[string][]float32 {
	out := map[string][]float32{}
	for _, x := range r.all() {
		out[x.Name()] = read(r.t, x, engine.Master)
	}
	return out
}

// compareMoves compares how far each tensor went, and where some of them are.
func (r *training) compareMoves(g *testkit.Goldens, run string, before map[string][]float32) {
	r.t.Helper()
	var moved map[string]float64
	g.Decode(r.t, &moved, "ft", run, "delta_l2")
	if len(moved) != len(before) {
		r.t.Errorf("%d tensors trained, PyTorch trained %d", len(before), len(moved))
	}
	for name, after := range r.masters() {
		diff := slices.Clone(after)
		for i := range diff {
			diff[i] -= before[name][i]
		}
		// gradients of biases of keys are rounding, which Adam makes steps of
		if d := math.Abs(length(diff) - moved[name]); !strings.HasSuffix(name, "bias") && !(d <= 1e-3*moved[name]) {
			r.t.Errorf("%s moved by %g, want %g", name, length(diff), moved[name])
		}
		if stored := "ft." + run + ".final." + name; g.Has(stored) {
			want, _ := g.Array(r.t, stored)
			within(r.t, stored, after, want, 1e-5)
		}
	}
}

func near(t testing.TB, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if !(math.Abs(got[i]-want[i]) <= tolerance) {
			t.Errorf("%s: number %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

// goldenAdapters reads the golden's adapter, whose names are PEFT's.
func goldenAdapters(t testing.TB, e engine.Engine, g *testkit.Goldens, m *model.Model) map[string]engine.Adapter {
	t.Helper()
	f, err := safetensors.Open(filepath.Join(g.Dir, "lora_init", "adapter_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	out := map[string]engine.Adapter{}
	for w := range m.Spec.Weights() {
		module := strings.TrimSuffix(w.Name, ".weight")
		a, ok := f.Tensor("base_model.model." + module + ".lora_A.weight")
		if !ok {
			continue
		}
		b, ok := f.Tensor("base_model.model." + module + ".lora_B.weight")
		if !ok {
			t.Fatalf("%s has no lora_B", module)
		}
		out[w.Name] = engine.Adapter{
			A:     newTrainable(t, e, module+".lora_A.weight", a.Shape, appendFloat32(nil, decode(t, f.Data(a), a.DType))),
			B:     newTrainable(t, e, module+".lora_B.weight", b.Shape, appendFloat32(nil, decode(t, f.Data(b), b.DType))),
			Scale: 2, // alpha 8, rank 4
		}
	}
	if len(out) == 0 {
		t.Fatal("the adapter fits no tensor")
	}
	return out
}
