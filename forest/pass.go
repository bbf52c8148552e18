package forest

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/coppice-ml/coppice/engine"
)

// flow is one group of work on its way through one part. Its states lie in one
// block: slot s holds rows [s*tokens, (s+1)*tokens), in order of the work.
type flow struct {
	*pass
	part  *part
	first int // index of the group's first Work
	work  []Work
	start []int // [len(work)+1] row of each Work within a slot

	tokens int
	states engine.Hidden
	batch  engine.Batch // of the call under way

	sequences []int // [segments of batch] that each is of, for observers
}

// run walks every part's groups through the layers.
func (p *pass) run(ctx context.Context) error {
	p.progress(0, p.total)
	for i := range p.parts {
		part := &p.parts[i]
		p.r.set.Use(part.fit)
		if err := p.r.reserve(part); err != nil {
			return p.short(part, err)
		}
		for _, g := range part.groups {
			f := p.flow(part, g[0], g[1])
			if err := f.run(ctx); err != nil {
				return p.short(part, p.explain(ctx, err))
			}
		}
	}
	return nil
}

// short adds to what a device without room says what would have fit.
func (p *pass) short(part *part, err error) error {
	if !errors.Is(err, engine.ErrMemory) {
		return err
	}
	remedy := p.r.set.Remedy(p.need.of(part.schedule), part.fit)
	if remedy == "" {
		return err
	}
	return fmt.Errorf("%w; as planned, %s", err, remedy)
}

// reserve makes room for the states of a part's largest group.
func (r *Runner) reserve(p *part) error {
	rows := p.schedule.slots * p.fit.Tokens
	if r.slab != nil && r.slab.Rows() >= rows {
		return nil
	}
	if r.slab != nil {
		r.slab.Release()
		r.slab = nil
		if r.opt.Memory > 0 { // the old block goes before the new one comes
			debug.FreeOSMemory()
		}
	}
	var err error
	r.slab, err = r.e.NewHidden(r.m, rows)
	return err
}

func (p *pass) flow(part *part, first, end int) *flow {
	f := &flow{pass: p, part: part, first: first, work: p.work[first:end]}
	for i := range f.work {
		f.start = append(f.start, f.tokens)
		f.tokens += f.work[i].Batch.Len()
	}
	f.start = append(f.start, f.tokens)
	f.states = p.r.slab.Slice(0, part.schedule.slots*f.tokens)
	return f
}

func (f *flow) run(ctx context.Context) error {
	if err := f.embed(ctx); err != nil {
		return err
	}
	steps := f.part.schedule.steps
	for i, s := range steps {
		layer, err := f.r.set.Layer(ctx, s.layer)
		if err != nil {
			return err
		}
		last := i+1 == len(steps)
		if !last {
			f.r.set.Ahead(steps[i+1].layer)
		}
		if err := f.layer(ctx, layer, s); err != nil {
			return err
		}
		if last || steps[i+1].layer != s.layer {
			f.r.set.Done(s.layer)
		}
	}
	return f.heads(ctx)
}

// embed fills the root's slot.
func (f *flow) embed(ctx context.Context) error {
	embedding, err := f.r.set.Embedding()
	if err != nil {
		return err
	}
	return f.chunks(span{slots: 1}, f.part.fit.Rows, func(c chunk) error {
		if err := cancelled(ctx); err != nil {
			return err
		}
		return embedding.Forward(ctx, f.gather(c), f.states.Slice(c.lo, c.hi))
	})
}

// layer computes a step: neighbouring slots that stay in place as one run, the
// others one by one.
func (f *flow) layer(ctx context.Context, layer engine.Layer, s step) error {
	for moves := s.moves; len(moves) > 0; {
		m, n := moves[0], together(moves)
		moves = moves[n:]
		err := f.chunks(span{slot: m.src, slots: n}, f.part.fit.Rows, func(c chunk) error {
			if err := cancelled(ctx); err != nil {
				return err
			}
			return f.move(ctx, layer, s.layer, m, c)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// together is how many of the moves, from the first on, run as one: those of
// neighbouring slots that stay in place, else the first alone.
func together(moves []move) int {
	n := 1
	for n < len(moves) && moves[0].src == moves[0].dst && moves[n].src == moves[n].dst && moves[n].src == moves[0].src+n {
		n++
	}
	return n
}

// move runs one chunk through a layer; m is the move of a run of one slot, or
// the first of a run that stays in place.
func (f *flow) move(ctx context.Context, layer engine.Layer, index int, m move, c chunk) error {
	shift := (m.dst - m.src) * f.tokens
	x, y := f.states.Slice(c.lo, c.hi), f.states.Slice(c.lo+shift, c.hi+shift)
	if err := layer.Forward(ctx, &engine.Call{Batch: f.gather(c)}, x, y); err != nil {
		return layerError(index, err)
	}
	if n := &f.part.trie.nodes[m.node]; n.watched {
		if err := f.show(ctx, n, x, y, c); err != nil {
			return err
		}
	}
	f.advance(int64(c.hi - c.lo))
	return nil
}

// show gives a step to every observer of the variants that pass a node.
func (f *flow) show(ctx context.Context, n *node, x, y engine.Hidden, c chunk) error {
	f.sequences = f.sequences[:0]
	for i := c.work; i < c.work+c.works; i++ {
		at := i % len(f.work)
		f.sequences = f.work[at].appendSequences(f.sequences, f.first+at)
	}
	step := Step{Layer: n.layer, Depth: n.depth - 1, Sequences: f.sequences, Batch: &f.batch, In: x, Out: y}
	for _, v := range n.through {
		if observe := f.part.variants[v].Observe; observe != nil {
			if err := observe(ctx, step); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pass) advance(rows int64) {
	p.done += rows
	p.progress(p.done, p.total)
}

func cancelled(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// span is a run of neighbouring slots.
type span struct{ slot, slots int }

// chunk is what one call of the engine takes: rows [lo, hi) of the states, from
// Work number work of the span on (counted through its slots).
type chunk struct {
	lo, hi int
	work   int
	works  int
}

// chunks cuts a span at the ends of works into as few calls as take at most
// so many rows each; a Work is never cut.
func (f *flow) chunks(s span, rows int, do func(chunk) error) error {
	n := s.slots * len(f.work)
	row := func(i int) int { return (s.slot+i/len(f.work))*f.tokens + f.start[i%len(f.work)] }
	for at := 0; at < n; {
		c := chunk{lo: row(at), work: at}
		for at < n && (c.works == 0 || row(at)+f.size(at)-c.lo <= rows) {
			c.hi = row(at) + f.size(at)
			c.works++
			at++
		}
		if err := do(c); err != nil {
			return err
		}
	}
	return nil
}

// size is the number of tokens of Work i of a span.
func (f *flow) size(i int) int {
	i %= len(f.work)
	return f.start[i+1] - f.start[i]
}

// gather packs the works of a chunk into one batch.
func (f *flow) gather(c chunk) *engine.Batch {
	f.batch.Reset()
	for i := c.work; i < c.work+c.works; i++ {
		b := &f.work[i%len(f.work)].Batch
		at, segment := f.batch.Len(), len(f.batch.Segments)
		f.batch.Tokens = append(f.batch.Tokens, b.Tokens...)
		f.batch.Positions = append(f.batch.Positions, b.Positions...)
		for _, s := range b.Segments {
			s.Start += at
			if s.Parent != engine.NoParent {
				s.Parent += segment
			}
			f.batch.Segments = append(f.batch.Segments, s)
		}
	}
	return &f.batch
}
