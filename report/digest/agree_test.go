package digest

import (
	"math"
	"slices"
	"testing"
)

func TestAgreement(t *testing.T) {
	for _, tt := range []struct {
		a, b                []int
		jaccard, correlated float64
	}{
		{[]int{3, 2, 1, 0}, []int{3, 2, 1, 0}, 1, 1},
		{[]int{3, 2, 1, 0}, []int{0, 1, 2, 3}, 1, -1},
		{[]int{0, 1, 2}, []int{0, 2, 1}, 1, .5},
		{[]int{0, 1}, []int{2, 3}, 0, math.NaN()},
		{[]int{0, 1, 2}, []int{2, 3}, .25, math.NaN()},
		{nil, nil, math.NaN(), math.NaN()},
	} {
		if got := Jaccard(tt.a, tt.b); !same(got, tt.jaccard) {
			t.Errorf("Jaccard(%v, %v) = %v, want %v", tt.a, tt.b, got, tt.jaccard)
		}
		if got := RankCorrelation(tt.a, tt.b); !same(got, tt.correlated) {
			t.Errorf("RankCorrelation(%v, %v) = %v, want %v", tt.a, tt.b, got, tt.correlated)
		}
	}
}

func same(a, b float64) bool { return math.Abs(a-b) < 1e-12 || math.IsNaN(a) && math.IsNaN(b) }

func TestPareto(t *testing.T) {
	nan := math.NaN()
	cost, worth := []float64{3, 1, 2, 2, 4, nan, 1}, []float64{.9, .5, .5, .7, .9, 1, .4}
	if got := Pareto(cost, worth); !slices.Equal(got, []int{1, 3, 0}) {
		t.Errorf("the front is %v, want 1, 3, 0", got)
	}
}
