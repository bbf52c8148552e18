package heal

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/resident"
)

// workbench is a model some of which trains, and what it trains on.
type workbench struct {
	m     *model.Model
	sel   Selection
	adapt Adapters
	batch []Sample
	dtype string
	kept  []int
}

// how says how gradients are computed; none of it may change them.
type how struct {
	threads int
	tapes   bool
	group   int
	streams bool
	packing packing
}

// gradients returns the loss and all gradients, by name.
func (w *workbench) gradients(t *testing.T, h how) (float64, map[string][]float32) {
	t.Helper()
	ctx := context.Background()
	e, err := cpu.New(cpu.Options{DType: w.dtype, Threads: h.threads})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	chosen, err := w.sel.Choose(w.m.Spec, w.kept)
	if err != nil {
		t.Fatal(err)
	}
	set, err := NewSet(ctx, e, w.m, chosen, w.adapt, engine.Float32, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Release()
	for _, a := range set.Trained.Adapters { // B zero would hide A's gradient
		values := make([]float32, elements(a.B.Shape()))
		for i := range values {
			values[i] = float32(i%7-3) * .01
		}
		if err := a.B.Write(ctx, engine.Master, 0, values); err != nil {
			t.Fatal(err)
		}
	}
	o := resident.Options{Trained: &set.Trained}
	if h.streams {
		o.Budget.Host = 1
	}
	parts := resident.New(w.m, e, o)
	defer parts.Close()
	if h.streams {
		f := parts.Plan(resident.Need{Layers: w.kept, Head: true, Tokens: 64, Longest: 64, Batch: 64, States: 8, Backward: true})
		if f.Keep {
			t.Fatal("the layers stay")
		}
		parts.Use(f)
	}
	net := &network{e: e, m: w.m, parts: parts, layers: w.kept, low: chosen.Low, tapes: h.tapes, group: h.group}
	defer net.close()
	ids := make([]int64, len(w.batch))
	for i := range ids {
		ids[i] = int64(i)
	}
	var drop *engine.Dropout
	if w.adapt.Dropout > 0 {
		drop = &engine.Dropout{Seed: 9, Step: 3}
	}
	micros := h.packing.pack(w.batch, ids)
	var weight float64
	for _, m := range micros {
		weight += m.sum()
	}
	loss, err := net.gradients(ctx, micros, 1/weight, drop)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]float32{}
	for _, x := range set.List {
		g := make([]float32, elements(x.Shape()))
		if err := x.Read(ctx, engine.Gradient, 0, g); err != nil {
			t.Fatal(err)
		}
		out[x.Name()] = g
	}
	return loss, out
}

// templated are samples that begin with one of two templates and learn their ends.
func templated(vocab, n int) []Sample {
	r := rand.New(rand.NewPCG(4, 4))
	draw := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = int32(r.IntN(vocab))
		}
		return out
	}
	common := draw(9)
	templates := [][]int32{append(slices.Clone(common), draw(30)...), append(slices.Clone(common), draw(40)...)}
	var out []Sample
	for i := range n {
		s := Sample{Tokens: slices.Concat(templates[i%2], draw(5+r.IntN(20)), draw(3))}
		prompt := len(s.Tokens) - 1 - r.IntN(8)
		for j, id := range s.Tokens {
			if j < prompt && i%3 > 0 || j == 0 {
				id = Ignore
			}
			s.Labels = append(s.Labels, id)
		}
		out = append(out, s)
	}
	return out
}

func bench(t *testing.T, tied bool, sel Selection, a Adapters) *workbench {
	t.Helper()
	c, err := checkpoint.Open(testkit.Llama(t, testkit.Options{Layers: 4, Seed: 3, Tied: tied, AttnBias: true}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if a.Rank == 0 {
		a.Rank, a.Alpha = 4, 8
	}
	return &workbench{m: m, sel: sel, adapt: a, batch: templated(m.Spec.Vocab, 14), dtype: "float32", kept: []int{0, 1, 3}}
}

func benches(t *testing.T) map[string]*workbench {
	partial := Selection{Method: Partial, Last: 2, Head: true, Norm: true}
	return map[string]*workbench{
		"partial":       bench(t, false, partial, Adapters{}),
		"tied":          bench(t, true, partial, Adapters{}),
		"full":          bench(t, false, Selection{Method: Full}, Adapters{}),
		"head alone":    bench(t, false, Selection{Method: Partial, Head: true}, Adapters{}),
		"lora":          bench(t, false, Selection{Method: LoRA, Targets: []string{"all"}}, Adapters{}),
		"lora, dropout": bench(t, false, Selection{Method: LoRA, Targets: []string{"q", "v"}}, Adapters{Rank: 2, Alpha: 4, Dropout: .4}),
	}
}

// TestSameBits: memory, workers and what is kept for the backward pass change no bit.
func TestSameBits(t *testing.T) {
	for name, w := range benches(t) {
		for _, dtype := range []string{"float32", "bfloat16"} {
			t.Run(name+"/"+dtype, func(t *testing.T) {
				w.dtype = dtype
				p := packing{tokens: 150, share: w.adapt.Dropout == 0}
				loss, want := w.gradients(t, how{threads: 1, tapes: true, group: 1 << 20, packing: p})
				for _, h := range []how{
					{threads: 2, tapes: true, group: 1}, {threads: 3, group: 1}, {threads: 2, group: 1 << 20},
					{threads: 1, group: 300, streams: true}, {threads: 2, group: 1 << 20, streams: true},
				} {
					h.packing = p
					l, got := w.gradients(t, h)
					if l != loss {
						t.Errorf("%+v: loss %v, want %v", h, l, loss)
					}
					for n, g := range want {
						if !slices.Equal(got[n], g) {
							t.Errorf("%+v: gradient of %s is another (%g)", h, n, testkit.RelL2(got[n], g))
						}
					}
				}
			})
		}
	}
}

// TestNeeded: what the loss does not need changes no gradient, nor does how
// samples are packed.
func TestNeeded(t *testing.T) {
	for name, w := range benches(t) {
		packings := []packing{{tokens: 200}, {tokens: 1}}
		if w.adapt.Dropout == 0 {
			packings = append(packings, packing{tokens: 200, share: true}, packing{tokens: 1 << 20, share: true}, packing{tokens: 1, share: true})
		}
		for dtype, limit := range map[string]float64{"float32": 1e-5, "bfloat16": 2e-2} {
			t.Run(name+"/"+dtype, func(t *testing.T) {
				w.dtype = dtype
				loss, want := w.gradients(t, how{threads: 2, group: 1 << 20, packing: packing{tokens: 200, all: true}})
				for _, p := range packings {
					l, got := w.gradients(t, how{threads: 2, group: 1 << 20, packing: p})
					if d := l - loss; d > limit || d < -limit {
						t.Errorf("%+v: loss %v, want %v", p, l, loss)
					}
					for n, g := range want {
						if d := testkit.RelL2(got[n], g); !(d <= limit) && !tiny(g) {
							t.Errorf("%+v: gradient of %s differs by %g", p, n, d)
						}
					}
				}
			})
		}
	}
}

// tiny tells gradients that are zero but for rounding, as those of key biases are.
func tiny(g []float32) bool {
	return !slices.ContainsFunc(g, func(x float32) bool { return x > 1e-6 || x < -1e-6 })
}
