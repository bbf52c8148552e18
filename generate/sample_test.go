package generate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var inf = float32(math.Inf(1))

func TestGreedy(t *testing.T) {
	nan := float32(math.NaN())
	for _, tt := range []struct {
		name   string
		logits []float32
		want   int32
		fails  bool
	}{
		{"largest", []float32{-3, 2, 1}, 1, false},
		{"lowest of equals", []float32{0, 5, 5, 5}, 1, false},
		{"zeros of both signs", []float32{float32(math.Copysign(0, -1)), 0}, 0, false},
		{"forbidden tokens", []float32{-inf, -inf, -7}, 2, false},
		{"NaN", []float32{1, nan, 2}, 0, true},
		{"NaN first", []float32{nan, 2}, 0, true},
		{"Inf", []float32{1, inf}, 0, true},
		{"nothing allowed", []float32{-inf, -inf}, 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := greedy(tt.logits)
			if (err != nil) != tt.fails || got != tt.want {
				t.Errorf("got %d, %v; want %d, error %v", got, err, tt.want, tt.fails)
			}
		})
	}
}

// reference picks the candidates by sorting everything.
func reference(weights []float64, opt Options) []candidate {
	var all []candidate
	for i, w := range weights {
		all = append(all, candidate{w, int32(i)})
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		switch {
		case a.weight > b.weight:
			return -1
		case a.weight < b.weight:
			return 1
		}
		return 0
	})
	if opt.TopK > 0 {
		all = all[:min(opt.TopK, len(all))]
	}
	if opt.TopP == 0 || opt.TopP == 1 {
		return all
	}
	total, sum := 0.0, 0.0
	for _, c := range all {
		total += c.weight
	}
	for i, c := range all {
		if sum += c.weight; sum >= opt.TopP*total {
			return all[:i+1]
		}
	}
	return all
}

func TestTopAgainstSorting(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		opt := Options{Temperature: 1, TopK: r.IntN(6), TopP: float64(r.IntN(9)) / 8}
		if opt.TopK == 0 && (opt.TopP == 0 || opt.TopP == 1) {
			continue // no order is asked for
		}
		s := newSampler(opt, 1+r.IntN(40))
		if s.heap == nil {
			continue
		}
		total := 0.0
		for i := range s.weights {
			s.weights[i] = float64(1 + r.IntN(8)) // many equals; sums are exact
			total += s.weights[i]
		}
		if got, want := s.top(total), reference(s.weights, opt); !slices.Equal(got, want) {
			t.Fatalf("%+v of %v: %v, want %v", opt, s.weights, got, want)
		}
	}
}

// Frequencies of many draws are those of the softmax at the temperature,
// renormalised over the tokens that TopK and TopP leave.
func TestDrawFrequencies(t *testing.T) {
	logits := []float32{0, float32(math.Log(2)), float32(math.Log(4)), float32(math.Log(9)), -inf} // weights 1 2 4 9 0
	for _, tt := range []struct {
		name string
		opt  Options
		want []float64
	}{
		{"all", Options{Temperature: 1}, []float64{1, 2, 4, 9, 0}},
		{"warm", Options{Temperature: 2}, []float64{1, math.Sqrt2, 2, 3, 0}},
		{"cold", Options{Temperature: .5}, []float64{1, 4, 16, 81, 0}},
		{"top-k", Options{Temperature: 1, TopK: 2}, []float64{0, 0, 4, 9, 0}},
		{"top-k of one", Options{Temperature: 1, TopK: 1}, []float64{0, 0, 0, 1, 0}},
		{"top-k past the vocabulary", Options{Temperature: 1, TopK: 99}, []float64{1, 2, 4, 9, 0}},
		{"top-p", Options{Temperature: 1, TopP: .8}, []float64{0, 0, 4, 9, 0}},
		{"top-p, all", Options{Temperature: 1, TopP: 1}, []float64{1, 2, 4, 9, 0}},
		{"top-p after top-k", Options{Temperature: 1, TopK: 3, TopP: .86}, []float64{0, 0, 4, 9, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, r := newSampler(tt.opt, len(logits)), random{rand.NewPCG(1, 1)}
			const draws = 40000
			counts, total := make([]float64, len(logits)), 0.0
			for range draws {
				id, err := s.pick(logits, &r)
				if err != nil {
					t.Fatal(err)
				}
				counts[id]++
			}
			for _, w := range tt.want {
				total += w
			}
			for id, w := range tt.want {
				p := w / total
				if got := counts[id] / draws; math.Abs(got-p) > 5*math.Sqrt(p*(1-p)/draws) {
					t.Errorf("token %d: drawn %.4f of the time, want %.4f", id, got, p)
				}
			}
		})
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	logits := make([]float32, 500)
	for i := range logits {
		logits[i] = float32(i * 7919 % 500)
	}
	for _, opt := range []Options{{}, {Temperature: 1}, {Temperature: 1, TopK: 40, TopP: .9}, {Temperature: 1, TopP: .9}} {
		s, r := newSampler(opt, len(logits)), random{rand.NewPCG(1, 1)}
		if n := testing.AllocsPerRun(20, func() { _, _ = s.pick(logits, &r) }); n != 0 {
			t.Errorf("%+v: %v allocations", opt, n)
		}
	}
}

func TestSeeds(t *testing.T) {
	a, b := []int32{1, 2}, []int32{1, 3}
	first := func(prompts [][]int32, seed uint64) []uint64 {
		var out []uint64
		for _, r := range seeds(prompts, seed) {
			out = append(out, r.Uint64())
		}
		return out
	}
	both := first([][]int32{a, b, a}, 7)
	if both[0] == both[1] || both[0] == both[2] {
		t.Errorf("sequences share their draws: %v", both)
	}
	if alone := first([][]int32{b}, 7); alone[0] != both[1] {
		t.Error("a prompt's draws depend on the others")
	}
	if other := first([][]int32{a}, 8); other[0] == both[0] {
		t.Error("the seed changes nothing")
	}
}
