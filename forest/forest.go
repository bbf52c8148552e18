// Package forest runs prunings of a model: lists of layers through which packed
// batches flow, weights passing by, one layer resident at a time when memory
// asks for it.
//
// It decides what is resident and how much data is in flight. What is computed
// from the hidden states and log-probabilities belongs in score and eval, how
// a layer computes in engine.
package forest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Options bound a Runner.
type Options struct {
	// Memory is the number of bytes that weights and hidden states may take; 0
	// means no bound. At least one layer and one sequence are always in flight.
	Memory int64
	// BatchTokens is how many tokens are packed into one batch; 0 means 2048.
	// It changes speed and memory, never a result.
	BatchTokens int
	// Progress, if set, is told how much of a call's work is done, in
	// token-layers. It is called from one goroutine at a time.
	Progress func(done, total int64)
}

// Runner evaluates prunings of one model on one engine. Its methods may be
// called from one goroutine at a time.
type Runner struct {
	m    *model.Model
	e    engine.Engine
	opt  Options
	mu   sync.Mutex // guards resident, which Close may meet during a cancelled call
	keep bool       // all layers fit: what was loaded stays

	resident map[int]engine.Layer
	embed    engine.Embedding
	head     engine.Head
}

// New returns a Runner. Close releases what it made resident; the model and
// the engine stay the caller's.
func New(m *model.Model, e engine.Engine, opt Options) *Runner {
	if opt.BatchTokens <= 0 {
		opt.BatchTokens = 2048
	}
	if opt.Progress == nil {
		opt.Progress = func(int64, int64) {}
	}
	r := &Runner{m: m, e: e, opt: opt, resident: map[int]engine.Layer{}}
	r.keep = opt.Memory == 0 || r.weightBytes() <= opt.Memory*3/4
	return r
}

// Model is the model being run.
func (r *Runner) Model() *model.Model { return r.m }

// Engine is the engine that runs it.
func (r *Runner) Engine() engine.Engine { return r.e }

// weightBytes estimates what the whole model takes when it is resident: its
// mapped files and what the engine adds.
func (r *Runner) weightBytes() int64 {
	n := int64(r.m.Spec.Layers) * r.e.Memory(r.m).Layer
	for w := range r.m.Spec.Weights() {
		t, _ := r.m.Source.Tensor(w.Name)
		n += t.Bytes
	}
	return n
}

// Close releases every resident part.
func (r *Runner) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.resident {
		l.Release()
	}
	clear(r.resident)
	if r.embed != nil {
		r.embed.Release()
	}
	if r.head != nil {
		r.head.Release()
	}
	r.embed, r.head = nil, nil
}

// Step is what an observer sees: one batch having passed one layer.
type Step struct {
	Layer int           // original index
	Depth int           // place in the list of layers
	First int           // index of the sequence that the batch's first segment holds
	Batch *engine.Batch // one segment a sequence
	In    []float32     // [N, D] hidden states entering the layer; not to be changed or kept
	Out   []float32     // [N, D] leaving it
}

// Observe runs the sequences through the listed layers (nil: all of them) and
// shows every step to observe, layer by layer in order of depth, batches in
// order within a layer. The head is not run.
func (r *Runner) Observe(ctx context.Context, layers []int, seqs [][]int32, observe func(Step) error) error {
	p, err := r.pass(layers, seqs)
	if err != nil {
		return err
	}
	p.observe = observe
	return p.run(ctx)
}

// LogProbs runs the sequences through the listed layers (nil: all of them) and
// the head. emit is called once a sequence, in order, with the score of every
// token given those before it: [T-1], the first token has none. The slice is
// only valid during the call.
func (r *Runner) LogProbs(ctx context.Context, layers []int, seqs [][]int32, emit func(seq int, scores []engine.TokenScore) error) error {
	p, err := r.pass(layers, seqs)
	if err != nil {
		return err
	}
	p.emit = emit
	return p.run(ctx)
}

// Layers returns the resident layers of a pruning, for callers that run them
// many times, such as generation. They stay the Runner's. It fails when the
// model does not fit Options.Memory: streaming it past every token would take
// as long as reading it from disk each time.
func (r *Runner) Layers(layers []int) ([]engine.Layer, error) {
	layers, err := r.list(layers)
	if err != nil {
		return nil, err
	}
	if !r.keep {
		return nil, fmt.Errorf("the model takes %d MiB when all its layers stay in memory, and %d MiB may be used of which a quarter is for data; raise --memory, or leave layers out", r.weightBytes()>>20, r.opt.Memory>>20)
	}
	out := make([]engine.Layer, len(layers))
	for i, l := range layers {
		if out[i], err = r.layer(l); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Embedding returns the resident embedding; it stays the Runner's.
func (r *Runner) Embedding() (engine.Embedding, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.embed == nil {
		e, err := r.e.Embedding(r.m)
		if err != nil {
			return nil, err
		}
		r.embed = e
	}
	return r.embed, nil
}

// Head returns the resident head; it stays the Runner's.
func (r *Runner) Head() (engine.Head, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head == nil {
		h, err := r.e.Head(r.m, false)
		if err != nil {
			return nil, err
		}
		r.head = h
	}
	return r.head, nil
}

func (r *Runner) layer(i int) (engine.Layer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.resident[i]; ok {
		return l, nil
	}
	l, err := r.e.Layer(r.m, i)
	if err != nil {
		return nil, fmt.Errorf("layer %d: %w", i, err)
	}
	r.resident[i] = l
	return l, nil
}

// done lets go of a layer unless all of them stay.
func (r *Runner) done(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.resident[i]; ok && !r.keep {
		l.Release()
		delete(r.resident, i)
		r.m.Source.Release(names(r.m.Spec.LayerWeights(i))...)
	}
}

func (r *Runner) prefetch(i int) {
	if !r.keep {
		r.m.Source.Prefetch(names(r.m.Spec.LayerWeights(i))...)
	}
}

func names(ws []model.Weight) []string {
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = w.Name
	}
	return out
}

// list validates a list of layers; nil is the whole model. Any order will do,
// and a layer may stand in it more than once.
func (r *Runner) list(layers []int) ([]int, error) {
	n := r.m.Spec.Layers
	if layers == nil {
		layers = make([]int, n)
		for i := range layers {
			layers[i] = i
		}
	}
	if len(layers) == 0 {
		return nil, fmt.Errorf("no layer is left; keep at least one of the %d", n)
	}
	if l := slices.Max(layers); l >= n {
		return nil, fmt.Errorf("layer %d does not exist: the model has layers 0 to %d", l, n-1)
	}
	if l := slices.Min(layers); l < 0 {
		return nil, fmt.Errorf("layer %d does not exist: the model has layers 0 to %d", l, n-1)
	}
	return layers, nil
}
