// Package engine is the seam between what Coppice computes and the hardware it
// computes on: hidden states in, hidden states out, one decoder block at a time.
//
// Only interfaces and the batch they work on belong here. Implementations are
// subpackages (engine/cpu); engine/enginetest is the suite each must pass. An
// engine knows nothing of metrics, prunings or files.
//
// Shape legend: N tokens of a batch, T length of one sequence, D hidden size,
// H query heads, K key/value heads, F feed-forward size, V vocabulary, L layers.
package engine

import (
	"context"

	"github.com/coppice-ml/coppice/model"
)

// Engine makes a model's parts resident on a device and runs them.
//
// Concurrency: an Engine may be used by several goroutines at once, and so may
// the parts it makes; calls that share a Hidden or a KV must not overlap.
// Ownership: what a method returns belongs to the caller, who releases it;
// the model's Source must stay open until then.
// Errors: a failed call leaves its outputs undefined and everything else usable.
// Shapes that do not fit (a Hidden of another width) are a bug and panic.
type Engine interface {
	// Info describes the engine, for results and for `coppice doctor`.
	Info() Info
	// NewHidden returns hidden states [rows, D], not initialised.
	NewHidden(m *model.Model, rows int) (Hidden, error)
	// NewKV returns one layer's key/value cache for slots sequences of up to
	// capacity tokens each.
	NewKV(m *model.Model, slots, capacity int) (KV, error)
	// Embedding makes the token embedding resident.
	Embedding(m *model.Model) (Embedding, error)
	// Layer makes layer i resident. Its weights are read once, here.
	Layer(m *model.Model, i int) (Layer, error)
	// Head makes the final norm and the output projection resident. With stream
	// a call lets the projection's pages go as it walks over them, so that no
	// more than a few blocks of the vocabulary are in memory.
	Head(m *model.Model, stream bool) (Head, error)
	// Memory says what running the model takes beyond its mapped files.
	Memory(m *model.Model) Memory
	// Close stops the engine's workers. Its parts must have been released.
	Close() error
}

// Gram is implemented by engines that multiply a matrix on the host by its own
// transpose faster than a loop would.
type Gram interface {
	// Gram sets out [n(n+1)/2] to the lower triangle, row by row and diagonal
	// included, of x xᵀ of x [n, len(x)/n]. Inputs are rounded to the engine's
	// DType, as those of a layer's products are; sums are float32.
	Gram(ctx context.Context, x []float32, n int, out []float32) error
}

// Info says what an engine is and how it rounds.
type Info struct {
	Device   string // "cpu"
	DType    DType  // what matrix products take as input; sums are float32
	Provider string // who multiplies matrices, e.g. "oneDNN 2.6.3" or "Go"
	Threads  int
	Notes    []string // what a user should know, e.g. why a provider is not used
}

// Memory is what an engine needs beside a model's mapped files and the hidden
// states its callers hold, in bytes: upper bounds, so that callers can keep to
// a budget.
type Memory struct {
	Layer int64 // one resident layer: weights that are not used where they are mapped
	Row   int64 // work space for each row of a call
	Fixed int64 // work space whatever the rows
}

// DType is the dtype of matrix inputs.
type DType string

// The dtypes an engine can compute in.
const (
	Float32  DType = "float32"
	BFloat16 DType = "bfloat16"
)

// Hidden is the residual stream of a batch: float32 [rows, D] in the engine's memory.
type Hidden interface {
	Rows() int
	// Host returns the values, row major, for reading and writing by the
	// caller. On a device with memory of its own this copies: the slice is a
	// snapshot until Upload. It is valid until the Hidden is next passed to the engine.
	Host() ([]float32, error)
	// Upload makes changes of the slice returned by Host visible to the engine.
	Upload() error
	// Slice returns rows [lo, hi) as hidden states that share this memory.
	Slice(lo, hi int) Hidden
	Release()
}

// KV holds keys and values of one layer for sequences that grow.
type KV interface {
	// Truncate forgets what slot holds after its first n tokens.
	Truncate(slot, n int)
	Release()
}

// Embedding looks tokens up.
type Embedding interface {
	// Forward writes the embeddings of the batch's tokens to y [N, D].
	Forward(ctx context.Context, b *Batch, y Hidden) error
	Release()
}

// Layer is one resident decoder block.
type Layer interface {
	// Forward writes the block's output for x [N, D] to y [N, D]; y may be x.
	// With kv, which may be nil, the segments' keys and values are appended to
	// their slots after Past tokens, and the tokens before are attended to.
	//
	// The result for a token depends on its own sequence alone, bit for bit:
	// not on other segments, their order, or how a sequence is split between
	// parent segments or cached steps.
	Forward(ctx context.Context, b *Batch, x, y Hidden, kv KV) error
	Release()
}

// Head is the final norm and the projection to the vocabulary.
type Head interface {
	// LogProbs scores tokens: out[i] is the score of targets[i]. Several targets
	// may name one row; rows that none names cost nothing. Logits [N, V] are
	// never held. Sums over the vocabulary are kept in float64.
	LogProbs(ctx context.Context, x Hidden, targets []Target, out []TokenScore) error
	// Logits writes the logits of the given rows to out [len(rows), V]. A row's
	// logits do not depend on which others are asked for, bit for bit.
	Logits(ctx context.Context, x Hidden, rows []int, out []float32) error
	// KL compares what comes next: out[i][j] = KL(softmax(p_r) || softmax(q_r)) in
	// nats, p_r and q_r being the logits of row r = rows[j] of p and of q[i]. Logits
	// [N, V] are never held; the logits of p are computed once for all q. A row's
	// value does not depend on other rows or other q, bit for bit.
	KL(ctx context.Context, p Hidden, q []Hidden, rows []int, out [][]float64) error
	// Norm writes the final norm of x to y, both [N, D]; y may be x.
	Norm(ctx context.Context, x, y Hidden) error
	Release()
}

// Target asks for the log-probability of Token as predicted by hidden row Row.
type Target struct {
	Row   int
	Token int32
}

// TokenScore answers a Target.
type TokenScore struct {
	LogProb float64 // natural logarithm
	Greedy  bool    // no token has a larger logit; ties go to the lowest id
}
