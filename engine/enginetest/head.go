package enginetest

import (
	"context"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
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

// Metered is implemented by engines that count the bytes of a device's memory.
type Metered interface {
	// DeviceMemory is how many bytes are in use, and the most that were so far.
	DeviceMemory() (now, peak int64)
}

// Memory holds engine.Memory against what the first calls take: of the device, where
// the engine has one and counts it, else of Go's heap.
func Memory(t *testing.T, build New) {
	m := Open(t, testkit.Llama(t, testkit.Options{Layers: 1, Hidden: 256, Heads: 8, KVHeads: 4, FF: 1024, Vocab: 8000, MaxPositions: 4096}))
	e := build(t, engine.Float32)
	const rows = 1500
	x, err := e.NewHidden(m, rows)
	if err != nil {
		t.Fatal(err)
	}
	device, counts := e.(Metered)
	says := e.Memory(m, engine.LayerOptions{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	oneLayer(t, e, m, x, rows)
	runtime.ReadMemStats(&after)
	if !counts {
		took, host := int64(after.TotalAlloc-before.TotalAlloc), says.Host
		if most := host.Layer + host.Embedding + host.Head + 2*host.Row*rows + host.Fixed; took > most {
			t.Errorf("one layer and the head over %d rows allocated %d bytes, more than the %d of %+v", rows, took, most, host)
		}
		x.Release()
		return
	}
	_, peak := device.DeviceMemory()
	if most := says.Device.Layer + says.Device.Embedding + says.Device.Head + (says.Device.Hidden+says.Device.Row)*rows + says.Device.Fixed; peak > most || peak < most/3 {
		t.Errorf("one layer and the head over %d rows took %d bytes of the device, want at most the %d of %+v", rows, peak, most, says.Device)
	}
	if x.Release(); says.Host.Layer != 0 {
		t.Errorf("an engine with a device keeps %d bytes of a layer on the host", says.Host.Layer)
	}
}

// oneLayer runs rows tokens through the model's one layer and its head, and
// releases them.
func oneLayer(t *testing.T, e engine.Engine, m *model.Model, x engine.Hidden, rows int) {
	t.Helper()
	ctx, b := context.Background(), pack(tokens(rows, m.Spec.Vocab, 1))
	r := load(t, e, m)
	if err := r.embed.Forward(ctx, b, x); err != nil {
		t.Fatal(err)
	}
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
}
