package forest

import (
	"fmt"

	"github.com/coppice-ml/coppice/engine"
)

// Work is a batch packed by the caller and the scores that are wanted of it.
// Several targets may name one row; rows that none names never reach the head.
type Work struct {
	Batch   engine.Batch
	Targets []engine.Target
	// Sequences says of which of the caller's sequences each segment is, [segments],
	// one of them where several share it: observers and errors name it. nil: all
	// segments are of one sequence, numbered as the Work.
	Sequences []int
}

// Sequences prepares one Work a sequence, whose targets are all its tokens but
// the first: [T-1], each given those before it.
func Sequences(seqs [][]int32) []Work {
	work := make([]Work, len(seqs))
	for i, s := range seqs {
		if len(s) > 0 {
			work[i].Batch.Add(s, engine.NoParent)
		}
		for j := 1; j < len(s); j++ {
			work[i].Targets = append(work[i].Targets, engine.Target{Row: j - 1, Token: s[j]})
		}
	}
	return work
}

func (w *Work) check(vocab int) error {
	if err := w.Batch.Validate(vocab); err != nil {
		return err
	}
	if n := len(w.Batch.Segments); w.Sequences != nil && len(w.Sequences) != n {
		return fmt.Errorf("sequences are named for %d of %d segments", len(w.Sequences), n)
	}
	for i, t := range w.Targets {
		if t.Row < 0 || t.Row >= w.Batch.Len() {
			return fmt.Errorf("target %d names row %d of %d", i, t.Row, w.Batch.Len())
		}
		if t.Token < 0 || int(t.Token) >= vocab {
			return fmt.Errorf("target %d: token id %d is outside the vocabulary of %d", i, t.Token, vocab)
		}
	}
	return nil
}

// appendSequences appends the sequence of each segment; index is the Work's.
func (w *Work) appendSequences(to []int, index int) []int {
	if w.Sequences != nil {
		return append(to, w.Sequences...)
	}
	for range w.Batch.Segments {
		to = append(to, index)
	}
	return to
}

// rows lists the distinct rows that the targets name, in order of the targets.
func (w *Work) rows() []int {
	seen := make([]bool, w.Batch.Len())
	rows := make([]int, 0, len(w.Targets))
	for _, t := range w.Targets {
		if !seen[t.Row] {
			seen[t.Row] = true
			rows = append(rows, t.Row)
		}
	}
	return rows
}

// check validates work against the model.
func (r *Runner) check(work []Work) error {
	if len(work) == 0 {
		return fmt.Errorf("there are no sequences")
	}
	for i := range work {
		if work[i].Batch.Len() == 0 {
			return fmt.Errorf("sequence %d is empty", i)
		}
		if err := work[i].check(r.m.Spec.Vocab); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
	}
	return nil
}
