package generate

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/resident"
)

// decoder holds what a batch needs on its way to logits.
type decoder struct {
	spec  *model.Spec
	walk  *resident.Cached
	rows  int // most tokens of a batch
	batch engine.Batch

	hidden  engine.Hidden
	view    engine.Hidden // the rows of hidden that the last batch took
	logits  []float32     // [logitRows, V]
	indices []int
}

const (
	batchTokens = 2048 // most tokens of a prefill batch
	logitRows   = 32   // rows of logits held at a time
)

// newDecoder makes caches of one slot a prompt for the listed layers, which stay
// in memory if they fit beside them.
func newDecoder(set *resident.Set, layers []int, prompts [][]int32, capacity int) (*decoder, error) {
	rows := 0
	for _, p := range prompts {
		rows = min(batchTokens, rows+len(p))
	}
	need := decoding(set, layers, len(prompts), rows, capacity)
	fit := set.Plan(need)
	if fit.Over {
		return nil, tooMuch(set, need, fit, len(prompts), capacity)
	}
	return openDecoder(set, fit, layers, len(prompts), rows, capacity)
}

// decoding is what slots of sequences of up to capacity tokens need, rows tokens at
// a time.
func decoding(set *resident.Set, layers []int, slots, rows, capacity int) resident.Need {
	return resident.Need{
		Layers: layers, Head: true, Tokens: int64(rows), Longest: rows, Batch: rows, States: 1,
		Cached: int64(slots) * int64(capacity), Holds: resident.HoldAlways(int64(min(logitRows, slots)) * int64(set.Model().Spec.Vocab) * 4),
	}
}

// openDecoder makes the caches and buffers that fit.
func openDecoder(set *resident.Set, fit resident.Fit, layers []int, slots, rows, capacity int) (*decoder, error) {
	d := &decoder{spec: set.Model().Spec, rows: rows}
	set.Use(fit)
	d.logits = make([]float32, min(logitRows, slots)*d.spec.Vocab)
	var err error
	if d.walk, err = set.Cached(layers, slots, capacity); err != nil {
		return nil, err
	}
	if d.hidden, err = set.Engine().NewHidden(set.Model(), d.rows); err != nil {
		d.release()
		return nil, err
	}
	d.view = d.hidden
	return d, nil
}

func tooMuch(set *resident.Set, need resident.Need, fit resident.Fit, prompts, capacity int) error {
	return fmt.Errorf("one layer beside the caches of %d sequences of up to %d tokens takes more than is allowed: %s; or ask for fewer new tokens, or for fewer prompts at once", prompts, capacity, set.Remedy(need, fit))
}

// release lets go of what is the decoder's own; the model's parts are the Set's.
func (d *decoder) release() {
	d.walk.Release()
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
	return d.walk.Forward(ctx, &d.batch, d.view)
}

// head computes the logits of the given rows, [len(which), V] in d.logits.
func (d *decoder) head(ctx context.Context, which []ready) error {
	d.indices = d.indices[:0]
	for _, r := range which {
		d.indices = append(d.indices, r.row)
	}
	return d.walk.Logits(ctx, d.view, d.indices, d.logits[:len(which)*d.spec.Vocab])
}
