package number

import (
	"math"
	"testing"

	"github.com/coppice-ml/coppice/safetensors"
)

// TestExact: every 16-bit number survives a way through float32, NaN as a NaN.
func TestExact(t *testing.T) {
	for _, c := range []struct {
		name string
		from func(uint16) float32
		to   func(float32) uint16
	}{{"bfloat16", FromBF16, ToBF16}, {"half", FromF16, ToF16}} {
		for h := range 1 << 16 {
			v := c.from(uint16(h))
			back := c.to(v)
			if v != v {
				if w := c.from(back); w == w {
					t.Fatalf("%s %#x: a NaN becomes %g", c.name, h, w)
				}
			} else if back != uint16(h) {
				t.Fatalf("%s %#x is %g, which becomes %#x", c.name, h, v, back)
			}
		}
	}
}

func TestRounding(t *testing.T) {
	for _, c := range []struct {
		x          float32
		bf16, half uint16
	}{
		{1, 0x3f80, 0x3c00}, {-2, 0xc000, 0xc000}, {1 + 1./256, 0x3f80, 0x3c04}, // a tie of bfloat16 goes to even
		{1 + 3./256, 0x3f82, 0x3c0c}, {1 + 1./2048, 0x3f80, 0x3c00}, {1 + 3./2048, 0x3f80, 0x3c02},
		{65519, 0x4780, 0x7bff}, {65520, 0x4780, 0x7c00}, {1e10, 0x5015, 0x7c00}, {5.9604645e-08, 0x3380, 1},
		{2.9802322e-08, 0x3300, 0}, {2.9802326e-08, 0x3300, 1}, {float32(math.Inf(-1)), 0xff80, 0xfc00},
	} {
		if got := ToBF16(c.x); got != c.bf16 {
			t.Errorf("bfloat16 of %g: %#x, want %#x", c.x, got, c.bf16)
		}
		if got := ToF16(c.x); got != c.half {
			t.Errorf("half of %g: %#x, want %#x", c.x, got, c.half)
		}
	}
}

func TestRuns(t *testing.T) {
	values := []float32{0, 1, -2.5, 0.00390625}
	for _, d := range []safetensors.DType{safetensors.F32, safetensors.BF16, safetensors.F16} {
		raw, back := make([]byte, len(values)*d.Size()), make([]float32, len(values))
		Narrow(raw, values, d)
		Widen(back, raw, d)
		for i, v := range values {
			if back[i] != v {
				t.Errorf("%s: %g becomes %g", d, v, back[i])
			}
		}
	}
}
