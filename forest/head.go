package forest

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/engine"
)

// heads asks the head for everything that is wanted of the states at the ends
// of variants, neighbouring slots together.
func (f *flow) heads(ctx context.Context) error {
	ends := f.part.schedule.ends
	if len(ends) == 0 {
		return nil
	}
	head, err := f.r.set.Head()
	if err != nil {
		return err
	}
	for i := 0; i < len(ends); {
		from := i
		run := span{slot: ends[i].slot, slots: 1}
		for i++; i < len(ends) && ends[i].slot == run.slot+run.slots; i++ {
			run.slots++
		}
		if err := f.scores(ctx, head, run, ends[from:i]); err != nil {
			return err
		}
	}
	return f.divergences(ctx, head)
}

// scores scores the targets of a run of ends.
func (f *flow) scores(ctx context.Context, head engine.Head, run span, ends []end) error {
	return f.chunks(run, f.part.fit.Rows, func(c chunk) error {
		if err := cancelled(ctx); err != nil {
			return err
		}
		var targets []engine.Target
		f.eachWork(c, func(slot, work, row int) {
			if !f.part.wants(ends[slot], false) {
				return
			}
			for _, t := range f.work[work].Targets {
				targets = append(targets, engine.Target{Row: row + t.Row, Token: t.Token})
			}
		})
		scores := make([]engine.TokenScore, len(targets))
		if err := head.LogProbs(ctx, f.states.Slice(c.lo, c.hi), targets, scores); err != nil {
			return fmt.Errorf("head: %w", err)
		}
		return f.emit(c, ends, scores)
	})
}

// eachWork visits the works of a chunk of a run of ends: the place of its slot
// in the run, its index in the group, its first row in the chunk.
func (f *flow) eachWork(c chunk, visit func(slot, work, row int)) {
	row := 0
	for i := c.work; i < c.work+c.works; i++ {
		visit(i/len(f.work), i%len(f.work), row)
		row += f.size(i)
	}
}

// emit hands a chunk's scores to the variants.
func (f *flow) emit(c chunk, ends []end, scores []engine.TokenScore) (err error) {
	f.eachWork(c, func(slot, work, _ int) {
		if err != nil || !f.part.wants(ends[slot], false) {
			return
		}
		n := len(f.work[work].Targets)
		for _, v := range f.part.trie.nodes[ends[slot].node].scored {
			variant := &f.part.variants[v]
			if variant.Scores == nil || err != nil {
				continue
			}
			if at := notFinite(scores[:n]); at >= 0 {
				err = f.work[work].badScore(*variant, f.first+work, f.work[work].Targets[at].Row)
				return
			}
			err = variant.Scores(f.first+work, scores[:n])
		}
		scores = scores[n:]
		f.advance(int64(f.need.rows[f.first+work]))
	})
	return err
}

func notFinite(scores []engine.TokenScore) int {
	for i, s := range scores {
		if math.IsNaN(s.LogProb) || math.IsInf(s.LogProb, 0) {
			return i
		}
	}
	return -1
}

// divergences compares the ends of variants with the first variant's, all ends
// for a few works at a time.
func (f *flow) divergences(ctx context.Context, head engine.Head) error {
	var reference end
	var ends []end
	for _, e := range f.part.schedule.ends {
		if f.part.wants(e, true) {
			ends = append(ends, e)
		}
		if slices.Contains(f.part.trie.nodes[e.node].scored, 0) {
			reference = e
		}
	}
	if len(ends) == 0 {
		return nil
	}
	rows := max(1, f.part.fit.Rows/(1+len(ends)))
	return f.chunks(span{slots: 1}, rows, func(c chunk) error {
		if err := cancelled(ctx); err != nil {
			return err
		}
		return f.compare(ctx, head, c, reference, ends)
	})
}

// compare compares one chunk of works of every end with the reference's.
func (f *flow) compare(ctx context.Context, head engine.Head, c chunk, reference end, ends []end) error {
	at := func(e end) engine.Hidden {
		return f.states.Slice(e.slot*f.tokens+c.lo, e.slot*f.tokens+c.hi)
	}
	var rows []int
	f.eachWork(c, func(_, work, row int) {
		for _, r := range f.work[work].rows() {
			rows = append(rows, row+r)
		}
	})
	states, out := make([]engine.Hidden, len(ends)), make([][]float64, len(ends))
	for i, e := range ends {
		states[i], out[i] = at(e), make([]float64, len(rows))
	}
	if err := head.KL(ctx, at(reference), states, rows, out); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	for i, e := range ends {
		if err := f.emitDivergence(c, e, out[i]); err != nil {
			return err
		}
	}
	f.advance(int64((len(ends) + 1) * len(rows)))
	return nil
}

func (f *flow) emitDivergence(c chunk, e end, nats []float64) (err error) {
	f.eachWork(c, func(_, work, _ int) {
		n := f.need.rows[f.first+work]
		for _, v := range f.part.trie.nodes[e.node].scored {
			variant := &f.part.variants[v]
			if variant.Divergence == nil || err != nil {
				continue
			}
			if at := slices.IndexFunc(nats[:n], func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }); at >= 0 {
				err = f.work[work].badScore(*variant, f.first+work, f.work[work].rows()[at])
				return
			}
			err = variant.Divergence(f.first+work, nats[:n])
		}
		nats = nats[n:]
	})
	return err
}
