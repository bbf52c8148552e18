// Package engine is the seam between what Coppice computes and the hardware it
// computes on: hidden states in, hidden states out, one decoder block at a time.
//
// Only interfaces, the batch they work on and a layer on its way belong here. Implementations are
// subpackages (engine/cpu), which engine/all lists; engine/block is what they
// share, engine/enginetest the suite each must pass. An engine knows nothing of
// metrics, prunings or files.
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
// Shapes that do not fit (a Hidden of another width) are a bug and panic. A call
// that returns nil may only have been queued. What fails later is reported by a
// later call that needs the result or waits (Host, Sync, LogProbs, Logits, KL,
// Loss, …), as an error that names the call that failed first.
type Engine interface {
	// Info describes the engine, for results and for `coppice doctor`.
	Info() Info
	// NewHidden returns hidden states [rows, D], not initialised.
	NewHidden(m *model.Model, rows int) (Hidden, error)
	// NewKV returns one layer's key/value cache for slots sequences of up to
	// capacity tokens each.
	NewKV(m *model.Model, slots, capacity int) (KV, error)
	// Embedding makes the token embedding resident.
	Embedding(m *model.Model, o EmbeddingOptions) (Embedding, error)
	// Fetch begins to bring layer i in and returns at once: what is read, copied or
	// converted meanwhile is the engine's business, as is letting pages of the
	// model's files go. From this call on the layer counts as resident. Errors come
	// with Wait.
	Fetch(m *model.Model, i int, o LayerOptions) Fetched
	// Head makes the final norm and the output projection resident.
	Head(m *model.Model, o HeadOptions) (Head, error)
	// Memory says what running the model takes.
	Memory(m *model.Model, o LayerOptions) Memory
	// Close stops the engine's workers. Its parts must have been released.
	Close() error
}

// Fetched is a layer on its way. The last call is one of two: a Wait that returned
// without its context's error, or Drop.
type Fetched interface {
	// Wait returns the layer when it has come, or the cause of ctx's end.
	Wait(ctx context.Context) (Layer, error)
	// Drop gives the layer up; it waits for what was begun.
	Drop()
}

// Pinner is implemented by engines that copy a layer faster from pages of the model's
// files that stay in the host's memory, [Need.Mapped] bytes of them.
type Pinner interface {
	// Pin keeps layer i's pages in memory until release is called, which is before the
	// model's Source is closed. Where the system does not let it, nothing happens, and
	// the layer comes as others do.
	Pin(m *model.Model, i int) (release func())
}

// Gram is implemented by engines that multiply hidden states by their own
// transpose faster than a loop on the host would.
type Gram interface {
	// Gram sets out [n(n+1)/2] to the lower triangle, row by row and diagonal
	// included, of X Xᵀ, X [n, R·D/n] being x [R, D] with R/n neighbouring rows as
	// one. Inputs are rounded to the engine's DType, as those of a layer's products
	// are; sums are float32. x is left as it is.
	Gram(ctx context.Context, x Hidden, n int, out []float32) error
}

// Info says what an engine is and how it rounds.
type Info struct {
	Device   string // "cpu"
	DType    DType  // what matrix products take as input; sums are float32
	Provider string // who multiplies matrices, e.g. "oneDNN 2.6.3 (AVX2)" or "Go (AVX-512)"
	Threads  int
	// DeviceMemory is how many bytes the engine may take of a memory of its own; 0: it
	// has none, or nobody knows.
	DeviceMemory int64
	Notes        []string // what a user should know, e.g. why a provider is not used
}

// Memory is what running a model takes beside the hidden states, caches, tapes and
// Trainables that callers hold, apart for the two memories: upper bounds in
// bytes, so that callers can keep to a budget. An engine that computes in the
// host's memory leaves Device zero.
type Memory struct{ Host, Device Need }

// Need is what one memory is needed for. KVToken, Tape, Hidden and Trained price
// what callers hold.
type Need struct {
	Layer  int64 // one resident layer, the largest: what is not used where files are mapped
	Mapped int64 // pages of mapped files that a layer holds while it comes in and, where Layer is 0, as long as it stays
	// Embedding and Head are what those take that are resident, pages of mapped files
	// included. Where they can stream, each row of a call takes Lookup of them at
	// most; 0: they cannot.
	Embedding, Head, Lookup int64

	Row       int64 // work space for each row of a call
	Back      int64 // and for each row of a backward call
	Fixed     int64 // work space whatever the rows
	FixedBack int64 // and of backward calls beside it
	Hidden    int64 // each row of hidden states
	Tape      int64 // each row of one layer's Tape
	KVToken   int64 // each token of one layer's KV
	Trained   int64 // each parameter that trains: master, what products take, gradient, moments
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
	// Slice returns rows [lo, hi) as hidden states that share this memory.
	Slice(lo, hi int) Hidden
	// Host lends the values, row major, for reading, when all that was queued
	// before has been computed. The slice is valid until the Hidden is next passed
	// to the engine or released; on a device with memory of its own it is a copy.
	Host(ctx context.Context) ([]float32, error)
	// Read copies all rows to dst, Write from src, row major, rounding to nearest
	// even where src or dst is bfloat16. Both may only be queued: the caller leaves
	// dst and src alone until Sync. Lengths other than rows·D panic.
	Read(dst Values) error
	Write(src Values) error
	// Sync waits for what was queued for these hidden states.
	Sync(ctx context.Context) error
	Release() // waits for queued work
}

// KV holds keys and values of one layer for sequences that grow.
type KV interface {
	// Truncate forgets what slot holds after its first n tokens.
	Truncate(slot, n int)
	Release()
}

// Embedding looks tokens up.
type Embedding interface {
	// Forward writes the embeddings of the batch's tokens to y [N, D]. The batch
	// is not kept after the call.
	Forward(ctx context.Context, b *Batch, y Hidden) error
	Release()
}

// Layer is one resident decoder block.
type Layer interface {
	// Forward writes the block's output for x [N, D] to y [N, D]; y may be x. With
	// a KV the segments' keys and values are appended to their slots after Past
	// tokens, and the tokens before are attended to.
	//
	// The result for a token depends on its own sequence alone, bit for bit: not
	// on other segments, their order, how a sequence is split between parent
	// segments or cached steps, or what else the call asks for.
	Forward(ctx context.Context, c *Call, x, y Hidden) error
	// Release lets go of the layer and of its pages of the model's files. It waits
	// for queued work that uses the layer.
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
