package heal

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Parts brings the parts of a model in: a *resident.Set.
type Parts interface {
	Embedding() (engine.Embedding, error)
	// Layer returns layer i, bringing it in unless it is there.
	Layer(ctx context.Context, i int) (engine.Layer, error)
	// Ahead begins to bring a layer in that is wanted next.
	Ahead(i int)
	// Done says that layer i is not wanted for now.
	Done(i int)
	Head() (engine.Head, error)
}

// network is a pruning of a model as training walks it.
type network struct {
	e      engine.Engine
	m      *model.Model
	parts  Parts
	layers []int // kept layers of m, in order
	// low is the depth of the lowest layer that gradients have to reach:
	// len(layers) when only the head trains, -1 when the embedding does.
	low int
	// tapes keeps what layers computed for their backward pass; else it is computed anew.
	tapes bool
	// group is how many rows are in flight at most, if not a single micro-batch is larger.
	group int

	free []*state // of earlier micro-batches
}

// state is hidden states of one micro-batch: the first rows of memory that is
// used again.
type state struct {
	engine.Hidden
	whole engine.Hidden
}

// flow is one micro-batch on its way through the layers.
type flow struct {
	*micro
	call   engine.Call
	states []*state      // [depth-low+1]: what went into each layer that gradients reach, then what came out last
	tapes  []engine.Tape // [depth-low]
	dy     *state
}

// trainedDepths is how many layers gradients go through.
func (n *network) trainedDepths() int { return len(n.layers) - max(0, n.low) }

// gradients runs micro-batches forwards and backwards. Gradients of scale times
// the weighted sum of losses are added to what trains; it returns that sum.
// Sums are in the order of the micro-batches, whatever the groups are.
func (n *network) gradients(ctx context.Context, micros []*micro, scale float64, drop *engine.Dropout) (float64, error) {
	var total float64
	var last []*flow // flows whose dL/dx of the embedding waits, so that the head's gradients come first in a tied matrix
	defer func() { n.release(last) }()
	for _, group := range n.groups(micros) {
		flows, err := n.begin(group, drop)
		if err == nil {
			err = n.forward(ctx, flows)
		}
		if err == nil {
			total, err = n.loss(ctx, flows, scale, total)
		}
		if err == nil {
			err = n.backward(ctx, flows)
		}
		if err != nil || n.low >= 0 {
			n.release(flows)
		} else {
			n.keepEnds(flows)
			last = append(last, flows...)
		}
		if err != nil {
			return 0, err
		}
	}
	return total, n.embed(ctx, last)
}

// groups cuts micro-batches into runs of at most group rows, or of one.
func (n *network) groups(micros []*micro) (out [][]*micro) {
	for lo := 0; lo < len(micros); {
		hi, rows := lo, 0
		for hi < len(micros) && (hi == lo || rows+micros[hi].batch.Len() <= n.group) {
			rows += micros[hi].batch.Len()
			hi++
		}
		out = append(out, micros[lo:hi])
		lo = hi
	}
	return out
}

// begin gives each micro-batch the memory it needs.
func (n *network) begin(micros []*micro, drop *engine.Dropout) ([]*flow, error) {
	flows := make([]*flow, len(micros))
	for i, m := range micros {
		f := &flow{micro: m}
		f.call = engine.Call{Batch: &f.batch}
		if drop != nil {
			d := *drop
			d.Samples = m.samples
			f.call.Dropout = &d
		}
		for range n.trainedDepths() + 1 {
			h, err := n.hidden(m.batch.Len())
			if err != nil {
				n.release(flows)
				return nil, err
			}
			f.states = append(f.states, h)
		}
		flows[i] = f
	}
	return flows, nil
}

// hidden returns hidden states of so many rows, in memory that is free if some
// is large enough.
func (n *network) hidden(rows int) (*state, error) {
	for i, s := range n.free {
		if s.whole.Rows() >= rows {
			n.free = append(n.free[:i], n.free[i+1:]...)
			s.Hidden = s.whole.Slice(0, rows)
			return s, nil
		}
	}
	for _, s := range n.free { // all too small: sizes grew
		s.whole.Release()
	}
	n.free = nil
	const unit = 256
	whole, err := n.e.NewHidden(n.m, (rows+unit-1)/unit*unit)
	if err != nil {
		return nil, err
	}
	return &state{Hidden: whole.Slice(0, rows), whole: whole}, nil
}

// release keeps the memory of flows for others.
func (n *network) release(flows []*flow) {
	for _, f := range flows {
		if f == nil {
			continue
		}
		n.free = append(n.free, f.states...)
		if f.dy != nil {
			n.free = append(n.free, f.dy)
		}
		for _, t := range f.tapes {
			if t != nil {
				t.Release()
			}
		}
		f.states, f.tapes, f.dy = nil, nil, nil
	}
}

// close lets go of all memory.
func (n *network) close() {
	for _, s := range n.free {
		s.whole.Release()
	}
	n.free = nil
}

// forward takes flows through embedding and layers.
func (n *network) forward(ctx context.Context, flows []*flow) error {
	embedding, err := n.parts.Embedding()
	if err != nil {
		return err
	}
	for _, f := range flows {
		if err := embedding.Forward(ctx, f.call.Batch, f.states[0].Hidden); err != nil {
			return fmt.Errorf("embedding: %w", err)
		}
	}
	for depth := range n.layers {
		if err := n.eachAt(ctx, depth, depth+1, flows, n.step); err != nil {
			return err
		}
	}
	return nil
}

// eachAt does something with every flow at a layer, while the layer that is
// wanted next is brought in.
func (n *network) eachAt(ctx context.Context, depth, next int, flows []*flow, do func(context.Context, int, engine.Layer, *flow) error) error {
	index := n.layers[depth]
	layer, err := n.parts.Layer(ctx, index)
	if err != nil {
		return fmt.Errorf("layer %d: %w", index, err)
	}
	if next >= 0 && next < len(n.layers) {
		n.parts.Ahead(n.layers[next])
	}
	for _, f := range flows {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := do(ctx, depth, layer, f); err != nil {
			return fmt.Errorf("layer %d: %w", index, err)
		}
	}
	n.parts.Done(index)
	return nil
}

// step takes one flow through one layer.
func (n *network) step(ctx context.Context, depth int, layer engine.Layer, f *flow) error {
	low := max(0, n.low)
	x, y := f.states[0].Hidden, f.states[0].Hidden
	call := f.call
	if depth >= low {
		x, y = f.states[depth-low].Hidden, f.states[depth-low+1].Hidden
		if n.tapes {
			tape, err := n.e.(engine.Trainer).NewTape(n.m, f.batch.Len(), engine.LayerOptions{})
			if err != nil {
				return err
			}
			f.tapes = append(f.tapes, tape)
			call.Tape = tape
		}
	}
	if depth == len(n.layers)-1 {
		call.Rows = f.rows
	}
	return layer.Forward(ctx, &call, x, y)
}

// loss adds the losses of flows to a total, one by one, so that groups do not change it,
// and sets their dy to its gradient.
func (n *network) loss(ctx context.Context, flows []*flow, scale, total float64) (float64, error) {
	head, err := n.parts.Head()
	if err != nil {
		return 0, err
	}
	train := head.(engine.TrainHead)
	for _, f := range flows {
		var dx engine.Hidden
		if n.low < len(n.layers) {
			if f.dy, err = n.hidden(f.batch.Len()); err != nil {
				return 0, err
			}
			dx = f.dy.Hidden
		}
		weights := make([]float32, len(f.weights))
		for i, w := range f.weights {
			weights[i] = float32(w * scale)
		}
		sum, err := train.Loss(ctx, f.states[len(f.states)-1].Hidden, f.targets, weights, dx)
		if err != nil {
			return 0, fmt.Errorf("head: %w", err)
		}
		total += sum
	}
	return total, nil
}

// backward takes the gradients of flows down to the lowest layer they have to reach.
func (n *network) backward(ctx context.Context, flows []*flow) error {
	low := max(0, n.low)
	for depth := len(n.layers) - 1; depth >= low; depth-- {
		next := depth - 1
		if next < low {
			next = -1
		}
		if err := n.eachAt(ctx, depth, next, flows, n.back); err != nil {
			return err
		}
	}
	return nil
}

func (n *network) back(ctx context.Context, depth int, layer engine.Layer, f *flow) error {
	at := depth - max(0, n.low)
	call := f.call
	if depth == len(n.layers)-1 {
		call.Rows = f.rows
	}
	if f.tapes != nil {
		call.Tape = f.tapes[at]
	}
	err := layer.(engine.TrainLayer).Backward(ctx, &call, f.states[at].Hidden, f.dy.Hidden, f.dy.Hidden)
	if f.tapes != nil {
		f.tapes[at].Release()
		f.tapes[at] = nil
	}
	return err
}

// keepEnds lets go of everything but dL/dx of the embedding.
func (n *network) keepEnds(flows []*flow) {
	for _, f := range flows {
		n.free = append(n.free, f.states...)
		f.states = nil
	}
}

// embed gives the embedding its gradients.
func (n *network) embed(ctx context.Context, flows []*flow) error {
	if len(flows) == 0 {
		return nil
	}
	embedding, err := n.parts.Embedding()
	if err != nil {
		return err
	}
	for _, f := range flows {
		if err := embedding.(engine.TrainEmbedding).Backward(ctx, f.call.Batch, f.dy.Hidden); err != nil {
			return fmt.Errorf("embedding: %w", err)
		}
	}
	return nil
}

// sumLoss is the weighted sum of the losses of micro-batches, forwards only.
func (n *network) sumLoss(ctx context.Context, micros []*micro) (sum, weight float64, err error) {
	frozen := *n
	frozen.low, frozen.tapes = len(n.layers), false
	for _, group := range frozen.groups(micros) {
		flows, err := frozen.begin(group, nil)
		if err == nil {
			err = frozen.forward(ctx, flows)
		}
		if err == nil {
			sum, weight, err = frozen.scores(ctx, flows, sum, weight)
		}
		frozen.release(flows)
		if err != nil {
			return 0, 0, err
		}
	}
	n.free = frozen.free
	return sum, weight, nil
}

func (n *network) scores(ctx context.Context, flows []*flow, sum, weight float64) (float64, float64, error) {
	head, err := n.parts.Head()
	if err != nil {
		return 0, 0, err
	}
	for _, f := range flows {
		out := make([]engine.TokenScore, len(f.targets))
		if err := head.LogProbs(ctx, f.states[0].Hidden, f.targets, out); err != nil {
			return 0, 0, fmt.Errorf("head: %w", err)
		}
		for i, s := range out {
			sum -= f.weights[i] * s.LogProb
			weight += f.weights[i]
		}
	}
	return sum, weight, nil
}

// firstNotFinite walks micro-batches forwards and names the first part whose
// output is not finite: empty if all are.
func (n *network) firstNotFinite(ctx context.Context, micros []*micro, drop *engine.Dropout) (string, error) {
	walk := *n
	walk.low, walk.tapes = len(n.layers), false
	flows, err := walk.begin(micros, drop)
	defer func() {
		walk.release(flows)
		n.free = walk.free
	}()
	if err != nil {
		return "", err
	}
	embedding, err := walk.parts.Embedding()
	if err != nil {
		return "", err
	}
	for _, f := range flows {
		if err := embedding.Forward(ctx, f.call.Batch, f.states[0].Hidden); err != nil {
			return "", err
		}
	}
	if bad, err := anyNotFinite(ctx, flows); bad || err != nil {
		return "the embedding", err
	}
	for depth, index := range walk.layers {
		if err := walk.eachAt(ctx, depth, depth+1, flows, walk.step); err != nil {
			return "", err
		}
		if bad, err := anyNotFinite(ctx, flows); bad || err != nil {
			return fmt.Sprintf("layer %d", index), err
		}
	}
	return "the head", nil
}

func anyNotFinite(ctx context.Context, flows []*flow) (bool, error) {
	for _, f := range flows {
		values, err := f.states[0].Host(ctx)
		if err != nil {
			return false, err
		}
		for _, v := range values {
			if !finite(float64(v)) {
				return true, nil
			}
		}
	}
	return false, nil
}
