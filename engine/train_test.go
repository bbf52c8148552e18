package engine

import (
	"slices"
	"testing"
)

// Masks drop the share they are asked to, and depend on each part of their key.
func TestDropoutMask(t *testing.T) {
	const n, p = 20000, 0.25
	base := Dropout{Seed: 1, Step: 2}
	mask := func(d Dropout, name string, sample int64, position int32) []float32 {
		keep := make([]float32, n)
		d.Mask(keep, DropoutKey(name), sample, position, p)
		return keep
	}
	want := mask(base, "a", 3, 4)
	dropped := 0
	for _, v := range want {
		switch v {
		case 0:
			dropped++
		case 1 / (1 - float32(p)):
		default:
			t.Fatalf("a mask holds %g", v)
		}
	}
	if share := float64(dropped) / n; share < 0.24 || share > 0.26 {
		t.Errorf("%g of the values are dropped, want about %g", share, p)
	}
	if !slices.Equal(mask(base, "a", 3, 4), want) {
		t.Error("the same key gave two masks")
	}
	for name, other := range map[string][]float32{
		"seed":     mask(Dropout{Seed: 2, Step: 2}, "a", 3, 4),
		"step":     mask(Dropout{Seed: 1, Step: 3}, "a", 3, 4),
		"tensor":   mask(base, "b", 3, 4),
		"sample":   mask(base, "a", 4, 4),
		"position": mask(base, "a", 3, 5),
	} {
		same := 0
		for i := range other {
			if (other[i] == 0) == (want[i] == 0) {
				same++
			}
		}
		if share := float64(same) / n; share > 0.65 { // 0.625 by chance
			t.Errorf("with another %s %g of the mask is the same", name, share)
		}
	}
	keep := make([]float32, 3)
	if base.Mask(keep, 0, 0, 0, 0); !slices.Equal(keep, []float32{1, 1, 1}) {
		t.Errorf("without dropout the mask is %v", keep)
	}
}
