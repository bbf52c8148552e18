package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/all"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/engine/enginetest/slow"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/tokenizer"
)

// modelAt opens a model in float32 and its encoder.
func modelAt(t testing.TB, dir string, opt forest.Options) (*forest.Runner, *Encoder) {
	t.Helper()
	m := enginetest.Open(t, dir)
	e, err := all.Open("cpu", all.Options{DType: "float32", Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	run := forest.New(m, e, opt)
	t.Cleanup(func() {
		run.Close()
		_ = e.Close()
	})
	tok, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return run, &Encoder{Tokenizer: tok, MaxLength: m.Spec.MaxPositions, Vocab: m.Spec.Vocab}
}

// naive scores the sequences one at a time, nothing shared.
func naive(t testing.TB, run *forest.Runner, seqs []Sequence, of []int, requests int) []Response {
	t.Helper()
	out := make([]Response, requests)
	for i := range out {
		out[i].Greedy = true
	}
	for i, s := range seqs {
		err := run.LogProbs(context.Background(), nil, [][]int32{s.Tokens}, func(_ int, scores []engine.TokenScore) error {
			r := &out[of[i]]
			for _, score := range scores[len(scores)-s.Scored:] {
				r.LogProb += score.LogProb
				r.Greedy = r.Greedy && score.Greedy
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestScoresEqualNaive: packed trees score what one request at a time scores,
// and come to the same metrics: made-up documents, and the published ones where
// they are; of those all subjects, and 40 documents of each task, with COPPICE_SLOW=1.
func TestScoresEqualNaive(t *testing.T) {
	limit, names := 6, []string{"piqa", "winogrande", "arc_easy", "arc_challenge", "openbookqa", "mmlu_anatomy", "mmlu_philosophy", "cmmlu_arts"}
	own := []string{"lambada_openai", "wikitext"}
	for i, dir := range testkit.Trained(t) {
		run, e := modelAt(t, dir, forest.Options{})
		d := Dir("testdata/made")
		if i > 0 {
			d = benchmarks(t)
			names = append(names, "hellaswag")
			if os.Getenv("COPPICE_SLOW") != "" {
				limit, names = 40, []string{"layer-pruning"}
			}
		}
		s, err := library(t).Select(append(slices.Clone(names), own...))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range s.Tasks {
			t.Run(filepath.Base(dir)+"/"+task.Name, func(t *testing.T) {
				d := d
				if slices.Contains(own, task.Name) {
					d = "testdata/data"
				}
				equalsNaive(t, run, e, build(t, task, docs(t, d, task, task.Split()), nil, BuildOptions{Limit: limit}))
			})
		}
	}
}

func equalsNaive(t *testing.T, run *forest.Runner, e *Encoder, a *Asked) {
	t.Helper()
	seqs, of, err := a.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	want := naive(t, run, seqs, of, len(a.Requests))
	got := scoreAll(t, run, e, a, 512)
	for i := range got {
		if math.Abs(got[i].LogProb-want[i].LogProb) > 1e-5 || got[i].Greedy != want[i].Greedy {
			t.Errorf("request %d: %+v, want %+v", i, got[i], want[i])
		}
	}
	if diff := cmp.Diff(results(t, a, want), results(t, a, got)); diff != "" {
		t.Errorf("metrics (-naive +packed):\n%s", diff)
	}
}

func scoreAll(t testing.TB, run *forest.Runner, e *Encoder, a *Asked, batchTokens int) []Response {
	t.Helper()
	all, err := ScoreAll(context.Background(), run, [][]int{nil}, []*Asked{a}, e, batchTokens, nil)
	if err != nil {
		t.Fatal(err)
	}
	return all[0][0]
}

// results are the metrics by name, rounded to what 1e-5 may move.
func results(t testing.TB, a *Asked, r []Response) map[string]string {
	t.Helper()
	metrics, err := a.Score(r, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range metrics {
		out[m.Key()] = fmt.Sprintf("%.5g", m.Result)
	}
	return out
}

// TestPackingChangesNothing: batch size, order of documents and memory leave
// every bit of a score as it is.
func TestPackingChangesNothing(t *testing.T) {
	dir := testkit.Llama(t, testkit.Options{Layers: 2, MaxPositions: 200, Tokenizer: true})
	run, e := modelAt(t, dir, forest.Options{})
	tight, _ := modelAt(t, dir, forest.Options{Memory: 1})
	task := task(t, "gsm8k")
	all := docs(t, "testdata/data", task, "train")
	choice := &Task{Name: "x", Output: MultipleChoice, TestSplit: "test", DatasetPath: "x",
		DocToText: Field{Text: "question", set: true}, DocToChoice: Field{List: []string{"one", "on", "two and two", "two"}, set: true}, DocToTarget: Field{Number: new(int), set: true}}
	if err := choice.check(); err != nil {
		t.Fatal(err)
	}
	a := build(t, choice, all, nil, BuildOptions{})
	want := scoreAll(t, run, e, a, 2048)
	for _, n := range []int{1, 30, 100, 1 << 20} {
		if diff := cmp.Diff(want, scoreAll(t, run, e, a, n)); diff != "" {
			t.Errorf("batches of %d tokens:\n%s", n, diff)
		}
		if diff := cmp.Diff(want, scoreAll(t, tight, e, a, n)); diff != "" {
			t.Errorf("batches of %d tokens, weights streaming:\n%s", n, diff)
		}
	}
	slices.Reverse(all)
	back := build(t, choice, all, nil, BuildOptions{})
	got := scoreAll(t, run, e, back, 70)
	for i := range all {
		if diff := cmp.Diff(want[a.first[i]:a.first[i+1]], got[back.first[len(all)-1-i]:back.first[len(all)-i]]); diff != "" {
			t.Errorf("document %d, asked in another order:\n%s", i, diff)
		}
	}
}

// TestPack: for random sequences, every scored token is asked of the row that
// stands before it, every path through a tree is its sequence, and nothing that
// is shared stands twice.
func TestPack(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for round := range 200 {
		var seqs []Sequence
		var groups []int
		for g := range 1 + random.IntN(6) {
			context := tokens(random, 1+random.IntN(20))
			for range 1 + random.IntN(4) {
				s := slices.Concat(context, tokens(random, 1+random.IntN(5)))
				seqs = append(seqs, Sequence{Tokens: s, Scored: 1 + random.IntN(len(s)-1)})
				groups = append(groups, g)
			}
		}
		p := Pack(seqs, groups, 1+random.IntN(80))
		covered := map[int]bool{}
		for i, w := range p.Work {
			if err := w.Batch.Validate(5); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			for _, s := range p.spans[i] {
				if covered[s.seq] {
					t.Fatalf("round %d: sequence %d twice", round, s.seq)
				}
				covered[s.seq] = true
				checkTargets(t, &w, seqs[s.seq], w.Targets[s.lo:s.hi])
			}
			for segment, seq := range w.Sequences {
				last := w.Batch.Segments[segment].Start + w.Batch.Segments[segment].Len - 1
				if path := pathTo(&w.Batch, last); !slices.Equal(path, seqs[seq].Tokens[:len(path)]) {
					t.Fatalf("round %d: segment %d is %v, sequence %d %v", round, segment, path, seq, seqs[seq].Tokens)
				}
			}
		}
		if len(covered) != len(seqs) {
			t.Fatalf("round %d: %d of %d sequences packed", round, len(covered), len(seqs))
		}
	}
}

func tokens(random *rand.Rand, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(random.IntN(5))
	}
	return out
}

// checkTargets reads what each target's row has seen.
func checkTargets(t *testing.T, w *forest.Work, s Sequence, targets []engine.Target) {
	t.Helper()
	if len(targets) != s.Scored {
		t.Fatalf("%d targets, want %d", len(targets), s.Scored)
	}
	for i, target := range targets {
		at := len(s.Tokens) - s.Scored + i
		if target.Token != s.Tokens[at] {
			t.Fatalf("target %d asks for %d, want %d", i, target.Token, s.Tokens[at])
		}
		if seen := pathTo(&w.Batch, target.Row); !slices.Equal(seen, s.Tokens[:at]) {
			t.Fatalf("target %d follows %v, want %v", i, seen, s.Tokens[:at])
		}
	}
}

func pathTo(b *engine.Batch, row int) []int32 {
	at := slices.IndexFunc(b.Segments, func(s engine.Segment) bool { return row >= s.Start && row < s.Start+s.Len })
	out := slices.Clone(b.Tokens[b.Segments[at].Start : row+1])
	for p := b.Segments[at].Parent; p != engine.NoParent; p = b.Segments[p].Parent {
		out = slices.Concat(b.Tokens[b.Segments[p].Start:b.Segments[p].Start+b.Segments[p].Len], out)
	}
	return out
}

// badScorer fails for a segment of the last batch.
type badScorer struct{ segment int }

func (s badScorer) Run(_ context.Context, _ []forest.Variant, work []forest.Work, _ forest.RunOptions) error {
	return &forest.NotFiniteError{Layer: 1, Sequence: work[len(work)-1].Sequences[s.segment]}
}

// TestNotFiniteNamesTheDocument: where a score is no number, the task's document
// is named, not where it stood in a batch.
func TestNotFiniteNamesTheDocument(t *testing.T) {
	_, e := modelAt(t, testkit.Llama(t, testkit.Options{Layers: 2, Tokenizer: true}), forest.Options{})
	var asked []*Asked
	for _, name := range []string{"lambada_openai", "wikitext"} {
		task := task(t, name)
		asked = append(asked, build(t, task, docs(t, "testdata/data", task, task.Split()), nil, BuildOptions{}))
	}
	// Packs go from long sequences to short ones: the last is the shortest of all.
	_, err := ScoreAll(context.Background(), badScorer{}, [][]int{nil}, asked, e, 1, nil)
	shortest := func(a *Asked) (at, n int) {
		seqs, of, err := a.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		n = math.MaxInt
		for i, s := range seqs {
			if len(s.Tokens) <= n {
				at, n = a.Requests[of[i]].Doc, len(s.Tokens)
			}
		}
		return at, n
	}
	a, b := asked[0], asked[1]
	at, n := shortest(a)
	if other, m := shortest(b); m <= n {
		a, at = b, other
	}
	want := fmt.Sprintf("task %s: document %d: layer 1: sequence", a.Task.Name, at)
	if !errors.Is(err, forest.ErrNotFinite) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// TestOnADevice: an engine whose calls are queued answers as one whose are not,
// and what fails late ends the task.
func TestOnADevice(t *testing.T) {
	run, e := modelAt(t, testkit.Llama(t, testkit.Options{Layers: 2, Tokenizer: true}), forest.Options{})
	task := task(t, "lambada_openai")
	a := build(t, task, docs(t, "testdata/data", task, "test"), nil, BuildOptions{})
	want := scoreAll(t, run, e, a, 512)
	var armed atomic.Bool
	broken := errors.New("broken")
	device := slow.New(slow.Options{Fail: func(call string) error {
		if armed.Load() && call == "Head.LogProbs" {
			return broken
		}
		return nil
	}})
	t.Cleanup(func() { _ = device.Close() })
	on := forest.New(run.Model(), device, forest.Options{DeviceMemory: 1})
	t.Cleanup(on.Close)
	for i, got := range scoreAll(t, on, e, a, 64) {
		if math.Abs(got.LogProb-want[i].LogProb) > 1e-4 || got.Greedy != want[i].Greedy {
			t.Errorf("request %d: %+v, want %+v", i, got, want[i])
		}
	}
	armed.Store(true)
	if _, err := ScoreAll(context.Background(), on, [][]int{nil}, []*Asked{a}, e, 64, nil); !errors.Is(err, broken) {
		t.Errorf("a call that fails late: %v", err)
	}
}

// TestVariantsTogether: several prunings at once answer as each alone.
func TestVariantsTogether(t *testing.T) {
	run, e := modelAt(t, testkit.Llama(t, testkit.Options{Layers: 4, Tokenizer: true}), forest.Options{})
	task := task(t, "lambada_openai")
	a := build(t, task, docs(t, "testdata/data", task, "test"), nil, BuildOptions{})
	prunings := [][]int{nil, {0, 1, 2}, {0, 3}}
	together, err := ScoreAll(context.Background(), run, prunings, []*Asked{a}, e, 64, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, layers := range prunings {
		alone, err := ScoreAll(context.Background(), run, [][]int{layers}, []*Asked{a}, e, 64, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(alone[0], together[i]); diff != "" {
			t.Errorf("layers %v:\n%s", layers, diff)
		}
	}
}
