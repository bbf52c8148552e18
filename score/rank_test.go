package score_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
	"github.com/coppice-ml/coppice/score"
	"github.com/google/go-cmp/cmp"
)

func ones(model.Weight, int) float32 { return 1 }

func rank(t *testing.T, m *model.Model, run *forest.Runner, opt score.Options) []score.Ranking {
	t.Helper()
	r, err := score.Rank(context.Background(), m, run, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

var nan = math.NaN()

// same compares scores bit for bit; NaN is like NaN.
func same(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y })
}

func TestLookup(t *testing.T) {
	for _, m := range score.Metrics() {
		got, err := score.Lookup(m.Name)
		if err != nil || got.Name != m.Name || got.Summary != m.Summary {
			t.Errorf("Lookup(%q) = %v, %v", m.Name, got.Name, err)
		}
	}
	_, err := score.Lookup("magnitude-l3")
	if want := `unknown metric "magnitude-l3"; known metrics: magnitude-l1, magnitude-l2, `; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s…", err, want)
	}
}

func TestIndexMetrics(t *testing.T) {
	m, _ := tiny(t, 5, safetensors.F32, ones)
	for _, tt := range []struct {
		name            string
		metric          string
		layers, protect []int
		scores          []float64
		order           []int
	}{
		{"reverse", score.Reverse, nil, nil, []float64{0, 1, 2, 3, 4}, []int{4, 3, 2, 1, 0}},
		{"reverse of a pruning", score.Reverse, []int{0, 2, 3}, nil, []float64{0, nan, 2, 3, nan}, []int{3, 2, 0}},
		{"reverse, protected", score.Reverse, nil, []int{4, 0}, []float64{0, 1, 2, 3, 4}, []int{3, 2, 1}},
		{"keep last", score.ReverseKeepLast, nil, nil, []float64{0, 1, 2, 3, -1}, []int{3, 2, 1, 0, 4}},
		{"keep last of a pruning", score.ReverseKeepLast, []int{0, 2, 3}, nil, []float64{0, nan, 2, -1, nan}, []int{2, 0, 3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := rank(t, m, nil, score.Options{Metrics: []string{tt.metric}, Layers: tt.layers, Protect: tt.protect})[0]
			if !same(got.Scores, tt.scores) {
				t.Errorf("scores = %v, want %v", got.Scores, tt.scores)
			}
			if diff := cmp.Diff(tt.order, got.Order); diff != "" {
				t.Errorf("order (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(slices.Sorted(slices.Values(tt.protect)), got.Protected); diff != "" {
				t.Errorf("protected (-want +got):\n%s", diff)
			}
		})
	}
}

// The permutation is part of what a seed means, so it is pinned.
func TestRandom(t *testing.T) {
	m, _ := tiny(t, 8, safetensors.F32, ones)
	order := func(seed uint64, layers []int) []int {
		return rank(t, m, nil, score.Options{Metrics: []string{score.Random}, Seed: seed, Layers: layers})[0].Order
	}
	if diff := cmp.Diff([]int{5, 1, 2, 0, 3, 4, 7, 6}, order(42, nil)); diff != "" {
		t.Errorf("seed 42 (-want +got):\n%s", diff)
	}
	if slices.Equal(order(1, nil), order(2, nil)) {
		t.Error("two seeds give one order")
	}
	// Dropping the first of an order and asking again gives the rest of it.
	all := order(7, nil)
	if rest := order(7, slices.Sorted(slices.Values(all[3:]))); !slices.Equal(rest, all[3:]) {
		t.Errorf("after three rounds: %v, want %v", rest, all[3:])
	}
	for seed := range uint64(200) {
		if got := slices.Sorted(slices.Values(order(seed, nil))); !slices.Equal(got, []int{0, 1, 2, 3, 4, 5, 6, 7}) {
			t.Fatalf("seed %d: %v is not a permutation", seed, got)
		}
	}
}

// Every layer is 2*3 norms and projections of value ±2^-l; biases, 100 each, do not count.
func TestMagnitude(t *testing.T) {
	const elements = 2 + 4*2*2 + 2 + 3*2*3
	for _, d := range []safetensors.DType{safetensors.F32, safetensors.BF16, safetensors.F16} {
		t.Run(string(d), func(t *testing.T) {
			m, src := tiny(t, 16, d, func(w model.Weight, i int) float32 {
				if w.IsBias() {
					return 100
				}
				v := float32(math.Ldexp(1, -w.Layer)) // from layer 15 on subnormal in F16
				if i%2 == 1 {
					return -v
				}
				return v
			})
			got := rank(t, m, nil, score.Options{Metrics: []string{score.MagnitudeL2, score.MagnitudeL1}})
			if got[0].Metric != score.MagnitudeL2 || got[1].Metric != score.MagnitudeL1 {
				t.Fatalf("rankings come as %s, %s", got[0].Metric, got[1].Metric)
			}
			for l := range 16 {
				v := math.Ldexp(1, -l)
				if l1, l2 := got[1].Scores[l], got[0].Scores[l]; l1 != elements*v || l2 != elements*v*v {
					t.Errorf("layer %d: l1 = %v, l2 = %v, want %v, %v", l, l1, l2, elements*v, elements*v*v)
				}
				for _, w := range m.Spec.LayerWeights(l) {
					if n := src.released[w.Name]; !w.IsBias() && n != 1 {
						t.Errorf("%s was released %d times", w.Name, n)
					}
				}
			}
			if got[0].Order[0] != 15 || got[0].Order[15] != 0 {
				t.Errorf("order = %v, want the smallest first", got[0].Order)
			}
		})
	}
}

func TestMagnitudeNotFinite(t *testing.T) {
	for _, d := range []safetensors.DType{safetensors.F32, safetensors.BF16, safetensors.F16} {
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			m, _ := tiny(t, 3, d, func(w model.Weight, i int) float32 {
				if w.Layer == 1 && w.Role == model.Up && i == 5 {
					return float32(bad)
				}
				return 1
			})
			_, err := score.Rank(context.Background(), m, nil, score.Options{Metrics: []string{score.MagnitudeL1}})
			if want := "layer 1: tensor model.layers.1.mlp.up_proj.weight has a NaN or Inf"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %v: got %v, want %q", d, bad, err, want)
			}
		}
	}
}

func TestTiesDropTheLaterLayerFirst(t *testing.T) {
	m, _ := tiny(t, 4, safetensors.F32, func(w model.Weight, _ int) float32 {
		if w.Layer == 1 {
			return .5
		}
		return 1
	})
	got := rank(t, m, nil, score.Options{Metrics: []string{score.MagnitudeL1}})[0]
	if diff := cmp.Diff([]int{1, 3, 2, 0}, got.Order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Hidden states of two tokens through three layers, by hand:
//
//	token 0: (3,0) -> (3,4)  -> (6,8)   -> (-6,-8)
//	token 1: (0,2) -> (-2,0) -> (-4,0)  -> (4,0)
//
// layer 0 maps (3,0) to (3,4): cos .6, and turns (0,2) by 90 degrees; layer 1
// doubles; layer 2 negates.
func handMade() *fake {
	return &fake{
		embedding: map[int32][2]float32{0: {3, 0}, 1: {0, 2}},
		layers: []func([2]float32) [2]float32{
			func(x [2]float32) [2]float32 {
				if x[0] == 3 {
					return [2]float32{3, 4}
				}
				return [2]float32{-x[1], x[0]}
			},
			func(x [2]float32) [2]float32 { return [2]float32{2 * x[0], 2 * x[1]} },
			func(x [2]float32) [2]float32 { return [2]float32{-x[0], -x[1]} },
		},
	}
}

func TestInfluenceByHand(t *testing.T) {
	m, _ := tiny(t, 3, safetensors.F32, ones)
	run := forest.New(m, handMade(), forest.Options{})
	defer run.Close()
	got := rank(t, m, run, score.Options{
		Metrics:   []string{score.BI, score.BIGlobal, score.Relative},
		Sequences: [][]int32{{0}, {1}},
	})
	for i, want := range [][]float64{
		{1 - (.6+0)/2, 0, 2},
		{1 - 9/(math.Sqrt(9+4)*math.Sqrt(25+4)), 0, nan},
		{(4./5 + math.Sqrt(8)/2) / 2, .5, 2},
	} {
		for l, w := range want {
			if g := got[i].Scores[l]; !(math.Abs(g-w) < 1e-12) && w == w || w != w && g == g {
				t.Errorf("%s of layer %d = %v, want %v", got[i].Metric, l, g, w)
			}
		}
	}
	for i, want := range [][]int{{1, 0, 2}, {1, 0, 2}, {1, 0, 2}} {
		if diff := cmp.Diff(want, got[i].Order); diff != "" {
			t.Errorf("%s: order (-want +got):\n%s", got[i].Metric, diff)
		}
	}
}

// Without layer 0 the states differ, and layer 2 is still last.
func TestInfluenceOfPruning(t *testing.T) {
	m, _ := tiny(t, 3, safetensors.F32, ones)
	run := forest.New(m, handMade(), forest.Options{})
	defer run.Close()
	got := rank(t, m, run, score.Options{
		Metrics: []string{score.BI, score.BIGlobal}, Layers: []int{0, 1}, Protect: []int{1}, Sequences: [][]int32{{0, 1}},
	})
	if want := []float64{.7, 0, nan}; math.Abs(got[0].Scores[0]-.7) > 1e-12 || !same(got[0].Scores[1:], want[1:]) {
		t.Errorf("bi = %v, want %v", got[0].Scores, want)
	}
	if !math.IsNaN(got[1].Scores[1]) || !math.IsNaN(got[1].Scores[2]) || math.IsNaN(got[1].Scores[0]) {
		t.Errorf("bi-global = %v, want a score of layer 0 alone", got[1].Scores)
	}
	for _, r := range got {
		if !slices.Equal(r.Order, []int{0}) || !slices.Equal(r.Protected, []int{1}) {
			t.Errorf("%s: order %v, protected %v", r.Metric, r.Order, r.Protected)
		}
	}
}

func TestZeroStates(t *testing.T) {
	m, _ := tiny(t, 2, safetensors.F32, ones)
	e := handMade()
	e.embedding = map[int32][2]float32{0: {0, 0}}
	e.layers = []func([2]float32) [2]float32{
		func([2]float32) [2]float32 { return [2]float32{1, 0} },
		func([2]float32) [2]float32 { return [2]float32{} },
	}
	run := forest.New(m, e, forest.Options{})
	defer run.Close()
	got := rank(t, m, run, score.Options{Metrics: []string{score.BI, score.Relative}, Sequences: [][]int32{{0}}})
	if !same(got[0].Scores, []float64{1, 1}) || !same(got[1].Scores, []float64{1, 1}) {
		t.Errorf("bi = %v, relative = %v, want ones", got[0].Scores, got[1].Scores)
	}
}

func TestHiddenStatesNotFinite(t *testing.T) {
	m, _ := tiny(t, 3, safetensors.F32, ones)
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		e := handMade()
		e.layers[1] = func(x [2]float32) [2]float32 {
			if x[0] == -2 {
				x[1] = float32(bad)
			}
			return x
		}
		run := forest.New(m, e, forest.Options{})
		defer run.Close()
		_, err := score.Rank(context.Background(), m, run, score.Options{Metrics: []string{score.BI}, Sequences: [][]int32{{0, 0}, {0, 0, 1}}})
		if want := "layer 1: sequence 1, token 2: the hidden state leaving the layer is NaN or Inf"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestRankRejects(t *testing.T) {
	m, _ := tiny(t, 3, safetensors.F32, ones)
	run := forest.New(m, handMade(), forest.Options{})
	defer run.Close()
	seqs := [][]int32{{0}}
	for _, tt := range []struct {
		name string
		run  *forest.Runner
		opt  score.Options
		want string
	}{
		{"no metric", nil, score.Options{}, "no metric"},
		{"unknown", nil, score.Options{Metrics: []string{"BI"}}, `unknown metric "BI"`},
		{"twice", nil, score.Options{Metrics: []string{"reverse", "reverse"}}, `metric "reverse" is named twice`},
		{"layers out of range", nil, score.Options{Metrics: []string{"reverse"}, Layers: []int{3}}, "layer 3 does not exist: the model has layers 0 to 2"},
		{"layers twice", nil, score.Options{Metrics: []string{"reverse"}, Layers: []int{1, 1}}, "layer 1 is listed twice"},
		{"layers unsorted", nil, score.Options{Metrics: []string{"reverse"}, Layers: []int{1, 0}}, "ascending"},
		{"no layers", nil, score.Options{Metrics: []string{"reverse"}, Layers: []int{}}, "is empty"},
		{"protected out of range", nil, score.Options{Metrics: []string{"reverse"}, Protect: []int{-1}}, "protected layers: layer -1"},
		{"no data", run, score.Options{Metrics: []string{"reverse", "bi"}}, `metric "bi" runs the model on data`},
		{"no runner", nil, score.Options{Metrics: []string{"bi"}, Sequences: seqs}, "no engine"},
		{"empty sequence", run, score.Options{Metrics: []string{"bi"}, Sequences: [][]int32{{0}, {}}}, "sequence 1 is empty"},
		{"token outside", run, score.Options{Metrics: []string{"bi"}, Sequences: [][]int32{{4}}}, "token id 4"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r, err := score.Rank(context.Background(), m, tt.run, tt.opt); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error with %q", r, err, tt.want)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	m, _ := tiny(t, 3, safetensors.F32, ones)
	run := forest.New(m, handMade(), forest.Options{})
	defer run.Close()
	because := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(because)
	for _, metric := range []string{score.MagnitudeL1, score.BI} {
		if _, err := score.Rank(ctx, m, run, score.Options{Metrics: []string{metric}, Sequences: [][]int32{{0}}}); !errors.Is(err, because) {
			t.Errorf("%s: got %v, want the cause", metric, err)
		}
	}
}

func TestProgress(t *testing.T) {
	m, _ := tiny(t, 3, safetensors.F32, ones)
	run := forest.New(m, handMade(), forest.Options{BatchTokens: 2})
	defer run.Close()
	last, calls := int64(0), 0
	priced, err := score.Price(m, run, score.Options{
		Metrics:   []string{score.MagnitudeL1, score.BI},
		Sequences: [][]int32{{0, 1}, {1}, {0}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = priced.Run(context.Background(), forest.RunOptions{Progress: func(done, total int64) {
		if done <= last || total != 3+3*4 {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
		calls++
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := priced.Run(context.Background(), forest.RunOptions{}); err == nil {
		t.Error("one plan ran twice: its probes would count everything double")
	}
	if last != 15 || calls != 3+3*2 {
		t.Errorf("progress ended at %d after %d calls", last, calls)
	}
}
