package forest_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// trees packs the sequences in pairs, each cut in two: a parent and its child.
func trees() (work []forest.Work) {
	for i, seq := range sequences() {
		if i%2 == 0 {
			work = append(work, forest.Work{})
		}
		w := &work[len(work)-1]
		base, cut := w.Batch.Len(), (len(seq)+1)/2
		parent := w.Batch.Add(seq[:cut], engine.NoParent)
		if cut < len(seq) {
			w.Batch.Add(seq[cut:], parent)
		}
		for j := range seq[1:] {
			w.Targets = append(w.Targets, engine.Target{Row: base + j, Token: seq[j+1]})
		}
	}
	return work
}

// TestScore: prepared batches score as the sequences they hold, bit for bit,
// with any memory, and come back in order.
func TestScore(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 3})), newEngine(t)
	layers := []int{0, 2}
	want := slices.Concat(scores(t, newRunner(t, m, e, forest.Options{}), layers)...)
	for _, opt := range []forest.Options{{}, {Memory: 1, BatchTokens: 50}, {BatchTokens: 1}} {
		var got []engine.TokenScore
		next := 0
		err := newRunner(t, m, e, opt).Score(context.Background(), layers, trees(), func(i int, s []engine.TokenScore) error {
			if i != next {
				t.Errorf("batch %d came where %d was due", i, next)
			}
			next++
			got = append(got, s...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("memory %d, batch %d: scores differ from those of the sequences", opt.Memory, opt.BatchTokens)
		}
	}
}

func TestScoreRefuses(t *testing.T) {
	m, e := enginetest.Open(t, testkit.Llama(t, testkit.Options{})), newEngine(t)
	r := newRunner(t, m, e, forest.Options{})
	var ok engine.Batch
	ok.Add([]int32{1, 2}, engine.NoParent)
	for _, tt := range []struct {
		name string
		work forest.Work
		want string
	}{
		{"empty", forest.Work{}, "batch 0: batch is empty"},
		{"no targets", forest.Work{Batch: ok}, "no score is asked for"},
		{"row", forest.Work{Batch: ok, Targets: []engine.Target{{Row: 2}}}, "target 0 names row 2 of 2"},
		{"token", forest.Work{Batch: ok, Targets: []engine.Target{{Token: -1}}}, "token id -1 is outside"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := r.Score(context.Background(), nil, []forest.Work{tt.work}, nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
