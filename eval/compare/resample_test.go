package compare

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestBinomial: mean, variance and skew of draws are the distribution's, for few and
// many, rare and common.
func TestBinomial(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, tt := range []struct {
		n int
		p float64
	}{{1, .3}, {20, .02}, {50, .5}, {100, .35}, {14042, .0004}, {14042, .27}, {500, .93}, {30, 0}, {30, 1}} {
		const draws = 40000
		var sum, squares float64
		below := 0
		mean, variance := float64(tt.n)*tt.p, float64(tt.n)*tt.p*(1-tt.p)
		for range draws {
			k := binomial(random, tt.n, tt.p)
			if k < 0 || k > tt.n {
				t.Fatalf("%d of %d", k, tt.n)
			}
			sum, squares = sum+float64(k), squares+(float64(k)-mean)*(float64(k)-mean)
			if float64(k) <= mean {
				below++
			}
		}
		if got, slack := sum/draws-mean, 5*math.Sqrt(variance/draws); math.Abs(got) > slack {
			t.Errorf("%v: the mean is off by %v, more than %v", tt, got, slack)
		}
		if got := squares / draws; math.Abs(got-variance) > .05*variance {
			t.Errorf("%v: variance %v, want %v", tt, got, variance)
		}
		want := 0.
		for k := 0; float64(k) <= mean; k++ {
			want += probability(tt.n, k, tt.p)
		}
		if got := float64(below) / draws; math.Abs(got-want) > .015 {
			t.Errorf("%v: %v at most the mean, want %v", tt, got, want)
		}
	}
}

func probability(n, k int, p float64) float64 {
	switch {
	case p != 0 && p != 1:
	case float64(k) == float64(n)*p:
		return 1
	default:
		return 0
	}
	l := func(k int) float64 { v, _ := math.Lgamma(float64(k + 1)); return v }
	return math.Exp(l(n) - l(k) - l(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}

// TestCountsAreDocuments: intervals from counts are those from drawing documents one
// by one, which a weight that is nearly 1 forces.
func TestCountsAreDocuments(t *testing.T) {
	set := drawn(rand.New(rand.NewPCG(5, 6)), 400, .7, .62)
	slow := make([]Pair, len(set))
	for i, p := range set {
		p.Weight = 1 + 1e-12
		slow[i] = p
	}
	a := Strata([][]Pair{set}, nil, Mean, Options{Resamples: 40000, Seed: 1})
	b := Strata([][]Pair{slow}, nil, Mean, Options{Resamples: 40000, Seed: 2})
	if math.Abs(a.Low-b.Low) > .0015 || math.Abs(a.High-b.High) > .0015 {
		t.Errorf("[%v, %v] from counts, [%v, %v] from documents", a.Low, a.High, b.Low, b.High)
	}
}

// TestHolm by hand: .01 x 4, .02 x 3, .03 x 2 (not below .06), .5 x 1.
func TestHolm(t *testing.T) {
	got := Holm([]float64{.03, .01, math.NaN(), .5, .02, 0})
	for i, want := range []float64{.06, .04, math.NaN(), .5, .06, 0} {
		if math.Abs(got[i]-want) > 1e-12 || math.IsNaN(got[i]) != math.IsNaN(want) {
			t.Errorf("%d: %v, want %v", i, got[i], want)
		}
	}
	if got := Holm([]float64{.4, .9}); got[0] != .8 || got[1] != .9 {
		t.Errorf("%v", got)
	}
}
