package forest

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
)

// pass is one walk of sequences through a list of layers. Sequences go in
// groups: all of a group's hidden states are in memory, and every layer is
// brought in once a group. With resident weights a group is one batch; when
// weights stream past, it is as much as memory holds.
type pass struct {
	r       *Runner
	layers  []int
	seqs    [][]int32
	work    []Work // instead of sequences
	observe func(Step) error
	emit    func(int, []engine.TokenScore) error

	tokens      int64
	done, total int64 // token-layers; the head counts as a layer
}

// group is a run of batches whose hidden states live at the same time.
type group []*flight

// flight is one batch on its way.
type flight struct {
	batch   engine.Batch
	targets []engine.Target // of prepared work; nil: every token given those before it
	first   int             // index of its first sequence, or of the work
	in, out engine.Hidden // out is nil where layers work in place
}

func (r *Runner) pass(layers []int, seqs [][]int32) (*pass, error) {
	layers, err := r.list(layers)
	if err != nil {
		return nil, err
	}
	if len(seqs) == 0 {
		return nil, fmt.Errorf("there are no sequences")
	}
	p := &pass{r: r, layers: layers, seqs: seqs}
	for i, s := range seqs {
		if len(s) == 0 {
			return nil, fmt.Errorf("sequence %d is empty", i)
		}
		for j, id := range s {
			if id < 0 || int(id) >= r.m.Spec.Vocab {
				return nil, fmt.Errorf("sequence %d: token id %d at index %d is outside the vocabulary of %d", i, id, j, r.m.Spec.Vocab)
			}
		}
		p.tokens += int64(len(s))
	}
	return p, nil
}

func (p *pass) run(ctx context.Context) error {
	p.total = p.tokens * int64(len(p.layers))
	if p.emit != nil {
		p.total += p.tokens
	}
	p.r.opt.Progress(0, p.total)
	for next := 0; next < len(p.seqs)+len(p.work); {
		g, end := p.nextGroup(next)
		if err := p.runGroup(ctx, g); err != nil {
			return err
		}
		next = end
	}
	return nil
}

// nextGroup packs sequences from first on into batches, as many as fit.
func (p *pass) nextGroup(first int) (g group, end int) {
	budget := p.groupTokens()
	if p.work != nil {
		return p.nextWork(first, budget)
	}
	tokens := 0
	for end = first; end < len(p.seqs); end++ {
		n := len(p.seqs[end])
		if tokens > 0 && tokens+n > budget {
			break
		}
		if len(g) == 0 || g[len(g)-1].batch.Len()+n > p.r.opt.BatchTokens {
			g = append(g, &flight{first: end})
		}
		g[len(g)-1].batch.Add(p.seqs[end], engine.NoParent)
		tokens += n
	}
	return g, end
}

// groupTokens is how many tokens may be in flight.
func (p *pass) groupTokens() int {
	if p.r.keep {
		return p.r.opt.BatchTokens
	}
	free := p.r.opt.Memory - 2*p.r.e.Memory(p.r.m).Layer
	perToken := int64(p.r.m.Spec.Hidden) * 4 * 2 // two hidden states, float32
	return max(p.r.opt.BatchTokens, int(free/2/perToken))
}

func (p *pass) runGroup(ctx context.Context, g group) (err error) {
	defer g.release()
	if err := p.embed(ctx, g); err != nil {
		return err
	}
	for depth, l := range p.layers {
		if depth+1 < len(p.layers) {
			p.r.prefetch(p.layers[depth+1])
		}
		if err := p.runLayer(ctx, g, depth, l); err != nil {
			return err
		}
	}
	return p.runHead(ctx, g)
}

func (p *pass) embed(ctx context.Context, g group) error {
	embedding, err := p.r.Embedding()
	if err != nil {
		return err
	}
	for _, f := range g {
		if f.in, err = p.r.e.NewHidden(p.r.m, f.batch.Len()); err != nil {
			return err
		}
		if p.observe != nil { // an observer needs both sides of a layer
			if f.out, err = p.r.e.NewHidden(p.r.m, f.batch.Len()); err != nil {
				return err
			}
		}
		if err := embedding.Forward(ctx, &f.batch, f.in); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) runLayer(ctx context.Context, g group, depth, index int) error {
	layer, err := p.r.layer(index)
	if err != nil {
		return err
	}
	defer p.r.done(index)
	for _, f := range g {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		out := f.out
		if out == nil {
			out = f.in
		}
		if err := layer.Forward(ctx, &f.batch, f.in, out, nil); err != nil {
			return fmt.Errorf("layer %d: %w", index, err)
		}
		if p.observe != nil {
			if err := p.show(f, depth, index); err != nil {
				return err
			}
			f.in, f.out = f.out, f.in
		}
		p.advance(f)
	}
	return nil
}

func (p *pass) show(f *flight, depth, index int) error {
	in, err := f.in.Host()
	if err != nil {
		return err
	}
	out, err := f.out.Host()
	if err != nil {
		return err
	}
	return p.observe(Step{Layer: index, Depth: depth, First: f.first, Batch: &f.batch, In: in, Out: out})
}

func (p *pass) runHead(ctx context.Context, g group) error {
	if p.emit == nil {
		return nil
	}
	head, err := p.r.Head()
	if err != nil {
		return err
	}
	for _, f := range g {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := p.score(ctx, head, f); err != nil {
			return err
		}
		p.advance(f)
	}
	return nil
}

func (p *pass) score(ctx context.Context, head engine.Head, f *flight) error {
	if f.targets != nil {
		return p.scoreWork(ctx, head, f)
	}
	var targets []engine.Target
	for _, s := range f.batch.Segments {
		for i := s.Start; i < s.Start+s.Len-1; i++ {
			targets = append(targets, engine.Target{Row: i, Token: f.batch.Tokens[i+1]})
		}
	}
	scores := make([]engine.TokenScore, len(targets))
	if err := head.LogProbs(ctx, f.in, targets, scores); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	for i, s := range f.batch.Segments {
		if err := p.emit(f.first+i, scores[:s.Len-1]); err != nil {
			return err
		}
		scores = scores[s.Len-1:]
	}
	return nil
}

func (p *pass) advance(f *flight) {
	p.done += int64(f.batch.Len())
	p.r.opt.Progress(p.done, p.total)
}

func (g group) release() {
	for _, f := range g {
		if f.in != nil {
			f.in.Release()
		}
		if f.out != nil {
			f.out.Release()
		}
	}
}
