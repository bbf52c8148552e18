package score_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/score"
)

func store(t *testing.T, dir string, identity ...string) *score.Store {
	t.Helper()
	s, err := score.OpenStore(dir, identity...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestResume cancels a run again and again and starts it anew: nothing that was
// finished is computed twice, and the scores are those of a run in one go.
func TestResume(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 5}))
	e := newEngine(t, cpu.Options{DType: "float32"})
	opt := score.Options{Metrics: []string{score.BI, score.CKA, score.PPL, score.KL, score.GreedyPPL}, Matrix: true}
	for i := range 12 {
		opt.Sequences = append(opt.Sequences, slices.Repeat([]int32{int32(i), int32(3*i + 1), 7}, 20+i))
	}
	plain := forest.New(m, e, forest.Options{BatchTokens: 150})
	defer plain.Close()
	want := rank(t, m, plain, opt)

	dir := t.TempDir()
	kept, runs := -1, 0
	for done := false; !done; runs++ {
		s := store(t, dir, "model", "data")
		if s.Kept() < kept || runs > 200 {
			t.Fatalf("run %d: %d pieces kept after %d", runs, s.Kept(), kept)
		}
		kept = s.Kept()
		ctx, cancel := context.WithCancel(context.Background())
		run := forest.New(m, e, forest.Options{BatchTokens: 150})
		steps := 0
		resumed := opt
		resumed.Store = s
		priced, err := score.Price(m, run, resumed)
		if err != nil {
			t.Fatal(err)
		}
		got, err := priced.Run(ctx, forest.RunOptions{Progress: func(int64, int64) {
			if steps++; steps > 30+runs*37%300 {
				cancel()
			}
		}})
		run.Close()
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if done = err == nil; done {
			for i := range want {
				if !same(got[i].Scores, want[i].Scores) || !slices.Equal(got[i].Order, want[i].Order) || !same(slices.Concat(got[i].Matrix...), slices.Concat(want[i].Matrix...)) {
					t.Errorf("%s: %v after %d runs, %v in one go", want[i].Metric, got[i].Scores, runs, want[i].Scores)
				}
			}
		}
	}
	if runs < 5 {
		t.Errorf("finished in %d runs: it was hardly interrupted", runs)
	}
	t.Logf("%d runs", runs)

	// With everything kept nothing is announced and nothing runs.
	opt.Store = store(t, dir, "model", "data")
	run := forest.New(m, nothing{e}, forest.Options{})
	defer run.Close()
	priced, err := score.Price(m, run, opt)
	if err != nil {
		t.Fatal(err)
	}
	if costs := priced.Costs(); len(costs) != 2 || costs[0].Forest != (forest.Cost{}) || costs[1].Forest != (forest.Cost{}) || costs[1].Rounds != 4 {
		t.Errorf("with everything kept: %+v", costs)
	}
	got, err := priced.Run(context.Background(), forest.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if !same(got[i].Scores, want[i].Scores) || !same(got[i].Losses, want[i].Losses) {
			t.Errorf("%s: %v, %v in one go", want[i].Metric, got[i].Scores, want[i].Scores)
		}
	}
}

// nothing is an engine that makes nothing resident.
type nothing struct{ engine.Engine }

func (nothing) Fetch(*model.Model, int, engine.LayerOptions) engine.Fetched {
	panic("a layer is wanted")
}

// TestFullDisk: what cannot be written is kept in memory, and the scores come.
func TestFullDisk(t *testing.T) {
	g := testkit.Golden(t, "llama")
	m := enginetest.Open(t, g.Checkpoint)
	run := forest.New(m, newEngine(t, cpu.Options{DType: "float32"}), forest.Options{})
	defer run.Close()
	opt := score.Options{Metrics: []string{score.PPL}, Sequences: g.Sequences(t, "calib_ids")}
	want := rank(t, m, run, opt)
	opt.Store = store(t, t.TempDir(), "a")
	_ = opt.Store.Close() // writing fails from here on
	got := rank(t, m, run, opt)
	if !same(got[0].Scores, want[0].Scores) || opt.Store.Failed() == nil || opt.Store.New() != 0 {
		t.Errorf("%v, want %v; failed: %v, %d new", got[0].Scores, want[0].Scores, opt.Store.Failed(), opt.Store.New())
	}
}

// TestStoreTornLine: what a killed process left of a line is cut off, the rest
// is read, to the bit.
func TestStoreTornLine(t *testing.T) {
	g := testkit.Golden(t, "llama")
	m := enginetest.Open(t, g.Checkpoint)
	run := forest.New(m, newEngine(t, cpu.Options{DType: "float32"}), forest.Options{})
	defer run.Close()
	dir := t.TempDir()
	opt := score.Options{Metrics: []string{score.BI, score.BIGlobal}, Sequences: g.Sequences(t, "calib_ids"), Store: store(t, dir, "a")}
	want := rank(t, m, run, opt)
	files, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int{0, 1, 30, len(raw) / 2, len(raw) - 1} {
		if err := os.WriteFile(files[0], raw[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		opt.Store = store(t, dir, "a")
		got := rank(t, m, run, opt)
		for i := range want {
			if !same(got[i].Scores, want[i].Scores) {
				t.Errorf("cut at %d: %v, want %v", cut, got[i].Scores, want[i].Scores)
			}
		}
		if again := store(t, dir, "a"); again.Kept() != 2 {
			t.Errorf("cut at %d: %d pieces kept afterwards, want 2", cut, again.Kept())
		}
	}
	if other := store(t, dir, "b"); other.Kept() != 0 {
		t.Error("another question finds the answers of the first")
	}
	if !math.IsNaN(want[1].Scores[m.Spec.Layers-1]) {
		t.Error("the NaN that had to be kept is not there")
	}
}

// TestStoreSideBySide: what two processes keep at once is all there afterwards.
func TestStoreSideBySide(t *testing.T) {
	g := testkit.Golden(t, "llama")
	m := enginetest.Open(t, g.Checkpoint)
	run := forest.New(m, newEngine(t, cpu.Options{DType: "float32"}), forest.Options{})
	defer run.Close()
	dir := t.TempDir()
	a, b := store(t, dir, "a"), store(t, dir, "a")
	opt := score.Options{Sequences: g.Sequences(t, "calib_ids")}
	for _, one := range []struct {
		store  *score.Store
		metric string
	}{{a, score.BI}, {b, score.Relative}} {
		opt.Store, opt.Metrics = one.store, []string{one.metric}
		rank(t, m, run, opt)
	}
	if both := store(t, dir, "a"); both.Kept() != a.New()+b.New() {
		t.Errorf("%d pieces kept, want %d and %d", both.Kept(), a.New(), b.New())
	}
}
