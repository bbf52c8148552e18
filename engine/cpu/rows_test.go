package cpu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func newLaw(t *testing.T, p Provider, k *kernels) *Engine {
	t.Helper()
	e, err := New(Options{DType: "auto", Threads: 1, Provider: p, Kernels: k.name})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// TestRowLaw: quanta are found as they are, and products of any number of rows in
// operands of exactly so many give what the kernels give, beyond them nothing.
func TestRowLaw(t *testing.T) {
	for _, rows := range [][2]int{{2, 8}, {6, 24}, {8, 2}, {12, 6}, {16, 12}, {24, 16}, {2, 0}, {64, 48}} {
		e := newLaw(t, OddRows(rows[0], rows[1]), kernelsNamed(""))
		// products of the probe are too small for quanta above 24: units of shapes show them
		if got := [2]int{e.mul.quantum(false), e.mul.quantum(true)}; got != rows && rows[0] <= 24 {
			t.Errorf("quanta %v, want %v", got, rows)
		}
		if e.mul.half() != (rows[1] > 0) || e.half != e.mul.half() {
			t.Errorf("%v: bfloat16 %v", rows, e.mul.half())
		}
		for _, s := range []shape{{n: 64, k: 64}, {n: 65, k: 64}, {n: 35, k: 172}, {n: 70, k: 100, plain: true}, {n: 1, k: 2}} {
			for _, m := range []int{1, 2, 5, 6, 7, 23, 48, 64, 100, 131, 256, 258, 500} {
				t.Run(fmt.Sprintf("%v/%d x %+v", rows, m, s), func(t *testing.T) { productOf(t, e, s, m) })
			}
		}
	}
}

func productOf(t *testing.T, e *Engine, s shape, m int) {
	a, b := noise(m*s.k, false, 5), noise(s.n*s.k, false, 6)
	want, got := make([]float32, m*s.n), make([]float32, m*s.n+1)
	goMultiplier{e.k}.product(nil, s, m, a, b, want)
	if s.k%5 == 0 {
		e.k.scale(want, 1+float32(s.n%7)/(1<<23))
	}
	got[m*s.n] = 77
	e.product(s, m, a, b, got[:m*s.n])
	if !sameFloats(got[:m*s.n], want) {
		t.Error("rows differ from those of the kernels")
	}
	if got[m*s.n] != 77 {
		t.Error("wrote past the end")
	}
}

// hopeless never gives a row the same bits twice, or fails.
type hopeless struct {
	oddRows
	calls float32
	err   error
	bf16  bool
}

func (h *hopeless) half() bool { return h.bf16 }

func (h *hopeless) law(workers int, k *kernels) (*rowLaw, error) {
	return newRowLaw(h, workers, k, 0)
}

func (h *hopeless) multiply(_ int, key shapeKey, m int, _, _ operand, dst []float32) error {
	if h.bf16 && !key.half {
		for i := range m * key.n {
			dst[i] = float32(i % key.n)
		}
		return nil
	}
	h.calls++
	fill(dst[:m*key.n], h.calls)
	return h.err
}

// TestHopeless: what cannot be used is an error, or, of bfloat16 alone, a note.
func TestHopeless(t *testing.T) {
	for name, c := range map[string]struct {
		p    *hopeless
		want string
	}{
		"rows":   {&hopeless{}, "depend on the number of rows"},
		"errors": {&hopeless{err: errors.New("no such kernel")}, "no such kernel"},
	} {
		if _, err := New(Options{Provider: c.p}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		c.p.bf16 = true
		e, err := New(Options{Provider: c.p})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if notes := fmt.Sprint(e.info.Notes); e.half || !strings.Contains(notes, c.want) {
			t.Errorf("%s: bfloat16 %v, notes %s", name, e.half, notes)
		}
		_ = e.Close()
	}
}

// TestFailures: a product that fails, and a bug, end the call and not the process.
func TestFailures(t *testing.T) {
	e := newLaw(t, OddRows(6, 8), kernelsNamed(""))
	err := e.pool.each(3, func(w *worker, _ int) {
		e.mul.product(w, shape{n: 4, k: 4}, 7, noise(24, false, 1), noise(16, false, 1), make([]float32, 28))
	})
	if err == nil {
		t.Error("a product beyond its operand succeeded")
	}
	err = e.pool.each(3, func(*worker, int) { panic("a bug") })
	if err == nil || !strings.Contains(err.Error(), "a bug") {
		t.Errorf("a panic became %v", err)
	}
	if err := e.pool.each(3, func(*worker, int) {}); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// TestRuns cuts depths as oneDNN's kernels for AVX2 cut them.
func TestRuns(t *testing.T) {
	for _, c := range []struct {
		runs runs
		k    int
		ends []int
	}{
		{runs{length: 256}, 576, []int{256, 512, 576}},
		{runs{length: 256, halves: true}, 576, []int{256, 416, 576}},
		{runs{length: 256, halves: true}, 512, []int{256, 512}},
		{runs{length: 256, halves: true}, 257, []int{129, 257}},
		{runs{length: 256, halves: true}, 256, []int{256}},
		{runs{length: 256, halves: true}, 100, []int{100}},
	} {
		var ends []int
		for from := 0; from < c.k; from = ends[len(ends)-1] {
			ends = append(ends, c.runs.end(from, c.k))
		}
		if !slices.Equal(ends, c.ends) {
			t.Errorf("%+v of %d ends at %v, want %v", c.runs, c.k, ends, c.ends)
		}
	}
}

// TestOrders: products of few rows of common widths go through kernels of our own,
// which read weights as fast as memory gives them: the order of sums is found.
func TestOrders(t *testing.T) {
	e, err := New(Options{DType: "float32", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	law, ok := e.mul.(*rowLaw)
	if !ok || e.k.name == "scalar" || !strings.HasPrefix(law.name(), "oneDNN 2.") {
		t.Skip("needs oneDNN 2 and vector kernels")
	}
	for _, s := range []shape{{n: 64, k: 576}, {n: 64, k: 1536}, {n: 64, k: 2048}, {n: 64, k: 64}, {n: 48, k: 320}, {n: 48, k: 1000}} {
		_ = e.pool.each(1, func(w *worker, _ int) {
			if r := law.order(w, s, noise(s.k, false, 3), noise(s.n*s.k, false, 7)); r.length == 0 {
				t.Errorf("%s: the order of sums over %d values is not known", law.name(), s.k)
			}
		})
	}
}
