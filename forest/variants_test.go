package forest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// together evaluates lists of layers in one call: [variant][sequence] scores.
func together(t testing.TB, r *forest.Runner, lists [][]int, seqs [][]int32) [][][]engine.TokenScore {
	t.Helper()
	out := make([][][]engine.TokenScore, len(lists))
	err := r.Run(context.Background(), variants(lists, func(v, i int, s []engine.TokenScore) {
		if i != len(out[v]) {
			t.Fatalf("variant %d: sequence %d came after %d", v, i, len(out[v]))
		}
		out[v] = append(out[v], slices.Clone(s))
	}), forest.Sequences(seqs), forest.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func variants(lists [][]int, emit func(v, i int, s []engine.TokenScore)) []forest.Variant {
	out := make([]forest.Variant, len(lists))
	for v, l := range lists {
		out[v] = forest.Variant{Layers: l, Scores: func(i int, s []engine.TokenScore) error {
			emit(v, i, s)
			return nil
		}}
	}
	return out
}

// randomLists are prunings and, every third, any layers in any order.
func randomLists(r *rand.Rand, layers int) [][]int {
	lists := make([][]int, 1+r.IntN(12))
	for i := range lists {
		n := 1 + r.IntN(layers)
		list := r.Perm(layers)[:n]
		switch i % 3 {
		case 0, 1:
			slices.Sort(list)
		case 2:
			for j := range list {
				list[j] = r.IntN(layers)
			}
		}
		lists[i] = list
	}
	return lists
}

// TestTogetherIsAlone: what a variant scores depends on no other variant, on no
// budget and on no batch size, to the last bit.
func TestTogetherIsAlone(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 6})), newEngine(t)
	alone := newRunner(t, m, e, forest.Options{})
	seqs := sequences()
	known := map[string][][]engine.TokenScore{}
	for seed := range uint64(12) {
		random := rand.New(rand.NewPCG(seed, 9))
		lists := randomLists(random, m.Spec.Layers)
		opt := []forest.Options{{}, {BatchTokens: 1 + random.IntN(200)}, {Memory: 1}, {Memory: 34<<20 + random.Int64N(4<<20), BatchTokens: 64}}[seed%4]
		got := together(t, newRunner(t, m, e, opt), lists, seqs)
		for v, list := range lists {
			key := fmt.Sprint(list)
			if known[key] == nil {
				known[key] = together(t, alone, [][]int{list}, seqs)[0]
			}
			if !slices.EqualFunc(got[v], known[key], slices.Equal) {
				t.Fatalf("seed %d, %+v: variant %d %v of %v differs from itself alone", seed, opt, v, list, lists)
			}
		}
	}
}

func costOf(t testing.TB, r *forest.Runner, vs []forest.Variant, work []forest.Work) forest.Cost {
	t.Helper()
	priced, err := r.Price(vs, work)
	if err != nil {
		t.Fatal(err)
	}
	return priced.Cost()
}

func without(layers int, drop ...int) []int {
	var keep []int
	for l := range layers {
		if !slices.Contains(drop, l) {
			keep = append(keep, l)
		}
	}
	return keep
}

// TestCounts pins what forests cost: token-layers and rows of the head.
func TestCounts(t *testing.T) {
	const layers = 7
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: layers})), newEngine(t)
	r := newRunner(t, m, e, forest.Options{BatchTokens: 1 << 20})
	work := forest.Sequences([][]int32{{1, 2, 3, 4, 5}, {6, 7, 8}}) // 8 tokens, 6 targets
	var singles, tails, both [][]int
	for l := range layers {
		singles = append(singles, without(layers, l))
		tails = append(tails, without(layers)[:l+1])
	}
	both = append([][]int{without(layers)}, singles...)
	for _, tt := range []struct {
		name  string
		lists [][]int
		moves int
		heads int
		loads int
	}{
		{"the model", [][]int{nil}, layers, 1, layers},
		{"twice", [][]int{nil, nil}, layers, 1, layers},
		{"single removals", singles, (layers - 1) * (layers + 2) / 2, layers, layers},
		{"with the model", both, (layers-1)*(layers+2)/2 + 1, layers + 1, layers},
		{"tail curve", tails, layers, layers, layers},
		{"two orders", [][]int{{0, 1, 2}, {2, 1, 0}}, 6, 2, 5},
		{"a late start", [][]int{{0, 1, 2, 3}, {3, 0, 1, 2, 3}}, 9, 2, 5},
		{"repeated", [][]int{{0, 0, 0, 1}, {0, 1}}, 5, 2, 2},
		{"a loop", [][]int{{0, 1, 2, 1, 2, 3}, {0, 1, 2, 3}}, 7, 2, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			vs := variants(tt.lists, func(int, int, []engine.TokenScore) {})
			c := costOf(t, r, vs, work)
			if c.TokenLayers != int64(8*tt.moves) || c.Passes != 1 || c.Loads != tt.loads {
				t.Errorf("%d token-layers in %d passes with %d loads; want %d in 1 with %d", c.TokenLayers, c.Passes, c.Loads, 8*tt.moves, tt.loads)
			}
			if c.HeadRows != int64(6*tt.heads) {
				t.Errorf("%d rows of the head, want %d", c.HeadRows, 6*tt.heads)
			}
		})
	}
}

// TestCostIsSpent: the engine computes what Cost says, layer by layer.
func TestCostIsSpent(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 5})), newEngine(t)
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		counted := &countingEngine{Engine: e}
		r := newRunner(t, m, counted, forest.Options{Memory: []int64{0, 1, 36 << 20}[seed%3]})
		vs := variants(randomLists(random, 5), func(int, int, []engine.TokenScore) {})
		work := forest.Sequences(sequences())
		priced, err := r.Price(vs, work)
		if err != nil {
			t.Fatal(err)
		}
		c := priced.Cost()
		if err := priced.Run(context.Background(), forest.RunOptions{}); err != nil {
			t.Fatal(err)
		}
		if counted.rows != c.TokenLayers {
			t.Errorf("seed %d: computed %d token-layers, announced %d", seed, counted.rows, c.TokenLayers)
		}
		if !c.Resident && counted.loads != c.Loads {
			t.Errorf("seed %d: %d loads, announced %d", seed, counted.loads, c.Loads)
		}
	}
}

// countingEngine counts what its layers are asked for.
type countingEngine struct {
	engine.Engine
	rows  int64
	loads int
}

func (c *countingEngine) Fetch(m *model.Model, i int, o engine.LayerOptions) engine.Fetched {
	c.loads++
	return wrapping{c.Engine.Fetch(m, i, o), func(l engine.Layer) engine.Layer { return &countingLayer{l, c} }}
}

// wrapping puts something around the layer that comes.
type wrapping struct {
	engine.Fetched
	around func(engine.Layer) engine.Layer
}

func (w wrapping) Wait(ctx context.Context) (engine.Layer, error) {
	l, err := w.Fetched.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return w.around(l), nil
}

type countingLayer struct {
	engine.Layer
	c *countingEngine
}

func (l *countingLayer) Forward(ctx context.Context, c *engine.Call, x, y engine.Hidden) error {
	l.c.rows += int64(c.Batch.Len())
	return l.Layer.Forward(ctx, c, x, y)
}

// TestSpill: less memory means more passes, down to one sequence at a time,
// and never more than is allowed as long as that fits.
func TestSpill(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 8, Hidden: 64, FF: 4096})), newEngine(t)
	var seqs [][]int32
	for i := range 200 {
		seqs = append(seqs, slices.Repeat([]int32{int32(i)}, 100))
	}
	var lists [][]int
	for l := range 8 {
		lists = append(lists, without(8, l))
	}
	work, vs := forest.Sequences(seqs), variants(lists, func(int, int, []engine.TokenScore) {})
	last := 0
	for _, memory := range []int64{0, 1 << 30, 96 << 20, 84 << 20, 82 << 20, 81 << 20, 1} {
		c := costOf(t, newRunner(t, m, e, forest.Options{Memory: memory}), vs, work)
		t.Logf("%d MiB: %+v", memory>>20, c)
		if memory > 1 && c.Memory > memory {
			t.Errorf("%d MiB allowed, %d wanted", memory>>20, c.Memory>>20)
		}
		if !c.Resident && c.Passes < last {
			t.Errorf("%d MiB: %d passes, fewer than %d with more memory", memory>>20, c.Passes, last)
		}
		if !c.Resident {
			last = c.Passes
		}
	}
	if last < 200 {
		t.Errorf("with no memory at all: %d passes, want one a sequence at least", last)
	}
}

// TestLongPassesAreCut: where layers stream, variants that are scored take work in
// groups, so that an interrupted pass has finished some of it, each large enough
// that bringing layers in is little of it. Observers, who have nothing before the
// end, take it at once.
func TestLongPassesAreCut(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 8, Hidden: 64, FF: 4096})), newEngine(t)
	var seqs [][]int32
	for i := range 200 {
		seqs = append(seqs, slices.Repeat([]int32{int32(i)}, 100))
	}
	var lists [][]int
	for l := range 8 {
		lists = append(lists, without(8, l))
	}
	r := newRunner(t, m, e, forest.Options{Memory: 96 << 20})
	scored := costOf(t, r, variants(lists, func(int, int, []engine.TokenScore) {}), forest.Sequences(seqs))
	if scored.Resident || scored.Passes < 2 || scored.TokenLayers/int64(scored.Loads) < 1<<14 {
		t.Errorf("%+v: want at least two groups, and each layer brought in for 16384 tokens at least", scored)
	}
	seen := costOf(t, r, []forest.Variant{{Observe: func(context.Context, forest.Step) error { return nil }}}, forest.Sequences(seqs))
	if seen.Resident || seen.Passes != 1 {
		t.Errorf("%+v: want one group", seen)
	}
}

func TestObserversShareAPass(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4})), newEngine(t)
	type seen struct{ layers, tokens int }
	for _, opt := range []forest.Options{{}, {Memory: 1}, {BatchTokens: 50}} {
		r := newRunner(t, m, e, opt)
		var whole, pruned seen
		watch := func(s *seen) func(context.Context, forest.Step) error {
			return func(_ context.Context, step forest.Step) error {
				s.layers += step.Batch.Len() * (step.Layer + 1)
				s.tokens += step.Batch.Len()
				return nil
			}
		}
		scored := 0
		err := r.Run(context.Background(), []forest.Variant{
			{Observe: watch(&whole)},
			{Layers: []int{0, 1, 3}, Observe: watch(&pruned), Scores: func(int, []engine.TokenScore) error { scored++; return nil }},
		}, forest.Sequences(sequences()), forest.RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, s := range sequences() {
			n += len(s)
		}
		if (whole != seen{n * 10, n * 4}) || (pruned != seen{n * 7, n * 3}) || scored != len(sequences()) {
			t.Errorf("%+v: whole %v, pruned %v, %d scored", opt, whole, pruned, scored)
		}
	}
}

// TestNotFinite: scores that are no numbers are traced to the layer where that began.
func TestNotFinite(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4})), newEngine(t)
	for name, opt := range map[string]forest.Options{"resident": {}, "streaming": {Memory: 1}} {
		t.Run(name, func(t *testing.T) {
			r := newRunner(t, m, &poisoned{Engine: e, layer: 2, token: 31}, opt)
			err := r.Run(context.Background(), variants([][]int{{0, 1, 3}, {0, 2, 3}}, func(int, int, []engine.TokenScore) {}), forest.Sequences([][]int32{{1, 2, 3}, {9, 9, 31, 9}}), forest.RunOptions{})
			var where *forest.NotFiniteError
			if !errors.As(err, &where) || *where != (forest.NotFiniteError{Layer: 2, Sequence: 1, Token: 2}) {
				t.Errorf("got %v (%+v), want layer 2, sequence 1, token 2", err, where)
			}
		})
	}
}

// TestNotFiniteInATree: the caller's sequence is named, and the place in it, not
// the segment and the place in that.
func TestNotFiniteInATree(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 3})), newEngine(t)
	r := newRunner(t, m, &poisoned{Engine: e, layer: 1, token: 31}, forest.Options{})
	var work [2]forest.Work
	work[0].Batch.Add([]int32{1, 2}, engine.NoParent)
	stem := work[1].Batch.Add([]int32{3, 4, 5}, engine.NoParent)
	work[1].Batch.Add([]int32{6, 7}, stem)
	work[1].Batch.Add([]int32{8, 31}, stem)
	work[1].Sequences = []int{12, 12, 17}
	for i := range work {
		for row := range work[i].Batch.Tokens {
			work[i].Targets = append(work[i].Targets, engine.Target{Row: row})
		}
	}
	err := r.Score(context.Background(), nil, work[:], func(int, []engine.TokenScore) error { return nil })
	var where *forest.NotFiniteError
	if want := (forest.NotFiniteError{Layer: 1, Sequence: 17, Token: 4}); !errors.As(err, &where) || *where != want {
		t.Errorf("got %v, want %v", err, &want)
	}
	work[1].Sequences = []int{12}
	if err := r.Score(context.Background(), nil, work[:], nil); err == nil || !strings.Contains(err.Error(), "named for 1 of 3 segments") {
		t.Errorf("sequences for one of three segments: %v", err)
	}
}

// poisoned is an engine one of whose layers makes a NaN of one token.
type poisoned struct {
	engine.Engine
	layer int
	token int32
}

func (p *poisoned) Fetch(m *model.Model, i int, o engine.LayerOptions) engine.Fetched {
	f := p.Engine.Fetch(m, i, o)
	if i != p.layer {
		return f
	}
	return wrapping{f, func(l engine.Layer) engine.Layer { return &poison{l, p.token} }}
}

type poison struct {
	engine.Layer
	token int32
}

func (l *poison) Forward(ctx context.Context, c *engine.Call, x, y engine.Hidden) error {
	if err := l.Layer.Forward(ctx, c, x, y); err != nil {
		return err
	}
	host, err := y.Host(ctx)
	if err != nil {
		return err
	}
	out := slices.Clone(host)
	for i, t := range c.Batch.Tokens {
		if t == l.token {
			out[i*len(out)/len(c.Batch.Tokens)] = float32(math.NaN())
		}
	}
	return y.Write(engine.Values{F32: out})
}

// TestDivergence: it is the head's, whatever the budget, and nothing from itself.
func TestDivergence(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 5})), newEngine(t)
	run := func(opt forest.Options) (out [4][][]float64) {
		vs := []forest.Variant{{}, {Layers: without(5, 1)}, {Layers: without(5, 4)}, {Layers: []int{0}}}
		for v := 1; v < len(vs); v++ {
			vs[v].Divergence = func(i int, nats []float64) error {
				if i != len(out[v]) {
					t.Fatalf("variant %d: sequence %d came after %d", v, i, len(out[v]))
				}
				out[v] = append(out[v], slices.Clone(nats))
				return nil
			}
		}
		scored := 0
		vs[3].Scores = func(int, []engine.TokenScore) error { scored++; return nil }
		r := newRunner(t, m, e, opt)
		if err := r.Run(context.Background(), vs, forest.Sequences(sequences()), forest.RunOptions{}); err != nil {
			t.Fatal(err)
		}
		if scored != len(sequences()) {
			t.Errorf("%+v: %d sequences scored", opt, scored)
		}
		return out
	}
	want := run(forest.Options{})
	for i, s := range sequences() {
		if len(want[1][i]) != len(s)-1 {
			t.Errorf("sequence %d: %d divergences of %d tokens", i, len(want[1][i]), len(s))
		}
		for _, kl := range want[1][i] {
			if !(kl > 0) {
				t.Errorf("sequence %d: KL = %v", i, kl)
			}
		}
	}
	for _, opt := range []forest.Options{{BatchTokens: 3}, {Memory: 1}, {Memory: 36 << 20, BatchTokens: 64}} {
		got := run(opt)
		for v := range got {
			if !slices.EqualFunc(got[v], want[v], slices.Equal) {
				t.Errorf("%+v: variant %d differs", opt, v)
			}
		}
	}
}
