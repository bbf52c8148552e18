package bench

import (
	"context"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/resident"
)

// decodeSteps is how many tokens one round of decoding takes.
const decodeSteps = 16

// decode measures one sequence that grows a token at a time, after a context of
// Tokens. The limit is reading every layer and the head once from memory.
func (opt Options) decode(ctx context.Context, m *model.Model, l engine.Limiter) (report.Bench, error) {
	set := resident.New(m, opt.Engine, resident.Options{})
	defer set.Close()
	d, err := newDecoding(ctx, set, tokens(opt, m.Spec.Vocab))
	if err != nil {
		return report.Bench{}, err
	}
	defer d.release()
	p := pairs{opt: opt, tokens: decodeSteps, operations: decodeSteps * 2 * float64(m.Spec.MACsPerToken()), run: d.round, l: l}
	if l != nil {
		read, err := l.Reads(m)
		if err != nil {
			return report.Bench{}, err
		}
		p.limit = func() (time.Duration, error) { return decodeSteps * read(), nil }
	}
	return p.measure()
}

// decoding is a sequence with its caches.
type decoding struct {
	ctx     context.Context
	walk    *resident.Cached
	context int
	batch   engine.Batch
	x       engine.Hidden // [1, D]
	rows    []int
	logits  []float32
}

func newDecoding(ctx context.Context, set *resident.Set, prompt []int32) (d *decoding, err error) {
	d = &decoding{ctx: ctx, context: len(prompt), rows: []int{0}, logits: make([]float32, set.Model().Spec.Vocab)}
	layers, err := set.List(nil)
	if err != nil {
		return nil, err
	}
	if d.walk, err = set.Cached(layers, 1, len(prompt)+decodeSteps); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.release()
		}
	}()
	all, err := set.Engine().NewHidden(set.Model(), len(prompt))
	if err != nil {
		return nil, err
	}
	defer all.Release()
	if d.x, err = set.Engine().NewHidden(set.Model(), 1); err != nil {
		return nil, err
	}
	d.batch.Continue(prompt, 0, 0)
	return d, d.walk.Forward(ctx, &d.batch, all)
}

func (d *decoding) release() {
	d.walk.Release()
	if d.x != nil {
		d.x.Release()
	}
}

// step decodes one token after past others.
func (d *decoding) step(token int32, past int) error {
	d.batch.Reset()
	d.batch.Tokens = append(d.batch.Tokens, token)
	d.batch.Positions = append(d.batch.Positions, int32(past))
	d.batch.Segments = append(d.batch.Segments, engine.Segment{Len: 1, Parent: engine.NoParent, Past: past})
	if err := d.walk.Forward(d.ctx, &d.batch, d.x); err != nil {
		return err
	}
	return d.walk.Logits(d.ctx, d.x, d.rows, d.logits)
}

// round decodes some tokens and forgets them.
func (d *decoding) round() error {
	for i := range decodeSteps {
		if err := d.step(int32(i), d.context+i); err != nil {
			return err
		}
	}
	d.walk.Truncate(0, d.context)
	return nil
}
