package cpu

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Gram against sums in float64 of the inputs as the engine rounds them; sizes
// leave bands and the provider's tiles unfilled.
func TestGram(t *testing.T) {
	for _, opt := range []Options{{DType: "float32"}, {DType: "bfloat16"}, {DType: "float32", OneDNN: "off"}, {DType: "bfloat16", OneDNN: "off"}} {
		t.Run(fmt.Sprintf("%s onednn=%s", opt.DType, opt.OneDNN), func(t *testing.T) {
			e, err := Start(opt)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = e.Close() }()
			for _, size := range [][2]int{{1, 8}, {2, 24}, {gramBand, 32}, {gramBand + 5, 40}, {3*gramBand - 1, 64}} {
				checkGram(t, e, size[0], size[1])
			}
		})
	}
}

func checkGram(t *testing.T, e *Engine, n, d int) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(n), uint64(d)))
	x, out := make([]float32, n*d), make([]float32, n*(n+1)/2)
	for i := range x {
		x[i] = float32(random.NormFloat64())
	}
	h, err := e.NewHidden(&model.Model{Spec: &model.Spec{Hidden: d}}, n)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	if err := h.Write(engine.Values{F32: x}); err != nil {
		t.Fatal(err)
	}
	if err := e.Gram(context.Background(), h, n, out); err != nil {
		t.Fatal(err)
	}
	round := func(v float32) float64 {
		if e.half {
			v = fromBF16(roundBF16(v))
		}
		return float64(v)
	}
	for i := range n {
		for j := range i + 1 {
			var want float64
			for k := range d {
				want += round(x[i*d+k]) * round(x[j*d+k])
			}
			if got := float64(out[i*(i+1)/2+j]); math.Abs(got-want) > 1e-5*float64(d) {
				t.Fatalf("[%d, %d]: (%d, %d) = %v, want %v", n, d, i, j, got, want)
			}
		}
	}
}
