package compare

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// drawn are documents of which A has a share pa right and B pb, correlated as
// two prunings of one model are: most documents go the same way.
func drawn(random *rand.Rand, n int, pa, pb float64) []Pair {
	out := make([]Pair, n)
	for i := range out {
		out[i].Weight = 1
		u := random.Float64()
		v := u
		if random.Float64() < 0.3 {
			v = random.Float64()
		}
		if u < pa {
			out[i].A = 1
		}
		if v < pb {
			out[i].B = 1
		}
	}
	return out
}

// TestCoverage: 95 % intervals hold a known difference in 93 to 97 % of 1000
// simulated comparisons.
func TestCoverage(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b float64
		n    int
	}{
		{"worse by 3 points", 0.70, 0.67, 500},
		{"no difference", 0.55, 0.55, 1172},
		{"worse by 10 points", 0.80, 0.70, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			held := 0
			for i := range 1000 {
				d := Strata([][]Pair{drawn(random, tt.n, tt.a, tt.b)}, nil, Mean, Options{Resamples: 500, Seed: uint64(i)})
				if d.Low <= tt.b-tt.a && tt.b-tt.a <= d.High {
					held++
				}
			}
			t.Logf("the interval holds the difference %d times of 1000", held)
			if held < 930 || held > 970 {
				t.Errorf("the interval holds the difference %d times of 1000, want 930 to 970", held)
			}
		})
	}
}

// TestIdentical: two results that are the same are not different.
func TestIdentical(t *testing.T) {
	set := drawn(rand.New(rand.NewPCG(3, 4)), 300, 0.6, 0.6)
	for i := range set {
		set[i].B = set[i].A
	}
	d := Strata([][]Pair{set}, nil, Mean, Options{})
	if d.Difference != 0 || d.Low != 0 || d.High != 0 || d.P != 1 || d.Significant() || d.Worse(true) {
		t.Errorf("%+v", d)
	}
	if s := d.Sentence("piqa acc", true); !strings.Contains(s, "the same results") {
		t.Errorf("sentence %q", s)
	}
}

// Two tasks of very different size: the many documents of one speak for A, the
// mean of the two for B. The test is of the mean.
func TestMeanOfTasks(t *testing.T) {
	set := func(onlyA, onlyB, both int) []Pair {
		var out []Pair
		for range onlyA {
			out = append(out, Pair{A: 1, Weight: 1})
		}
		for range onlyB {
			out = append(out, Pair{B: 1, Weight: 1})
		}
		for range both {
			out = append(out, Pair{A: 1, B: 1, Weight: 1})
		}
		return out
	}
	small, large := set(0, 50, 50), set(260, 200, 2000)
	d := Strata([][]Pair{small, large}, nil, Mean, Options{Seed: 1})
	if want := (.5 - 60./2460) / 2; math.Abs(d.Difference-want) > 1e-12 || d.OnlyA != 260 || d.OnlyB != 250 {
		t.Fatalf("difference %+v, want %v", d, want)
	}
	if d.P > .001 || !d.Significant() || d.Worse(true) {
		t.Errorf("p %v: B is better by %v, interval %v to %v", d.P, d.Difference, d.Low, d.High)
	}
	back := Strata([][]Pair{swapped(small), swapped(large)}, nil, Mean, Options{Seed: 1})
	if !back.Worse(true) || !strings.Contains(back.Sentence("mean acc", true), "B is worse than A") {
		t.Errorf("swapped: %s", back.Sentence("mean acc", true))
	}
	// The large task alone is McNemar's: 200 of 460 coins.
	if d := Strata([][]Pair{large}, nil, Mean, Options{Seed: 1}); math.Abs(d.P-0.005966) > 1e-4 || !d.Worse(true) {
		t.Errorf("one task: p %v", d.P)
	}
	// Few documents that differ: 2 of 2 in each of two tasks, exactly 2/16.
	few := set(0, 2, 8)
	if d := Strata([][]Pair{few, few}, nil, Mean, Options{Seed: 1, Resamples: 40000}); math.Abs(d.P-2./16) > .01 || d.Significant() {
		t.Errorf("few documents: p %v, want 1/8", d.P)
	}
	if d := Strata([][]Pair{set(0, 0, 5), set(0, 0, 7)}, nil, Mean, Options{}); d.P != 1 || d.Significant() {
		t.Errorf("no difference: %+v", d)
	}
}

func swapped(set []Pair) []Pair {
	out := make([]Pair, len(set))
	for i, p := range set {
		out[i] = Pair{A: p.B, B: p.A, Weight: p.Weight}
	}
	return out
}

func TestMcNemar(t *testing.T) {
	for _, tt := range []struct {
		k, n int
		want float64
	}{{0, 0, 1}, {5, 10, 1}, {0, 10, 2.0 / 1024}, {1, 6, 14.0 / 64}, {3, 7, 1}, {40, 120, 0.000335}} {
		if got := coin(tt.k, tt.n); math.Abs(got-tt.want) > 1e-5 {
			t.Errorf("coin(%d, %d) = %v, want %v", tt.k, tt.n, got, tt.want)
		}
	}
}

func TestStrata(t *testing.T) {
	up := []Pair{{0, 1, 1}, {0, 1, 1}, {1, 1, 1}}
	down := []Pair{{1, 0, 1}}
	d := Strata([][]Pair{up, down}, nil, Mean, Options{Resamples: 200})
	if math.Abs(d.A-2.0/3) > 1e-12 || math.Abs(d.B-0.5) > 1e-12 || d.OnlyA != 1 || d.OnlyB != 2 || d.Documents != 4 {
		t.Errorf("%+v", d)
	}
	d = Strata([][]Pair{up, down}, []float64{3, 1}, Mean, Options{Resamples: 200})
	if math.Abs(d.A-0.5) > 1e-12 || math.Abs(d.B-0.75) > 1e-12 {
		t.Errorf("weighted: %+v", d)
	}
	texts := []Pair{{-30, -20, 10}, {-8, -9, 4}}
	d = Strata([][]Pair{texts}, nil, Perplexity, Options{Resamples: 200})
	if math.Abs(d.A-math.Exp(38.0/14)) > 1e-12 || math.Abs(d.B-math.Exp(29.0/14)) > 1e-12 || d.OnlyA != -1 || !math.IsNaN(d.P) {
		t.Errorf("perplexity: %+v", d)
	}
}

func TestSentence(t *testing.T) {
	for _, tt := range []struct {
		d      Difference
		higher bool
		want   string
	}{
		{Difference{Difference: -.1, Low: -.2, High: -.05, OnlyA: -1}, true, "B is worse"},
		{Difference{Difference: -.1, Low: -.2, High: -.05, OnlyA: -1}, false, "B is better"},
		{Difference{Difference: -.1, Low: -.2, High: .05, OnlyA: -1}, true, "cannot tell A and B apart"},
		{Difference{Difference: -.1, Low: -.2, High: -.05, OnlyA: 9, OnlyB: 1, P: .02}, true, "B is worse"},
		{Difference{Difference: -.1, Low: -.2, High: -.05, OnlyA: 4, OnlyB: 0, P: .125}, true, "cannot tell A and B apart"},
	} {
		if got := tt.d.Sentence("x", tt.higher); !strings.Contains(got, tt.want) {
			t.Errorf("%q lacks %q", got, tt.want)
		}
	}
}
