package generate

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
)

// decoder holds what a batch needs on its way to logits.
type decoder struct {
	spec      *model.Spec
	embedding engine.Embedding
	layers    []engine.Layer
	caches    []engine.KV
	out       engine.Head

	rows    int // most tokens of a batch
	hidden  engine.Hidden
	view    engine.Hidden // the rows of hidden that the last batch took
	batch   engine.Batch
	call    engine.Call
	logits  []float32 // [logitRows, V]
	indices []int
}

const (
	batchTokens = 2048 // most tokens of a prefill batch
	logitRows   = 32   // rows of logits held at a time
)

// newDecoder makes the listed layers resident, with caches of one slot a prompt.
func newDecoder(run *forest.Runner, layers []int, prompts [][]int32, capacity int) (*decoder, error) {
	d := &decoder{spec: run.Model().Spec}
	for _, p := range prompts {
		d.rows = min(batchTokens, d.rows+len(p))
	}
	d.logits = make([]float32, min(logitRows, len(prompts))*d.spec.Vocab)
	if err := d.load(run, layers, len(prompts), capacity); err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

func (d *decoder) load(run *forest.Runner, layers []int, slots, capacity int) (err error) {
	if d.embedding, err = run.Embedding(); err != nil {
		return err
	}
	if d.layers, err = run.Layers(layers); err != nil {
		return err
	}
	if d.out, err = run.Head(); err != nil {
		return err
	}
	for range d.layers {
		kv, err := run.Engine().NewKV(run.Model(), slots, capacity)
		if err != nil {
			return err
		}
		d.caches = append(d.caches, kv)
	}
	hidden, err := run.Engine().NewHidden(run.Model(), d.rows)
	if err != nil {
		return err
	}
	d.hidden, d.view = hidden, hidden
	return nil
}

// release lets go of what is the decoder's own; the model's parts are the Runner's.
func (d *decoder) release() {
	for _, kv := range d.caches {
		kv.Release()
	}
	if d.hidden != nil {
		d.hidden.Release()
	}
}

// forward runs the batch through all layers, its keys and values going to the
// caches. The result is in view [N, D].
func (d *decoder) forward(ctx context.Context) error {
	if d.view.Rows() != d.batch.Len() { // steps mostly have the last one's size
		d.view = d.hidden.Slice(0, d.batch.Len())
	}
	if err := d.embedding.Forward(ctx, &d.batch, d.view); err != nil {
		return fmt.Errorf("embedding: %w", err)
	}
	for i, layer := range d.layers {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d.call = engine.Call{Batch: &d.batch, KV: d.caches[i]}
		if err := layer.Forward(ctx, &d.call, d.view, d.view); err != nil {
			return fmt.Errorf("layer at depth %d: %w", i, err)
		}
	}
	return nil
}

// head computes the logits of the given rows, [len(which), V] in d.logits.
func (d *decoder) head(ctx context.Context, which []ready) error {
	d.indices = d.indices[:0]
	for _, r := range which {
		d.indices = append(d.indices, r.row)
	}
	if err := d.out.Logits(ctx, d.view, d.indices, d.logits[:len(which)*d.spec.Vocab]); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	return nil
}
