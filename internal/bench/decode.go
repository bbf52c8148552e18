package bench

import (
	"context"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

// decodeSteps is how many tokens one round of decoding takes.
const decodeSteps = 16

// decode measures one sequence that grows a token at a time, after a context of
// Tokens. The limit is reading every layer and the head once from memory.
func (opt Options) decode(ctx context.Context, m *model.Model, l limiter) (report.Bench, error) {
	runner := forest.New(m, opt.Engine, forest.Options{})
	defer runner.Close()
	d, err := newDecoding(ctx, runner, tokens(opt, m.Spec.Vocab))
	if err != nil {
		return report.Bench{}, err
	}
	defer d.release()
	p := pairs{opt: opt, tokens: decodeSteps, operations: decodeSteps * 2 * float64(m.Spec.MACsPerToken()), run: d.round, l: l}
	if l != nil {
		read, err := l.reads(m)
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
	embed   engine.Embedding
	layers  []engine.Layer
	head    engine.Head
	caches  []engine.KV
	context int
	batch   engine.Batch
	call    engine.Call
	x       engine.Hidden // [1, D]
	rows    []int
	logits  []float32
}

func newDecoding(ctx context.Context, run *forest.Runner, prompt []int32) (d *decoding, err error) {
	d = &decoding{ctx: ctx, context: len(prompt), rows: []int{0}, logits: make([]float32, run.Model().Spec.Vocab)}
	defer func() {
		if err != nil {
			d.release()
		}
	}()
	if d.embed, err = run.Embedding(); err != nil {
		return nil, err
	}
	if d.layers, err = run.Layers(nil); err != nil {
		return nil, err
	}
	if d.head, err = run.Head(); err != nil {
		return nil, err
	}
	for range d.layers {
		kv, err := run.Engine().NewKV(run.Model(), 1, len(prompt)+decodeSteps)
		if err != nil {
			return nil, err
		}
		d.caches = append(d.caches, kv)
	}
	all, err := run.Engine().NewHidden(run.Model(), len(prompt))
	if err != nil {
		return nil, err
	}
	defer all.Release()
	if d.x, err = run.Engine().NewHidden(run.Model(), 1); err != nil {
		return nil, err
	}
	d.batch.Continue(prompt, 0, 0)
	return d, d.forward(all)
}

func (d *decoding) release() {
	for _, kv := range d.caches {
		kv.Release()
	}
	if d.x != nil {
		d.x.Release()
	}
}

func (d *decoding) forward(x engine.Hidden) error {
	if err := d.embed.Forward(d.ctx, &d.batch, x); err != nil {
		return err
	}
	for i, l := range d.layers {
		d.call = engine.Call{Batch: &d.batch, KV: d.caches[i]}
		if err := l.Forward(d.ctx, &d.call, x, x); err != nil {
			return err
		}
	}
	return nil
}

// step decodes one token after past others.
func (d *decoding) step(token int32, past int) error {
	d.batch.Reset()
	d.batch.Tokens = append(d.batch.Tokens, token)
	d.batch.Positions = append(d.batch.Positions, int32(past))
	d.batch.Segments = append(d.batch.Segments, engine.Segment{Len: 1, Parent: engine.NoParent, Past: past})
	if err := d.forward(d.x); err != nil {
		return err
	}
	return d.head.Logits(d.ctx, d.x, d.rows, d.logits)
}

// round decodes some tokens and forgets them.
func (d *decoding) round() error {
	for i := range decodeSteps {
		if err := d.step(int32(i), d.context+i); err != nil {
			return err
		}
	}
	for _, kv := range d.caches {
		kv.Truncate(0, d.context)
	}
	return nil
}
