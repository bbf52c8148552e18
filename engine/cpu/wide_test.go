package cpu_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// TestWideWorkers: rows laid out for all workers have the bits of those that one worker
// computes, whatever their number, of several sequences and after others in a cache.
func TestWideWorkers(t *testing.T) {
	if !cpu.Tiled(newEngine(t, cpu.Options{DType: "bfloat16", Threads: 1})) {
		t.Skip("needs a processor that multiplies bfloat16")
	}
	for name, m := range map[string]*model.Model{
		"llama":  enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 1, Hidden: 96, HeadDim: 40, Heads: 6, KVHeads: 2, FF: 700, Vocab: 300, DType: "BF16", MaxPositions: 1024})),
		"deep":   enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 1, Hidden: 64, Heads: 2, KVHeads: 1, FF: 2090, Vocab: 300, DType: "BF16", MaxPositions: 1024})),
		"opt":    enginetest.Pico(t, "opt"),    // biases and no gate
		"cohere": enginetest.Pico(t, "cohere"), // parallel
		"gemma2": enginetest.Pico(t, "gemma2"), // norms behind
	} {
		t.Run(name, func(t *testing.T) {
			for _, rows := range []int{5, 33, 100, 255, 257, 300, 511, 513} {
				if rows > m.Spec.MaxPositions {
					continue
				}
				var want []float32
				for _, threads := range []int{1, 2, 3, 16} {
					got := wideOutput(t, m, rows, threads)
					if want == nil {
						want = got
					} else if !slices.Equal(got, want) {
						t.Errorf("%d rows, %d workers: not what one gives", rows, threads)
					}
				}
			}
		})
	}
}

// wideOutput is what the first layer makes of a sequence of rows beside a short one, and of
// a few more of the first.
func wideOutput(t *testing.T, m *model.Model, rows, threads int) (out []float32) {
	t.Helper()
	e, err := cpu.Start(cpu.Options{DType: "bfloat16", Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	embed, err := e.Embedding(m, engine.EmbeddingOptions{})
	must(err)
	defer embed.Release()
	layer, err := e.Fetch(m, 0, engine.LayerOptions{}).Wait(ctx)
	must(err)
	defer layer.Release()
	kv, err := e.NewKV(m, 2, rows)
	must(err)
	defer kv.Release()
	for _, lengths := range [][2]int{{rows - 3, 2}, {3, 3}} {
		b := &engine.Batch{}
		for slot, n := range lengths {
			past := 0
			if lengths[1] == 3 {
				past = []int{rows - 3, 2}[slot]
			}
			b.Segments = append(b.Segments, engine.Segment{Start: b.Len(), Len: n, Parent: engine.NoParent, Past: past, Slot: slot})
			for i := range n {
				b.Tokens, b.Positions = append(b.Tokens, int32((past+i)*7%50)), append(b.Positions, int32(past+i))
			}
		}
		x, err := e.NewHidden(m, b.Len())
		must(err)
		must(embed.Forward(ctx, b, x))
		must(layer.Forward(ctx, &engine.Call{Batch: b, KV: kv}, x, x))
		y, err := x.Host(ctx)
		must(err)
		out = append(out, y[:b.Len()*m.Spec.Hidden]...)
		x.Release()
	}
	return out
}

// TestWideMemory: what an engine says of memory holds where it multiplies bfloat16.
func TestWideMemory(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 16} {
		t.Run(fmt.Sprint(threads), func(t *testing.T) {
			enginetest.Memory(t, func(t testing.TB, _ engine.DType) engine.Engine {
				e, err := cpu.Start(cpu.Options{DType: "bfloat16", Threads: threads})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = e.Close() })
				return e
			})
		})
	}
}
