package forest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/all"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

func newEngine(t testing.TB) engine.Engine {
	t.Helper()
	e, err := all.Open("cpu", all.Options{DType: "float32", Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func newRunner(t testing.TB, m *model.Model, e engine.Engine, opt forest.Options) *forest.Runner {
	t.Helper()
	r := forest.New(m, e, opt)
	t.Cleanup(r.Close)
	return r
}

// sequences of different lengths over a vocabulary of 272.
func sequences() [][]int32 {
	var seqs [][]int32
	for i, n := range []int{5, 40, 1, 64, 130, 7, 33} {
		s := make([]int32, n)
		for j := range s {
			s[j] = int32((j*j*7 + i*31 + j) % 272)
		}
		seqs = append(seqs, s)
	}
	return seqs
}

func scores(t testing.TB, r *forest.Runner, layers []int) [][]engine.TokenScore {
	t.Helper()
	var out [][]engine.TokenScore
	err := r.LogProbs(context.Background(), layers, sequences(), func(seq int, s []engine.TokenScore) error {
		if seq != len(out) {
			t.Fatalf("sequence %d came after %d", seq, len(out))
		}
		out = append(out, slices.Clone(s))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPackingAndMemoryChangeNothing compares every way to cut the work up, bit
// for bit: tiny and huge batches, weights resident and streaming.
func TestPackingAndMemoryChangeNothing(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4})), newEngine(t)
	want := scores(t, newRunner(t, m, e, forest.Options{}), nil)
	for _, opt := range []forest.Options{{BatchTokens: 1}, {BatchTokens: 70}, {BatchTokens: 1 << 20}, {Memory: 1}, {Memory: 1, BatchTokens: 50}, {Memory: 1 << 40}} {
		t.Run(fmt.Sprintf("memory %d, batch %d", opt.Memory, opt.BatchTokens), func(t *testing.T) {
			r := newRunner(t, m, e, opt)
			for range 2 { // a second run meets what the first left resident
				for i, got := range scores(t, r, nil) {
					if !slices.Equal(got, want[i]) {
						t.Fatalf("memory %d, batch of %d: sequence %d differs", opt.Memory, opt.BatchTokens, i)
					}
				}
			}
		})
	}
}

// TestLayerLists: the whole model spelled out is the model; a pruned list is
// what the golden of the written checkpoint says.
func TestLayerLists(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4})), newEngine(t)
	r := newRunner(t, m, e, forest.Options{})
	if !slices.EqualFunc(scores(t, r, nil), scores(t, r, []int{0, 1, 2, 3}), slices.Equal) {
		t.Error("all layers spelled out differ from the whole model")
	}
	if slices.EqualFunc(scores(t, r, nil), scores(t, r, []int{0, 1, 3}), slices.Equal) {
		t.Error("leaving a layer out changed nothing")
	}
	for _, family := range []string{"llama", "llama_tied", "vicuna"} {
		t.Run(family, func(t *testing.T) {
			g := testkit.Golden(t, family)
			m := enginetest.Open(t, g.Checkpoint)
			r := newRunner(t, m, e, forest.Options{})
			var keep []int
			for l := range m.Spec.Layers {
				if l != 1 && l != 3 {
					keep = append(keep, l)
				}
			}
			var loss float64
			var n int
			err := r.LogProbs(context.Background(), keep, g.Sequences(t, "input_ids"), func(_ int, scores []engine.TokenScore) error {
				for _, s := range scores {
					loss, n = loss-s.LogProb, n+1
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if want := g.Float(t, "pruned_1_3", "loss"); math.Abs(loss/float64(n)-want) > 1e-5 {
				t.Errorf("loss without layers 1 and 3 = %g, want %g", loss/float64(n), want)
			}
		})
	}
}

func TestObserve(t *testing.T) {
	g := testkit.Golden(t, "llama")
	m, e := enginetest.Open(t, g.Checkpoint), newEngine(t)
	hidden, _ := g.Array(t, "hidden")
	ids := g.Sequences(t, "input_ids")
	size := len(hidden) / (m.Spec.Layers + 1)
	for _, opt := range []forest.Options{{}, {BatchTokens: 1}, {Memory: 1}} {
		r := newRunner(t, m, e, opt)
		tokens := 0
		err := r.Observe(context.Background(), nil, ids, func(ctx context.Context, s forest.Step) error {
			if s.Layer != s.Depth {
				t.Errorf("layer %d at depth %d", s.Layer, s.Depth)
			}
			tokens += s.Batch.Len()
			at := s.Layer*size + s.Sequences[0]*len(ids[0])*m.Spec.Hidden
			in, out := host(t, s.In), host(t, s.Out)
			if d := testkit.MaxAbs(in, hidden[at:at+len(in)]); d > 2e-4 {
				t.Errorf("input of layer %d: difference %g", s.Layer, d)
			}
			if d := testkit.MaxAbs(out, hidden[at+size:at+size+len(out)]); d > 2e-4 {
				t.Errorf("output of layer %d: difference %g", s.Layer, d)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := m.Spec.Layers * 2 * len(ids[0]); tokens != want {
			t.Errorf("%+v: saw %d token-layers, want %d", opt.BatchTokens, tokens, want)
		}
	}
}

func host(t testing.TB, x engine.Hidden) []float32 {
	t.Helper()
	values, err := x.Host(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func TestErrors(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 2})), newEngine(t)
	r := newRunner(t, m, e, forest.Options{})
	for name, c := range map[string]struct {
		layers []int
		seqs   [][]int32
		want   string
	}{
		"no layer":       {[]int{}, [][]int32{{1}}, "keep at least one of the 2"},
		"beyond":         {[]int{0, 2}, [][]int32{{1}}, "layer 2 does not exist"},
		"negative":       {[]int{-1}, [][]int32{{1}}, "layer -1 does not exist"},
		"no sequence":    {nil, nil, "no sequences"},
		"empty sequence": {nil, [][]int32{{1}, {}}, "sequence 1 is empty"},
		"token":          {nil, [][]int32{{1}, {2, 272}}, "sequence 1: token id 272 at index 1 is outside the vocabulary of 272"},
	} {
		t.Run(name, func(t *testing.T) {
			err := r.LogProbs(context.Background(), c.layers, c.seqs, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v does not say %q", err, c.want)
			}
		})
	}
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	err := r.Observe(ctx, nil, sequences(), func(context.Context, forest.Step) error { cancel(why); return nil })
	if !errors.Is(err, why) {
		t.Errorf("a cancelled pass returned %v, want %v", err, why)
	}
	err = r.Observe(context.Background(), nil, sequences(), func(context.Context, forest.Step) error { return why })
	if !errors.Is(err, why) {
		t.Errorf("an observer's error came back as %v", err)
	}
}

func TestProgressEndsAtTotal(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 2})), newEngine(t)
	r := newRunner(t, m, e, forest.Options{BatchTokens: 64})
	priced, err := r.Price(variants([][]int{nil, {1}}, func(int, int, []engine.TokenScore) {}), forest.Sequences(sequences()))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is planned may be run again
		var last, total int64
		err := priced.Run(context.Background(), forest.RunOptions{Progress: func(d, n int64) {
			if d < last || d > n {
				t.Errorf("progress went from %d to %d of %d", last, d, n)
			}
			last, total = d, n
		}})
		if err != nil {
			t.Fatal(err)
		}
		if want := priced.Cost().TokenLayers + priced.Cost().HeadRows; last != total || total != want {
			t.Errorf("progress ended at %d of %d, want %d", last, total, want)
		}
	}
}
