package stat

import (
	"math"
	"testing"

	"github.com/coppice-ml/coppice/report"
)

// results are of one task and of a group of two, by document.
func results(first, second []report.Number) *report.EvalFile {
	list := func(v []report.Number) map[string]report.EvalList {
		return map[string]report.EvalList{"acc,none": {Aggregation: "mean", HigherIsBetter: true, Values: v}}
	}
	return &report.EvalFile{
		Documents: map[string]map[string]report.EvalList{"a": list(first), "b": list(second)},
		Coppice: report.EvalOrigin{
			Datasets: map[string]report.EvalDataset{"a": {Hash: "1"}, "b": {Hash: "2"}},
			Means:    map[string]report.EvalMean{"both": {Metrics: []string{"acc,none"}, Weights: map[string]float64{"a": .5, "b": .5}}},
		},
	}
}

func TestBetween(t *testing.T) {
	x := results([]report.Number{1, 1, 0, 1, 1, 1, 1, 1}, []report.Number{1, 0})
	y := results([]report.Number{0, 0, 0, 0, 0, 0, 0, 0}, []report.Number{1, 1})
	means := Means(x)
	if len(means) != 1 || means[0].Name != "both" {
		t.Fatalf("means %+v", means)
	}
	d, ok, err := Between(x, y, means[0], Options{Seed: 1})
	if err != nil || !ok || math.Abs(float64(d.A)-(.875+.5)/2) > 1e-12 || math.Abs(float64(d.B)-.5) > 1e-12 || d.OnlyA != 7 || d.OnlyB != 1 || d.N != 10 {
		t.Errorf("%+v, %v, %v", d, ok, err)
	}
	d, ok, err = Between(x, y, Task("a", "acc,none"), Options{Seed: 1})
	if err != nil || !ok || !d.Worse || !d.Significant || math.Abs(float64(d.P)-2./128) > 1e-9 {
		t.Errorf("task a: %+v, %v, %v", d, ok, err)
	}
	if d, _, _ = Between(x, x, means[0], Options{}); d.Significant || d.Difference != 0 || d.Low != 0 || d.High != 0 || d.P != 1 {
		t.Errorf("the same against itself: %+v", d)
	}
	if _, ok, err = Between(x, y, Task("a", "f1,none"), Options{}); ok || err != nil {
		t.Errorf("a metric that is not there: %v, %v", ok, err)
	}
	if _, _, err = Between(x, results([]report.Number{1}, []report.Number{1, 1}), Task("a", "acc,none"), Options{}); err == nil {
		t.Error("lists of different lengths are compared")
	}
	if !Same(x, y, means[0]) {
		t.Error("the same documents are taken for others")
	}
	y.Coppice.Datasets["b"] = report.EvalDataset{Hash: "3"}
	if Same(x, y, means[0]) || !Same(x, y, Task("a", "acc,none")) {
		t.Error("other documents are taken for the same")
	}
}

func TestChanceAndRecovery(t *testing.T) {
	nan := report.Number(math.NaN())
	for _, tt := range []struct {
		value, stderr report.Number
		chance        float64
		want          bool
	}{{.25, .02, .25, true}, {.29, .02, .25, true}, {.291, .02, .25, false}, {.2, .02, .25, false}, {.25, .02, 0, false}, {nan, .02, .25, false}, {.25, nan, .25, false}} {
		if got := AtChance(tt.value, tt.stderr, tt.chance); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	if got := Recovery(.8, .4, .6, .1); math.Abs(float64(got)-.5) > 1e-12 {
		t.Errorf("recovery %v", got)
	}
	if got := Recovery(.8, .4, .6, report.Number(math.NaN())); math.Abs(float64(got)-.5) > 1e-12 {
		t.Errorf("standard error not known: recovery %v, want .5", got)
	}
	if got := Recovery(.45, .4, .6, .03); got.Finite() {
		t.Errorf("recovery %v of what cannot be told from chance", got)
	}
	if got := Recovery(.4, .4, .6, 0); got.Finite() {
		t.Errorf("nothing was lost and %v of it recovered", got)
	}
	if got := Holm([]report.Number{.01, nan, .04}); math.Abs(float64(got[0])-.02) > 1e-12 || got[1].Finite() || got[2] != .04 {
		t.Errorf("Holm %v", got)
	}
}
