package cpu

import (
	"testing"
)

// TestTransposeRows: both variants write the rows as columns and nothing else.
func TestTransposeRows(t *testing.T) {
	for name, turn := range map[string]func([]float32, int, []float32, int, int, int){"Go": transposeRows, "kernel": kernelsNamed("").transpose} {
		const columns, stride, depth, pitch = 21, 40, 19, 37
		b := noise(columns*stride, false, 3).f32
		panel := make([]float32, depth*pitch)
		fill(panel, 7)
		turn(panel, pitch, b, columns, stride, depth)
		for i := range depth {
			for j := range pitch {
				want := float32(7)
				if j < columns {
					want = b[j*stride+i]
				}
				if got := panel[i*pitch+j]; got != want {
					t.Fatalf("%s: row %d column %d = %g, want %g", name, i, j, got, want)
				}
			}
		}
	}
}

// TestTurnedWeights: laid out for many rows, maps and parts of them have the bits
// that they have as stored, for every number of rows, or are not used.
func TestTurnedWeights(t *testing.T) {
	for _, opt := range []Options{{DType: "float32", Threads: 1}, {DType: "float32", Threads: 1, Provider: OddRows(6, 8)}} {
		e, err := Start(opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		law, ok := e.mul.(*rowLaw)
		if !ok {
			t.Logf("%s lays nothing out", e.info.Provider)
			continue
		}
		for _, s := range []shape{{n: 172, k: 64}, {n: 256, k: 520}, {n: 576, k: 130}} {
			x := &matrix{operand: noise(s.n*s.k, false, 8), out: s.n, in: s.k}
			pitch := pitchOf(s.n)
			y := &matrix{out: s.n, in: s.k, turned: &turned{values: operand{f32: make([]float32, s.k*pitch)}, pitch: pitch}}
			e.k.transpose(y.turned.values.f32, pitch, x.f32, s.n, s.k, s.k)
			const most = 300
			a := noise(most*s.k, false, 7)
			for _, cut := range [][2]int{{0, s.n}, {32, s.n}, {0, 100}, {65, 129}} {
				plain, other := x.rows(cut[0], cut[1]), y.rows(cut[0], cut[1])
				agrees := false
				_ = e.pool.each(1, func(w *worker, _ int) { agrees = law.turnedAgrees(w, plain, other) })
				if !agrees {
					if e.turns() {
						t.Logf("%s, %+v, columns %v: not used", e.info.Provider, s, cut)
					}
					continue
				}
				want, got := make([]float32, most*plain.out), make([]float32, most*plain.out)
				for _, m := range []int{1, 2, 5, 12, 64, 131, most} {
					turnedShape, weights := other.many()
					e.product(plain.shape(), m, a, plain.operand, want)
					e.product(turnedShape, m, a, weights, got)
					if !sameBits(got[:m*plain.out], want) {
						t.Errorf("%s, %+v, columns %v: %d rows have other bits", e.info.Provider, s, cut, m)
					}
				}
			}
		}
	}
}
