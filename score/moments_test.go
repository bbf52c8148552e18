package score

import (
	"math"
	"testing"
)

func TestMomentsOf(t *testing.T) {
	for _, d := range []int{1, 2, 3, 8, 9} {
		x, y := make([]float32, d), make([]float32, d)
		var want moments
		for i := range x {
			x[i], y[i] = float32(i+1), float32(2*i-3) // sums are exact
			a, b := float64(x[i]), float64(y[i])
			want.xx, want.xy, want.yy, want.dd = want.xx+a*a, want.xy+a*b, want.yy+b*b, want.dd+(b-a)*(b-a)
		}
		if got := momentsOf(x, y); got != want {
			t.Errorf("D = %d: %+v, want %+v", d, got, want)
		}
	}
}

// Squares of the largest float32 do not overflow float64.
func TestMomentsOfLargeStates(t *testing.T) {
	x := []float32{math.MaxFloat32, -math.MaxFloat32}
	m := momentsOf(x, x)
	if c := m.cos(); math.Abs(c-1) > 1e-15 || !finite(m.xx) {
		t.Errorf("cos = %v of %+v, want 1", c, m)
	}
}

// BenchmarkMomentsOf is what one token costs a layer on top of the forward pass.
//
//	go test ./score -run '^$' -bench MomentsOf
func BenchmarkMomentsOf(b *testing.B) {
	x, y := make([]float32, 2048), make([]float32, 2048)
	for i := range x {
		x[i], y[i] = float32(i), float32(i*i)
	}
	b.SetBytes(int64(8 * len(x)))
	for b.Loop() {
		momentsOf(x, y)
	}
}
