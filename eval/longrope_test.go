package eval

import (
	"context"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// A context of 30 tokens is not shared by sequences on different sides of the
// length at which longrope changes, and each scores as it does alone.
func TestPackAcrossLongropesSwitch(t *testing.T) {
	c, err := checkpoint.Open(testkit.Golden(t, "phi3_longrope").Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	e, err := cpu.New(cpu.Options{DType: "float32"})
	if err != nil {
		t.Fatal(err)
	}
	run := forest.New(m, e, forest.Options{})
	t.Cleanup(func() {
		run.Close()
		_ = e.Close()
	})
	var ids []int32
	for i := range 40 {
		ids = append(ids, int32(3+(i*i*7)%(m.Spec.Vocab-3)))
	}
	var seqs []Sequence
	for i, n := range []int{1, 6, 2, 7, 3} { // tokens of the choice; one less goes in
		s := Sequence{Tokens: append(slices.Clone(ids[:30]), int32(5+i))}
		s.Tokens = append(s.Tokens, ids[31:30+n]...)
		s.Scored, s.Choice = n, m.Spec.RopeChoice(len(s.Tokens)-1)
		seqs = append(seqs, s)
	}
	together := scoresOf(t, run, seqs)
	for i, s := range seqs {
		if alone := scoresOf(t, run, []Sequence{s}); alone[0] != together[i] {
			t.Errorf("sequence %d: %+v among others, %+v alone", i, together[i], alone[0])
		}
	}
}

func scoresOf(t *testing.T, run *forest.Runner, seqs []Sequence) []Response {
	t.Helper()
	p, out := Pack(seqs, make([]int, len(seqs)), 512), make([]Response, len(seqs))
	err := run.Score(context.Background(), nil, p.Work, func(i int, scores []engine.TokenScore) error {
		p.Collect(i, scores, out)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
