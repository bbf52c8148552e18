package main

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/coppice-ml/coppice/internal/sapling"
)

// TestEvalKept: an evaluation that is there is read, not made again, and a number
// that is not in it is no zero.
func TestEvalKept(t *testing.T) {
	l := &lab{coppice: filepath.Join(t.TempDir(), "none"), dir: t.TempDir()}
	kept := `{"results": {"sapling": {"acc,none": 0.75, "acc_stderr,none": 0.01, "alias": "sapling"}}}`
	if err := os.WriteFile(l.path("dense.json"), []byte(kept), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := l.eval("dense", "model")
	if err != nil || r.mean() != 0.75 || r.stderr(sapling.Group) != 0.01 {
		t.Errorf("%v, %v", r, err)
	}
	if v := r.acc("sapling_piqa"); !math.IsNaN(v) {
		t.Errorf("a task that was not asked has %v", v)
	}
	if _, err := l.eval("cut", "model"); err == nil {
		t.Error("no program, and no error")
	}
}

// TestSpread: by hand.
func TestSpread(t *testing.T) {
	if mean, deviation := spread([]float64{1, 2, 3}); mean != 2 || deviation != 1 {
		t.Errorf("%v, %v", mean, deviation)
	}
	if got := percent([]float64{0.5, 0.52}); got != "51.0 ± 1.4" {
		t.Error(got)
	}
}

// TestAbove: by hand, and without a standard error.
func TestAbove(t *testing.T) {
	if got := above(0.75, 0.25, 0.05); got != "10.0 standard errors" {
		t.Error(got)
	}
	if got := above(1, 0.5, 0); got != "every answer right" {
		t.Error(got)
	}
}
