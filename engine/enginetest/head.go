package enginetest

import (
	"context"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// testDivergence compares the fused head's KL with that of its logits, and asks
// that it depend on the two rows alone.
func testDivergence(t *testing.T, build New) {
	m := pico(t)
	r := load(t, build(t, engine.Float32), m)
	v := m.Spec.Vocab
	b := pack(tokens(70, v, 4))
	states, p := r.forward(t, b, nil)
	other, q := r.without(1).forward(t, b, nil)
	hp, hq := upload(t, r, states[len(states)-1]), upload(t, r, other[len(other)-1])
	defer hp.Release()
	defer hq.Release()
	kl := func(q []engine.Hidden, rows ...int) [][]float64 {
		out := make([][]float64, len(q))
		for i := range out {
			out[i] = make([]float64, len(rows))
		}
		if err := r.head.KL(context.Background(), hp, q, rows, out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	rows := make([]int, 70)
	for i := range rows {
		rows[i] = 69 - i
	}
	got := kl([]engine.Hidden{hq, hp}, rows...)
	for i, row := range rows {
		if want := divergence(p[row*v:][:v], q[row*v:][:v]); math.Abs(got[0][i]-want) > 1e-6 {
			t.Errorf("row %d: KL %g, want %g", row, got[0][i], want)
		}
		if got[1][i] > 1e-7 {
			t.Errorf("row %d: KL of a row with itself = %g", row, got[1][i])
		}
	}
	if few := kl([]engine.Hidden{hq}, 3, 69); !slices.Equal(few[0], []float64{got[0][66], got[0][0]}) {
		t.Errorf("rows 3 and 69 alone: %v, among others %v, %v", few[0], got[0][66], got[0][0])
	}
}

// divergence is KL(softmax(a) || softmax(b)).
func divergence(a, b []float32) (kl float64) {
	za, zb := logSum(a), logSum(b)
	for i := range a {
		logP := float64(a[i]) - za
		kl += math.Exp(logP) * (logP - float64(b[i]) + zb)
	}
	return kl
}

func logSum(xs []float32) float64 {
	var sum float64
	for _, x := range xs {
		sum += math.Exp(float64(x))
	}
	return math.Log(sum)
}

// testMemory holds Memory against what the first calls allocate.
func testMemory(t *testing.T, build New) {
	m := Open(t, testkit.Llama(t, testkit.Options{Layers: 1, Hidden: 256, Heads: 8, KVHeads: 4, FF: 1024, Vocab: 8000, MaxPositions: 4096}))
	e := build(t, engine.Float32)
	const rows = 1500
	b := pack(tokens(rows, m.Spec.Vocab, 1))
	x, err := e.NewHidden(m, rows)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Release()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := load(t, e, m)
	ctx := context.Background()
	if err := r.layers[0].Forward(ctx, &engine.Call{Batch: b}, x, x); err != nil {
		t.Fatal(err)
	}
	targets := make([]engine.Target, rows)
	for i := range targets {
		targets[i].Row = i
	}
	if err := r.head.LogProbs(ctx, x, targets, make([]engine.TokenScore, rows)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	says := e.Memory(m, engine.LayerOptions{}).Host
	if took, most := int64(after.TotalAlloc-before.TotalAlloc), says.Layer+2*says.Row*rows+says.Fixed; took > most {
		t.Errorf("one layer and the head over %d rows allocated %d bytes, more than the %d of %+v", rows, took, most, says)
	}
}
