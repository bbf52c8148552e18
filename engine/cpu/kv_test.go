package cpu_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// TestSlotTakenOver: of a sequence that was not finite nothing is left for the next
// one in its slot.
func TestSlotTakenOver(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 1, Hidden: 64, Heads: 4, KVHeads: 2, FF: 160, Vocab: 600}))
	for _, dtype := range []engine.DType{engine.Float32, engine.BFloat16} {
		t.Run(string(dtype), func(t *testing.T) {
			e, err := cpu.Start(cpu.Options{DType: string(dtype)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = e.Close() }()
			layer, err := e.Fetch(m, 0, engine.LayerOptions{}).Wait(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer layer.Release()
			kv, err := e.NewKV(m, 1, 70)
			if err != nil {
				t.Fatal(err)
			}
			defer kv.Release()
			output := func(rows, past int, value float32) []float32 {
				return through(t, e, m, layer, kv, rows, past, value)
			}
			want := output(3, 0, 1)
			output(40, 3, 1)
			output(1, 43, float32(math.NaN()))
			kv.Truncate(0, 0)
			if got := output(3, 0, 1); !slices.Equal(got, want) {
				t.Errorf("after a NaN in the slot: %v, want %v", got[:4], want[:4])
			}
		})
	}
}

// through is what a layer makes of rows after others in a slot, all of their values alike
// but for the first.
func through(t *testing.T, e *cpu.Engine, m *model.Model, l engine.Layer, kv engine.KV, rows, past int, value float32) []float32 {
	t.Helper()
	x, err := e.NewHidden(m, rows)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Release()
	values := slices.Repeat([]float32{value}, rows*m.Spec.Hidden)
	values[0] = 2
	b := &engine.Batch{}
	b.Continue(make([]int32, rows), 0, past)
	ctx := context.Background()
	if err := x.Write(engine.Values{F32: values}); err != nil {
		t.Fatal(err)
	}
	if err := l.Forward(ctx, &engine.Call{Batch: b, KV: kv}, x, x); err != nil {
		t.Fatal(err)
	}
	out, err := x.Host(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(out)
}
