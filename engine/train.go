package engine

import (
	"context"
	"hash/fnv"

	"github.com/coppice-ml/coppice/model"
)

// Trainer is implemented by engines that compute gradients. Their layers, heads
// and embeddings are TrainLayer, TrainHead and TrainEmbedding, whether tensors of
// theirs train or not: without, Backward only gives the gradient of the input.
type Trainer interface {
	// NewTrainable makes a tensor that trains, all its parts zero: its Master is to
	// be written before use. It belongs to the caller, who hands it (in Trained) to
	// every layer, head and embedding that uses the tensor, and survives their
	// release. One Trainable of a tied matrix serves embedding and head.
	NewTrainable(name string, shape []int, o TrainableOptions) (Trainable, error)
	// NewTape returns memory for what one layer of m keeps of up to rows rows.
	NewTape(m *model.Model, rows int, o LayerOptions) (Tape, error)
}

// Tape is what a layer's Forward keeps for the same layer's Backward. One tape
// serves one layer at a time and holds what the last Forward that was given it
// kept; it may be used again for another.
type Tape interface {
	Release() // waits for queued work
}

// TrainableOptions say what a Trainable keeps.
type TrainableOptions struct {
	Moments   DType // of the two moments: Float32, also "", or BFloat16
	NoMoments bool  // only the gradient is wanted: Step fails
}

// Trained names what trains. Keys are stored tensor names: of a fused tensor the
// whole one's.
type Trained struct {
	Tensors  map[string]Trainable
	Adapters map[string]Adapter // of linear maps of layers, by the name of the weight
}

// Adapter adds Scale · B A dropout(x) to a linear map (LoRA, Hu et al. 2021).
type Adapter struct {
	A, B    Trainable // [r, in], [out, r]
	Scale   float32   // alpha / r; with rank stabilisation alpha / sqrt(r)
	Dropout float32   // probability that a value of x is dropped, where Call.Dropout is set
}

// Dropout decides which values of adapters' inputs are dropped. Masks come from a
// counter, so that neither packing nor threads nor resuming can change them.
type Dropout struct {
	Seed    uint64
	Step    int64
	Samples []int64 // [segments] which sample each segment of the batch belongs to
}

// Mask sets keep [in] for one token, at a position of a sample, of the input of
// the adapter of a tensor: 1/(1-p) where a value stays, 0 where it is dropped.
// Value j stays when the upper 24 bits of mix(key + j·0x9e3779b97f4a7c15) are at
// least p·2^24, key being what DropoutKey and the token make: SplitMix64 (Steele,
// Lea and Flood 2014).
func (d *Dropout) Mask(keep []float32, key uint64, sample int64, position int32, p float32) {
	state := d.Counter(key, sample, position)
	limit, stays := uint64(float64(p)*(1<<24)), 1/(1-p)
	for j := range keep {
		state += golden
		keep[j] = 0
		if mix(state)>>40 >= limit {
			keep[j] = stays
		}
	}
}

const golden = 0x9e3779b97f4a7c15

// Counter is the counter of a token's mask before its first value, for engines
// that have masks of their own making.
func (d *Dropout) Counter(key uint64, sample int64, position int32) uint64 {
	state := mix(mix(mix(mix(d.Seed+golden)^uint64(d.Step))^key) ^ uint64(sample))
	return mix(state ^ uint64(position))
}

// DropoutKey is what a tensor's stored name brings to its masks.
func DropoutKey(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

// mix is SplitMix64's finaliser.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// TrainLayer is a layer that computes gradients.
type TrainLayer interface {
	Layer
	// Backward takes dL/dy [N, D] of what Forward makes of x under the same call
	// and writes dL/dx to dx, which may be dy. What c.Tape lacks, nil lacking
	// everything, is computed anew from x; c.KV must be nil, c.MLP is not used.
	//
	// Gradients of tensors that train are added up, over rows in chunks of the
	// engine's own constant at fixed places of the batch: the same batch gives the
	// same bits, however many workers there are. Rows of dy that c.Rows does not
	// name are not read and count as zero; dx is written in every row. Keys and
	// values of a parent get the gradients of all its descendants in the batch.
	Backward(ctx context.Context, c *Call, x, dy, dx Hidden) error
}

// TrainHead is a head that computes gradients.
type TrainHead interface {
	Head
	// Loss returns the sum over i of weights[i] · -log p(targets[i]), summed in
	// float64, and writes dL/dx [N, D] to dx: zero in rows that no target names.
	// dx may be x, or nil where it is not wanted. Gradients of the final norm and
	// of the projection are added up where they train.
	Loss(ctx context.Context, x Hidden, targets []Target, weights []float32, dx Hidden) (float64, error)
	// Distil returns the sum over j of weights[j] · T² · KL(softmax(p/T) || softmax(q/T)),
	// T the temperature, p the logits that teacher gives row rows[j] of t, q those of
	// this head for the same row of x (Hinton et al. 2015). Rows are distinct; dx and
	// gradients are as of Loss. The teacher's hidden size may be another, its
	// vocabulary may not.
	Distil(ctx context.Context, teacher Head, t, x Hidden, rows []int, weights []float32, temperature float64, dx Hidden) (float64, error)
}

// TrainEmbedding is an embedding that computes its gradient.
type TrainEmbedding interface {
	Embedding
	// Backward adds dL/dy [N, D] up to the gradient of the rows of the batch's
	// tokens, where the table trains.
	Backward(ctx context.Context, b *Batch, dy Hidden) error
}

// Trainable is a tensor that trains: a float32 master that optimiser steps
// change, what products take of it (rounded to the engine's DType), a float32
// gradient, two moments. Calls that use one Trainable must not overlap.
type Trainable interface {
	Name() string
	Shape() []int
	// Read and Write copy values [at, at+len) of a part, row major. Moments kept in
	// bfloat16 are widened, and rounded to nearest even. Writing Master is seen by
	// all who use the tensor.
	Read(ctx context.Context, p Part, at int, dst []float32) error
	Write(ctx context.Context, p Part, at int, src []float32) error
	// GradSquares is the sum of the gradient's squares, in float64 and a fixed order.
	GradSquares(ctx context.Context) (float64, error)
	// Step is one update by AdamW and empties the gradient.
	Step(ctx context.Context, o AdamW) error
	ZeroGrad()
	Release()
}

// Part is one of the arrays of a Trainable.
type Part int

// The parts of a Trainable.
const (
	Master Part = iota
	Gradient
	FirstMoment
	SecondMoment
)

// AdamW are the settings of one update of Adam with decoupled weight decay, as
// torch.optim.AdamW has it (Loshchilov and Hutter 2019): with g the gradient
// times GradScale and t = Step,
//
//	p *= 1 - LR·WeightDecay
//	m = Beta1·m + (1-Beta1)·g,  v = Beta2·v + (1-Beta2)·g²
//	p -= LR · m/(1-Beta1^t) / (sqrt(v/(1-Beta2^t)) + Eps)
type AdamW struct {
	LR, Beta1, Beta2, Eps, WeightDecay float64
	GradScale                          float64 // such as what clipping by the global norm asks for
	Step                               int64   // counted from 1
}
