package forest

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
)

// Variant is one pruning of the model and what is wanted of it. Its functions
// are called from one goroutine, for one variant in the order of the work; the
// slices they are given are valid during the call only.
type Variant struct {
	// Layers are original indices in the order they run, some perhaps more than
	// once; nil means all layers of the model.
	Layers []int
	// Observe, if set, is shown every batch before and after every layer.
	Observe func(context.Context, Step) error
	// Scores, if set, is given the scores of the targets of each Work.
	Scores func(work int, scores []engine.TokenScore) error
	// Divergence, if set, is given KL(p || q) in nats for each distinct row that
	// the targets of a Work name, in order of the targets: p is what the first
	// variant of the call says comes next there, q what this one says.
	Divergence func(work int, nats []float64) error
	// Holds is how many bytes the functions keep until the call ends, for the
	// Runner to count against its memory: where work flows in one group, and where
	// it flows in several, each of which passes all layers before the next.
	Holds, HoldsAcross int64
}

// Step is what an observer sees: one batch having passed one layer. The hidden
// states stay where the engine has them until an observer asks for Host. Nothing
// of a step may be changed, or kept after the call.
type Step struct {
	Layer     int           // original index
	Depth     int           // place in the list of layers
	Batch     *engine.Batch // for sequences, one segment each
	Sequences []int         // [segments of Batch] index of the sequence each is of
	In, Out   engine.Hidden // [N, D] entering the layer and leaving it
}

// Run evaluates the variants on the work, every prefix that variants share
// computed once. What a variant is given does not depend, bit for bit, on the
// other variants, on how work is cut into passes, or on memory.
//
// Errors: layers that do not exist, batches that do not hold together, scores
// that are NaN or Inf (a *NotFiniteError that names the layer where it began),
// what the functions of the variants return, and the engine's.
func (r *Runner) Run(ctx context.Context, variants []Variant, work []Work, o RunOptions) error {
	p, err := r.Price(variants, work)
	if err != nil {
		return err
	}
	return p.Run(ctx, o)
}

// Observe runs the sequences through the listed layers (nil: all of them) and
// shows every step to observe: batches in order within a layer, layers in
// order for each batch. The head is not run.
func (r *Runner) Observe(ctx context.Context, layers []int, seqs [][]int32, observe func(context.Context, Step) error) error {
	return r.sequences(ctx, Variant{Layers: layers, Observe: observe}, seqs)
}

// LogProbs runs the sequences through the listed layers (nil: all of them) and
// the head. emit is called once a sequence, in order, with the score of every
// token given those before it: [T-1], the first token has none. The slice is
// only valid during the call.
func (r *Runner) LogProbs(ctx context.Context, layers []int, seqs [][]int32, emit func(seq int, scores []engine.TokenScore) error) error {
	return r.sequences(ctx, Variant{Layers: layers, Scores: emit}, seqs)
}

func (r *Runner) sequences(ctx context.Context, v Variant, seqs [][]int32) error {
	return r.Run(ctx, []Variant{v}, Sequences(seqs), RunOptions{})
}

// Score runs prepared batches through the listed layers (nil: all of them) and
// gives emit the scores of each one's targets, batches in order. The slice is
// only valid during the call. How many are in flight at a time is the Runner's
// choice and changes no score.
func (r *Runner) Score(ctx context.Context, layers []int, work []Work, emit func(i int, scores []engine.TokenScore) error) error {
	for i := range work {
		if err := work[i].check(r.m.Spec.Vocab); err != nil {
			return fmt.Errorf("batch %d: %w", i, err)
		}
		if len(work[i].Targets) == 0 {
			return fmt.Errorf("batch %d: no score is asked for", i)
		}
	}
	return r.Run(ctx, []Variant{{Layers: layers, Scores: emit}}, work, RunOptions{})
}
