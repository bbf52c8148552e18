package enginetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/enginetest/slow"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// gradientTolerance bounds the relative error of a tensor's gradient, |got - want|
// / |want| in the L2 norm. Key biases have hardly any gradient: to |want| a
// thousandth of the gradient of all tensors is added.
func gradientTolerance(d engine.DType) float64 {
	if d == engine.BFloat16 {
		return 0.08
	}
	return 1e-4
}

// trainModels are models that differ in what a backward pass has to know.
func trainModels() map[string]func(testing.TB) *model.Model {
	out := map[string]func(testing.TB) *model.Model{
		"biases": pico,
		"llama3 rope, tied": func(t testing.TB) *model.Model {
			return Open(t, testkit.Llama(t, testkit.Options{Layers: 2, Tied: true, Seed: 3, RopeScaling: map[string]any{"rope_type": "llama3",
				"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}))
		},
		"odd sizes": func(t testing.TB) *model.Model {
			return Open(t, testkit.Llama(t, testkit.Options{Layers: 2, Vocab: 1100, FF: 77, Heads: 3, KVHeads: 3, HeadDim: 40, Seed: 3}))
		},
	}
	for _, name := range Picos() {
		out[name] = func(t testing.TB) *model.Model { return Pico(t, name) }
	}
	return out
}

// ragged is a question about sequences of many lengths, some of which share
// their start; not every row has a target, some have several.
func ragged(vocab int) question {
	b := &engine.Batch{}
	b.Add(tokens(3, vocab, 1), engine.NoParent)
	root := b.Add(tokens(70, vocab, 2), engine.NoParent)
	child := b.Add(tokens(5, vocab, 3), root)
	b.Add(tokens(2, vocab, 4), child)
	b.Add(tokens(66, vocab, 5), root)
	b.Add(tokens(1, vocab, 6), engine.NoParent)
	q := question{batch: b}
	random := rand.New(rand.NewPCG(5, 6))
	for row := range b.Len() {
		for range random.IntN(3) {
			q.targets = append(q.targets, engine.Target{Row: row, Token: int32(random.IntN(vocab))})
			q.weights = append(q.weights, float32(0.2+random.Float64()))
		}
	}
	return q
}

// testGradients holds every gradient that an engine computes to the float64
// engine's: of all tensors, through shared starts, windows, soft caps and heads
// of unit rows, with and without tapes.
func testGradients(t *testing.T, build New) {
	if _, ok := build(t, engine.Float32).(engine.Trainer); !ok {
		return
	}
	for name, open := range trainModels() {
		for _, dtype := range dtypes() {
			if dtype == engine.BFloat16 && name != "biases" && name != "gemma2" {
				continue
			}
			t.Run(name+"/"+string(dtype), func(t *testing.T) { gradientsAgainstSlow(t, build(t, dtype), dtype, open(t)) })
		}
	}
	t.Run("adapters", func(t *testing.T) { testAdapters(t, build) })
	t.Run("distillation", func(t *testing.T) { testDistil(t, build) })
	t.Run("cancelled", func(t *testing.T) { testTrainingCancelled(t, build) })
	t.Run("differences", func(t *testing.T) { testDifferences(t, build) })
}

// Slow returns the float64 engine that gradients are held to.
func Slow(t testing.TB) engine.Engine {
	e := slow.New(slow.Options{})
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func gradientsAgainstSlow(t *testing.T, e engine.Engine, dtype engine.DType, m *model.Model) {
	q := ragged(m.Spec.Vocab)
	want, got := train(t, Slow(t), m, everything, nil), train(t, e, m, everything, nil)
	wantLoss, gotLoss := want.loss(q), got.loss(q)
	tolerance := gradientTolerance(dtype)
	if d := math.Abs(gotLoss - wantLoss); !(d <= 0.1*tolerance*math.Abs(wantLoss)) {
		t.Errorf("loss = %g, want %g", gotLoss, wantLoss)
	}
	gradients := got.gradients()
	sameGradients(t, "", gradients, want.gradients(), tolerance)

	again := train(t, e, m, everything, nil)
	again.keep(q.batch.Len())
	again.loss(q)
	for name, g := range again.gradients() {
		sameBits(t, "with tapes: "+name, g, gradients[name])
	}
	again.loss(q) // gradients are added up
	for name, g := range again.gradients() {
		within(t, "twice: "+name, g, doubled(gradients[name]), 1e-4*(1+largest(gradients[name])))
	}
}

func doubled(xs []float32) []float32 {
	out := slices.Clone(xs)
	for i := range out {
		out[i] *= 2
	}
	return out
}

func largest(xs []float32) (most float64) {
	for _, x := range xs {
		most = max(most, math.Abs(float64(x)))
	}
	return most
}

// sameGradients compares by relative error of each tensor.
func sameGradients(t testing.TB, what string, got, want map[string][]float32, tolerance float64) {
	t.Helper()
	var all float64
	for _, g := range want {
		all = math.Hypot(all, length(g))
	}
	for name, w := range want {
		g, ok := got[name]
		if !ok || len(g) != len(w) {
			t.Errorf("%s%s: no gradient of %d values", what, name, len(w))
			continue
		}
		diff := slices.Clone(g)
		for i := range diff {
			diff[i] -= w[i]
		}
		if d := length(diff) / (length(w) + 1e-3*all); !(d <= tolerance) {
			t.Errorf("%sgradient of %s: relative error %.3g, want at most %g", what, name, d, tolerance)
		}
	}
}

func length(xs []float32) float64 {
	var sum float64
	for _, x := range xs {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum)
}

// adapters gives every linear map of the layers an adapter, B not zero.
func adapters(t testing.TB, e engine.Engine, m *model.Model, rank int, dropout float32) map[string]engine.Adapter {
	out := map[string]engine.Adapter{}
	for i := range m.Spec.Layers {
		for _, w := range m.Spec.LayerWeights(i) {
			if len(w.Shape) == 2 {
				a := newTrainable(t, e, w.Name+".A", []int{rank, w.Shape[1]}, gaussian(rank*w.Shape[1], w.Name+"A", 0.3))
				b := newTrainable(t, e, w.Name+".B", []int{w.Shape[0], rank}, gaussian(rank*w.Shape[0], w.Name+"B", 0.3))
				out[w.Name] = engine.Adapter{A: a, B: b, Scale: 0.7, Dropout: dropout}
			}
		}
	}
	return out
}

func gaussian(n int, name string, scale float64) []float32 {
	random := rand.New(rand.NewPCG(engine.DropoutKey(name), 1))
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(scale * random.NormFloat64())
	}
	return out
}

// testAdapters: adapters beside frozen weights, with dropout, fused maps too.
func testAdapters(t *testing.T, build New) {
	for _, name := range []string{"biases", "chatglm", "gemma2"} {
		for _, dropout := range []float32{0, 0.3} {
			t.Run(fmt.Sprintf("%s/%g", name, dropout), func(t *testing.T) {
				m := trainModels()[name](t)
				run := func(e engine.Engine) (float64, map[string][]float32) {
					r := train(t, e, m, nothing, adapters(t, e, m, 3, dropout))
					q := ragged(m.Spec.Vocab)
					if dropout > 0 {
						q.dropout = &engine.Dropout{Seed: 7, Step: 3, Samples: []int64{4, 5, 6, 7, 8, 9}}
					}
					return r.loss(q), r.gradients()
				}
				wantLoss, want := run(Slow(t))
				gotLoss, got := run(build(t, engine.Float32))
				if d := math.Abs(gotLoss - wantLoss); !(d <= 1e-5*math.Abs(wantLoss)) {
					t.Errorf("loss = %g, want %g", gotLoss, wantLoss)
				}
				sameGradients(t, "", got, want, gradientTolerance(engine.Float32))
			})
		}
	}
}

// testDistil compares the loss against a teacher and its gradients; a teacher
// that is the student costs nothing.
func testDistil(t *testing.T, build New) {
	m := Pico(t, "gemma2")
	run := func(e engine.Engine, temperature float64) (float64, float64, map[string][]float32) {
		r, q := train(t, e, m, everything, nil), ragged(m.Spec.Vocab)
		teacher := load(t, e, m).without(1)
		ctx, n := context.Background(), q.batch.Len()
		r.forward(q)
		hidden, _ := teacher.forward(t, q.batch, nil)
		from := upload(t, teacher, hidden[len(hidden)-1])
		defer from.Release()
		rows, last := q.rows(), r.states[len(r.layers)].Slice(0, n)
		nothing, err := r.head.Distil(ctx, r.head, last, last, rows, q.weights[:len(rows)], temperature, nil)
		r.must(err)
		r.zero()
		loss, err := r.head.Distil(ctx, teacher.head, from, last, rows, q.weights[:len(rows)], temperature, last)
		r.must(err)
		r.backward(q)
		return loss, nothing, r.gradients()
	}
	for _, temperature := range []float64{1, 2.5} {
		want, _, gradients := run(Slow(t), temperature)
		got, nothing, others := run(build(t, engine.Float32), temperature)
		if !(math.Abs(got-want) <= 1e-5*want) || !(math.Abs(nothing) < 1e-4) {
			t.Errorf("temperature %g: loss %g, of the student itself %g; want %g, 0", temperature, got, nothing, want)
		}
		sameGradients(t, fmt.Sprintf("temperature %g: ", temperature), others, gradients, gradientTolerance(engine.Float32))
	}
}

// testDifferences compares every gradient with what the loss does when its tensor
// moves a little, half along the gradient and half anywhere.
func testDifferences(t *testing.T, build New) {
	names := []string{"biases", "gemma2", "baichuan", "chatglm", "qwen3"}
	for turn, name := range names {
		t.Run(name, func(t *testing.T) {
			e, m := build(t, engine.Float32), trainModels()[name](t)
			r, q := train(t, e, m, everything, adapters(t, e, m, 2, 0.3)), ragged(m.Spec.Vocab)
			q.dropout = &engine.Dropout{Seed: 7, Step: 3, Samples: []int64{4, 5, 6, 7, 8, 9}}
			r.loss(q)
			gradients := r.gradients()
			for i, x := range r.all() {
				if i%len(names) == turn || !strings.Contains(x.Name(), "layers.") { // every role has its turn, and all that is outside layers
					differences(t, r, q, x, gradients[x.Name()])
				}
			}
		})
	}
}

func differences(t *testing.T, r *training, q question, x engine.Trainable, g []float32) {
	t.Helper()
	size := length(g)
	if size < 0.05 { // of biases of keys nothing depends on
		return
	}
	at := read(t, x, engine.Master)
	along, anywhere := 1/size, 1/math.Sqrt(float64(len(g)))
	random := gaussian(len(g), x.Name(), 1)
	move := func(by float64) (float64, []float32) {
		to := slices.Clone(at)
		for i := range to {
			to[i] += float32(by * (along*float64(g[i]) + anywhere*float64(random[i])))
		}
		r.must(x.Write(context.Background(), engine.Master, 0, to))
		r.forward(q)
		loss, err := r.head.Loss(context.Background(), r.states[len(r.layers)].Slice(0, q.batch.Len()), q.targets, q.weights, nil)
		r.must(err)
		return loss, to
	}
	by := min(0.1/size, 0.01)
	high, above := move(by)
	low, below := move(-by)
	r.must(x.Write(context.Background(), engine.Master, 0, at))
	var want float64
	for i := range g {
		want += float64(g[i]) * (float64(above[i]) - float64(below[i]))
	}
	if d := high - low; !(math.Abs(d-want) <= 0.02*math.Abs(want)+1e-3*math.Abs(by*size)) {
		t.Errorf("%s: the loss moves by %g, its gradient says %g", x.Name(), d, want)
	}
}

// testTrainingCancelled expects every call to say why its context ended.
func testTrainingCancelled(t *testing.T, build New) {
	e, m := build(t, engine.Float32), pico(t)
	r := train(t, e, m, everything, nil)
	q := question{batch: pack([]int32{1, 2}), targets: []engine.Target{{Row: 0, Token: 2}}, weights: []float32{1}}
	r.loss(q)
	why := errors.New("stopped by the test")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	x, w := r.states[0].Slice(0, 2), r.all()[0]
	values := make([]float32, len(read(t, w, engine.Master)))
	_, loss := r.head.Loss(ctx, x, q.targets, q.weights, x)
	_, distil := r.head.Distil(ctx, r.head, x, x, []int{0}, q.weights, 1, x)
	_, squares := w.GradSquares(ctx)
	for name, err := range map[string]error{
		"Layer.Backward":        r.layers[0].Backward(ctx, &engine.Call{Batch: q.batch}, x, x, x),
		"Embedding.Backward":    r.embed.Backward(ctx, q.batch, x),
		"Head.Loss":             loss,
		"Head.Distil":           distil,
		"Trainable.GradSquares": squares,
		"Trainable.Step":        w.Step(ctx, engine.AdamW{Step: 1}),
		"Trainable.Read":        w.Read(ctx, engine.Master, 0, values),
		"Trainable.Write":       w.Write(ctx, engine.Master, 0, values),
	} {
		if !errors.Is(err, why) {
			t.Errorf("%s on a cancelled context: %v, want %v", name, err, why)
		}
	}
}
