package enginetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/testkit"
)

func dtypes() []engine.DType { return []engine.DType{engine.Float32, engine.BFloat16} }

// eachVariant runs a test in every dtype, and on models whose attention differs:
// windows in some layers or in all, soft caps, other rotary embeddings, heads as wide
// as those for which an engine may have other kernels.
func eachVariant(t *testing.T, build New, picos []string, test func(t *testing.T, r *resident)) {
	for _, dtype := range dtypes() {
		t.Run(string(dtype), func(t *testing.T) { test(t, load(t, build(t, dtype), pico(t))) })
	}
	widths := []int{64}
	if testkit.IsSlow() {
		widths = append(widths, 128)
	}
	for _, width := range widths {
		t.Run(fmt.Sprintf("bfloat16, heads of %d", width), func(t *testing.T) { test(t, load(t, build(t, engine.BFloat16), wide(t, width))) })
	}
	for _, name := range picos {
		t.Run(name, func(t *testing.T) { test(t, load(t, build(t, engine.Float32), Pico(t, name))) })
	}
}

// testInvariance checks that a sequence's results are the same bits whatever
// it is packed with, and whether its start is a parent segment or its own.
func testInvariance(t *testing.T, build New, picos []string) {
	eachVariant(t, build, picos, func(t *testing.T, r *resident) {
		m := r.m
		random := rand.New(rand.NewPCG(1, 2))
		var seqs [][]int32
		var alone [][]float32
		for i, n := range []int{1, 2, 3, 17, 52, 60, 63, 64, 65, 130, 200} {
			seqs = append(seqs, tokens(n, m.Spec.Vocab, uint64(i)))
			_, logits := r.forward(t, pack(seqs[i]), nil)
			alone = append(alone, logits)
		}
		for range 5 {
			order := random.Perm(len(seqs))[:1+random.IntN(len(seqs))]
			b := &engine.Batch{}
			for _, i := range order {
				b.Add(seqs[i], engine.NoParent)
			}
			_, logits := r.forward(t, b, nil)
			for place, i := range order {
				s := b.Segments[place]
				sameBits(t, fmt.Sprintf("sequence of %d in %v", len(seqs[i]), order), rows(logits, s, m.Spec.Vocab), alone[i])
			}
		}
		t.Run("Parents", func(t *testing.T) { testParents(t, r) })
	})
}

// testParents cuts sequences into chains of segments with a shared start.
func testParents(t *testing.T, r *resident) {
	v := r.m.Spec.Vocab
	for _, cut := range []int{1, 5, 63, 64, 100} {
		context := tokens(cut, v, 50)
		branches := [][]int32{tokens(3, v, 51), tokens(1, v, 52), tokens(90, v, 53)}
		b := &engine.Batch{}
		b.Add(tokens(7, v, 54), engine.NoParent)
		root := b.Add(context, engine.NoParent)
		for _, branch := range branches {
			b.Add(branch, root)
		}
		leaf := b.Add(tokens(4, v, 55), root+1) // continues the first branch
		_, logits := r.forward(t, b, nil)

		for i, branch := range branches {
			_, want := r.forward(t, pack(slices.Concat(context, branch)), nil)
			sameBits(t, fmt.Sprintf("branch %d after %d", i, cut), rows(logits, b.Segments[root+1+i], v), want[cut*v:])
		}
		_, want := r.forward(t, pack(slices.Concat(context, branches[0], tokens(4, v, 55))), nil)
		sameBits(t, "leaf", rows(logits, b.Segments[leaf], v), want[(cut+len(branches[0]))*v:])
	}
}

func rows(logits []float32, s engine.Segment, vocab int) []float32 {
	return logits[s.Start*vocab : (s.Start+s.Len)*vocab]
}

func sameBits(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %g, want the same bits as %g", what, i, got[i], want[i])
		}
	}
}

// testCache feeds sequences in uneven steps and compares with one pass.
func testCache(t *testing.T, build New, picos []string) {
	eachVariant(t, build, picos, func(t *testing.T, r *resident) {
		v := r.m.Spec.Vocab
		seqs := [][]int32{tokens(140, v, 1), tokens(70, v, 2)}
		kvs := newCaches(t, r, len(seqs), 150)
		_, want0 := r.forward(t, pack(seqs[0]), nil)
		_, want1 := r.forward(t, pack(seqs[1]), nil)
		past := [2]int{}
		for _, step := range [][2]int{{5, 0}, {1, 30}, {60, 1}, {1, 1}, {1, 38}, {72, 0}} {
			b := &engine.Batch{}
			for slot, n := range step {
				if n > 0 {
					b.Continue(seqs[slot][past[slot]:past[slot]+n], slot, past[slot])
				}
			}
			_, logits := r.forward(t, b, kvs)
			for _, s := range b.Segments {
				want := [][]float32{want0, want1}[s.Slot]
				sameBits(t, fmt.Sprintf("slot %d after %d", s.Slot, s.Past), rows(logits, s, v), want[s.Past*v:(s.Past+s.Len)*v])
				past[s.Slot] += s.Len
			}
		}
		testTruncate(t, r, kvs, seqs[0], want0)
	})
}

// testTruncate rewinds a slot and expects the same continuation, and an error
// for a batch that does not continue what is there.
func testTruncate(t *testing.T, r *resident, kvs []engine.KV, seq []int32, want []float32) {
	const keep = 67
	for _, kv := range kvs {
		kv.Truncate(0, keep)
	}
	b := &engine.Batch{}
	b.Continue(seq[keep:], 0, keep)
	_, logits := r.forward(t, b, kvs)
	sameBits(t, "after truncation", logits, want[keep*r.m.Spec.Vocab:])

	wrong := &engine.Batch{}
	wrong.Continue(seq[:1], 0, 3)
	x, err := r.e.NewHidden(r.m, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Release()
	if err := r.layers[0].Forward(context.Background(), &engine.Call{Batch: wrong, KV: kvs[0]}, x, x); err == nil {
		t.Error("a segment that does not continue its slot was taken")
	}
}

func newCaches(t testing.TB, r *resident, slots, capacity int) []engine.KV {
	t.Helper()
	kvs := make([]engine.KV, len(r.layers))
	for i := range kvs {
		kv, err := r.e.NewKV(r.m, slots, capacity)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kv.Release)
		kvs[i] = kv
	}
	return kvs
}

// testConcurrency calls one model's parts from eight goroutines.
func testConcurrency(t *testing.T, build New) {
	m := pico(t)
	r := load(t, build(t, engine.Float32), m)
	seq := tokens(100, m.Spec.Vocab, 9)
	_, want := r.forward(t, pack(seq), nil)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			b := pack(tokens(1+13*i, m.Spec.Vocab, uint64(i)), seq)
			_, logits := r.forward(t, b, nil)
			got := rows(logits, b.Segments[1], m.Spec.Vocab)
			if !slices.Equal(got, want) {
				t.Errorf("goroutine %d: results differ", i)
			}
		})
	}
	wait.Wait()
}

// testHead compares the fused head with the softmax of its logits.
func testHead(t *testing.T, build New) {
	m := pico(t)
	r := load(t, build(t, engine.Float32), m)
	v := m.Spec.Vocab
	b := pack(tokens(20, v, 4))
	hidden, logits := r.forward(t, b, nil)
	h := upload(t, r, hidden[len(hidden)-1])
	defer h.Release()
	// several targets a row, rows out of order, rows nobody asks for
	targets := []engine.Target{{Row: 7, Token: 0}, {Row: 7, Token: int32(v - 1)}, {Row: 2, Token: 513}, {Row: 19, Token: argmax(logits[19*v:])}}
	scores := make([]engine.TokenScore, len(targets))
	if err := r.head.LogProbs(context.Background(), h, targets, scores); err != nil {
		t.Fatal(err)
	}
	if err := r.head.Logits(context.Background(), h, nil, nil); err != nil {
		t.Errorf("no rows: %v", err)
	}
	for i, target := range targets {
		row := logits[target.Row*v : (target.Row+1)*v]
		var total float64
		for _, x := range row {
			total += math.Exp(float64(x))
		}
		if want := float64(row[target.Token]) - math.Log(total); math.Abs(scores[i].LogProb-want) > 1e-6 {
			t.Errorf("log-probability of %+v = %g, want %g", target, scores[i].LogProb, want)
		}
		if want := argmax(row) == target.Token; scores[i].Greedy != want {
			t.Errorf("greedy of %+v = %v, want %v", target, scores[i].Greedy, want)
		}
	}
}

// testCancelled expects every call to say why its context ended.
func testCancelled(t *testing.T, build New) {
	m := pico(t)
	r := load(t, build(t, engine.Float32), m)
	why := errors.New("stopped by the test")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(why)
	x := upload(t, r, make([]float32, m.Spec.Hidden))
	defer x.Release()
	b := pack([]int32{1})
	for name, err := range map[string]error{
		"Embedding.Forward": r.embed.Forward(ctx, b, x),
		"Layer.Forward":     r.layers[0].Forward(ctx, &engine.Call{Batch: b}, x, x),
		"Head.LogProbs":     r.head.LogProbs(ctx, x, []engine.Target{{}}, make([]engine.TokenScore, 1)),
		"Head.Logits":       r.head.Logits(ctx, x, []int{0}, make([]float32, m.Spec.Vocab)),
	} {
		if !errors.Is(err, why) {
			t.Errorf("%s on a cancelled context: %v, want %v", name, err, why)
		}
	}
}
