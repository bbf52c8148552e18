// Package enginetest is the conformance suite of package engine: goldens of a
// reference implementation, a readable float64 forward pass, batch invariance
// bit for bit, caches, concurrency. A new engine's test file calls [RunAll].
//
// It tests what the interfaces promise, not how an engine keeps it; kernels
// are tested beside their code.
package enginetest

import (
	"context"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// New makes the engine under test in the given dtype.
type New func(testing.TB, engine.DType) engine.Engine

// once starts one engine of each dtype and lends it to every test that asks until
// owner ends, as programs use them: for many models, one after the other.
func once(owner testing.TB, build New) New {
	started := map[engine.DType]engine.Engine{}
	return func(t testing.TB, dtype engine.DType) engine.Engine {
		if started[dtype] == nil {
			started[dtype] = build(lent{t, owner}, dtype)
		}
		return started[dtype]
	}
}

// lent is a test that fails or skips itself, and leaves cleaning up to its owner.
type lent struct {
	testing.TB
	owner testing.TB
}

func (l lent) Cleanup(f func()) { l.owner.Cleanup(f) }

// RunAll runs the suite.
func RunAll(t *testing.T, build New) {
	RunForward(t, build)
	build = once(t, build)
	t.Run("Long", func(t *testing.T) { testLong(t, build) })
	RunGradients(t, build)
	t.Run("Finetuning", func(t *testing.T) { testGradientGoldens(t, build) })
}

// RunGradients is the part of the suite that holds gradients to float64 ones.
func RunGradients(t *testing.T, build New) {
	build = once(t, build)
	t.Run("Gradients", func(t *testing.T) { testGradients(t, build) })
}

// RunForward is the suite without gradients, for what differs from an engine that
// runs all of it in how products are cut up.
func RunForward(t *testing.T, build New) {
	t.Run("Memory", func(t *testing.T) { Memory(t, build) })
	build = once(t, build)
	t.Run("Goldens", func(t *testing.T) { testGoldens(t, build) })
	t.Run("Reference", func(t *testing.T) { testReference(t, build) })
	t.Run("BFloat16", func(t *testing.T) { testBFloat16(t, build) })
	t.Run("Lengths", func(t *testing.T) { testLengths(t, build) })
	t.Run("Trained", func(t *testing.T) { testTrained(t, build) })
	if testkit.IsSlow() {
		t.Run("Widths", func(t *testing.T) { testWidths(t, build) })
	}
	runParts(t, build, "gemma2", "mistral", "chatglm")
}

// RunSome is RunForward on models of two families, Llama and Gemma 2, for engines
// that take long over it.
func RunSome(t *testing.T, build New) {
	t.Run("Memory", func(t *testing.T) { Memory(t, build) })
	build = once(t, build)
	for _, family := range []string{"llama", "gemma2"} {
		t.Run("Goldens/"+family, func(t *testing.T) { Golden(t, build, testkit.Golden(t, family)) })
	}
	t.Run("Reference/odd vocabulary", func(t *testing.T) {
		againstReference(t, build, Open(t, testkit.Llama(t, testkit.Options{Layers: 2, Seed: 11, Vocab: 4111, FF: 77, Heads: 2, KVHeads: 1, HeadDim: 128})))
	})
	t.Run("Reference/gemma2", func(t *testing.T) { againstReference(t, build, Pico(t, "gemma2")) })
	runParts(t, build, "gemma2")
}

// runParts runs the tests of parts and calls on small Llama models, and where
// attention matters on others too.
func runParts(t *testing.T, build New, picos ...string) {
	t.Run("Invariance", func(t *testing.T) { testInvariance(t, build, picos) })
	t.Run("Cache", func(t *testing.T) { testCache(t, build, picos) })
	t.Run("Concurrency", func(t *testing.T) { testConcurrency(t, build) })
	t.Run("Head", func(t *testing.T) { testHead(t, build) })
	t.Run("Divergence", func(t *testing.T) { testDivergence(t, build) })
	t.Run("Calls", func(t *testing.T) { testCalls(t, build, picos) })
	t.Run("Options", func(t *testing.T) { testOptions(t, build) })
	t.Run("Hidden", func(t *testing.T) { testHidden(t, build) })
	t.Run("Gram", func(t *testing.T) { testGram(t, build) })
	t.Run("Cancelled", func(t *testing.T) { testCancelled(t, build) })
}

// Open opens a checkpoint as a model for the duration of the test.
func Open(t testing.TB, dir string) *model.Model {
	t.Helper()
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pico is a small seeded model on which every part of the block has work to do.
func pico(t testing.TB) *model.Model {
	return Open(t, testkit.Llama(t, testkit.Options{Layers: 3, Hidden: 48, Heads: 6, KVHeads: 2, FF: 80, Vocab: 600, DType: "BF16", AttnBias: true, MLPBias: true, Seed: 7}))
}

// wide is a small model with heads of a width that published ones have.
func wide(t testing.TB, width int) *model.Model {
	return Open(t, testkit.Llama(t, testkit.Options{Layers: 2, Hidden: 48, Heads: 2, KVHeads: 1, HeadDim: width, FF: 77, Vocab: 301, DType: "BF16", Seed: 7}))
}

// resident is a model with all its parts loaded.
type resident struct {
	e      engine.Engine
	m      *model.Model
	embed  engine.Embedding
	layers []engine.Layer
	head   engine.Head
}

func load(t testing.TB, e engine.Engine, m *model.Model) *resident {
	t.Helper()
	r := &resident{e: e, m: m}
	var err error
	if r.embed, err = e.Embedding(m, engine.EmbeddingOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.embed.Release)
	for i := range m.Spec.Layers {
		l, err := e.Fetch(m, i, engine.LayerOptions{}).Wait(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Release)
		r.layers = append(r.layers, l)
	}
	if r.head, err = e.Head(m, engine.HeadOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.head.Release)
	return r
}

// without is the model that skips the given layers.
func (r *resident) without(drop ...int) *resident {
	pruned := *r
	pruned.layers = nil
	for i, l := range r.layers {
		if !slices.Contains(drop, i) {
			pruned.layers = append(pruned.layers, l)
		}
	}
	return &pruned
}

// forward returns the hidden states [L+1][N, D] and the logits [N, V]; kvs is
// nil or one cache a layer.
func (r *resident) forward(t testing.TB, b *engine.Batch, kvs []engine.KV) (hidden [][]float32, logits []float32) {
	t.Helper()
	if err := b.Validate(r.m.Spec.Vocab); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	x, err := r.e.NewHidden(r.m, b.Len())
	if err != nil {
		t.Fatal(err)
	}
	defer x.Release()
	if err := r.embed.Forward(ctx, b, x); err != nil {
		t.Fatal(err)
	}
	hidden = append(hidden, values(t, x))
	for i, l := range r.layers {
		var kv engine.KV
		if kvs != nil {
			kv = kvs[i]
		}
		if err := l.Forward(ctx, &engine.Call{Batch: b, KV: kv}, x, x); err != nil {
			t.Fatal(err)
		}
		hidden = append(hidden, values(t, x))
	}
	rows := make([]int, b.Len())
	for i := range rows {
		rows[i] = i
	}
	logits = make([]float32, len(rows)*r.m.Spec.Vocab)
	if err := r.head.Logits(ctx, x, rows, logits); err != nil {
		t.Fatal(err)
	}
	return hidden, logits
}

// values copies hidden states.
func values(t testing.TB, h engine.Hidden) []float32 {
	t.Helper()
	v, err := h.Host(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), v...)
}

// pack makes one batch of independent sequences.
func pack(seqs ...[]int32) *engine.Batch {
	b := &engine.Batch{}
	for _, s := range seqs {
		b.Add(s, engine.NoParent)
	}
	return b
}

// tokens returns n seeded token ids.
func tokens(n, vocab int, seed uint64) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		seed = seed*6364136223846793005 + 1442695040888963407
		ids[i] = int32(seed >> 33 % uint64(vocab))
	}
	return ids
}
