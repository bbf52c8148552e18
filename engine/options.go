package engine

import (
	"errors"
	"fmt"
)

// Options say how a part of a model is used.
type Options struct {
	// Trained are the tensors that train and the adapters of a part, by stored
	// name; names that the part does not have are ignored. nil: all is frozen.
	Trained *Trained
}

// EmbeddingOptions are the Options of an embedding.
type EmbeddingOptions struct {
	Options
	Streams bool // pages of the table go after every call that looked tokens up in them
}

// LayerOptions are the Options of a layer.
type LayerOptions struct {
	Options
	Store Store // how the weights of frozen linear maps are kept
	// Streams says that the layer is one of many that pass by: it is read ahead
	// from Fetch on.
	Streams bool
	// CacheOnly reads a layer that streams ahead into the system's cache of files
	// only, where there is no memory to have two layers at a time.
	CacheOnly bool
	// Many says that calls of many rows are coming, often enough to lay weights out
	// for them. Such a layer gives the same bits; it may be slow for few rows, and
	// it has no backward pass.
	Many bool
}

// HeadOptions are the Options of a head.
type HeadOptions struct {
	Options
	// Streams lets the projection's pages go as a call walks over them, so that no
	// more than a few blocks of the vocabulary are in memory.
	Streams bool
}

// Store is how weights of frozen linear maps are kept in the engine's memory.
type Store string

// The ways to keep weights. An engine that does not have one returns ErrUnsupported.
const (
	AsStored Store = ""    // what the engine's DType makes of the checkpoint's values
	NF4      Store = "nf4" // 4 bits a value, by blocks (Dettmers et al. 2023, QLoRA)
)

// ErrMemory is wrapped by errors of a device whose memory has no room for something.
var ErrMemory = errors.New("out of memory")

// ErrUnsupported is wrapped by errors about options that an engine does not have.
var ErrUnsupported = errors.New("not supported by this engine")

// Call is what a pass through a layer takes beside its input and output. Neither
// it nor what it points to is kept after the call, even where work is only queued.
type Call struct {
	Batch *Batch
	KV    KV // or nil
	// Rows are the rows whose outputs are wanted, ascending; nil: all. The others
	// still give keys and values; their rows of y are left as they are. The bits of
	// a wanted row do not depend on Rows.
	Rows []int
	// Tape, if not nil, is what Forward keeps what Backward would have to compute
	// anew on, as far as it has room.
	Tape Tape
	// MLP, if not nil, [N, D] receives the feed-forward's output, after its own
	// norm where it has one, before it is added to the residual stream.
	MLP     Hidden
	Dropout *Dropout // of adapters' inputs; nil: none
}

// Values are host memory in one of two dtypes: exactly one is set.
type Values struct {
	F32  []float32
	BF16 []uint16
}

// Len is the number of values.
func (v Values) Len() int { return len(v.F32) + len(v.BF16) }

// SettingError says that a variable of the environment has a value that an engine
// does not know.
type SettingError struct {
	Variable, Value string
	Want            string   // what it may be, in words
	Known           []string // the names among them
}

func (e *SettingError) Error() string { return fmt.Sprintf("%s=%s: %s", e.Variable, e.Value, e.Want) }
