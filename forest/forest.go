// Package forest runs prunings of a model: lists of layers through which packed
// batches flow, weights passing by, one layer resident at a time when memory
// asks for it. Many prunings run as a trie: what they share is computed once.
//
// It decides what is resident and how much data is in flight. What is computed
// from the hidden states and log-probabilities belongs in score and eval, how
// a layer computes in engine.
package forest

import (
	"sync"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Options bound a Runner.
type Options struct {
	// Memory is the number of bytes that weights, mapped pages included, hidden
	// states and work space may take; 0 means no bound. One layer and one
	// sequence run even where they exceed it.
	Memory int64
	// BatchTokens is how many tokens are packed into one batch; 0 means 2048.
	// It changes speed and memory, never a result.
	BatchTokens int
	// Heap, if set, is told before every part of a call how many bytes of
	// Options.Memory are left for Go's heap: a limit for the garbage collector.
	Heap func(bytes int64)
}

// Runner evaluates prunings of one model on one engine. Its methods may be
// called from one goroutine at a time.
type Runner struct {
	m            *model.Model
	e            engine.Engine
	engineMemory engine.Need // of the host's memory
	opt          Options

	mu           sync.Mutex // guards what Close may meet during a cancelled call
	resident     map[int]engine.Layer
	coming       map[int]engine.Fetched // read ahead
	embed        engine.Embedding
	head         engine.Head
	embedStreams bool
	headStreams  bool
	slab         engine.Hidden // hidden states of the last pass, for the next
}

// New returns a Runner. Close releases what it made resident; the model and
// the engine stay the caller's.
func New(m *model.Model, e engine.Engine, opt Options) *Runner {
	if opt.BatchTokens <= 0 {
		opt.BatchTokens = 2048
	}
	if opt.Heap == nil {
		opt.Heap = func(int64) {}
	}
	return &Runner{m: m, e: e, engineMemory: e.Memory(m, engine.LayerOptions{}).Host, opt: opt, resident: map[int]engine.Layer{}, coming: map[int]engine.Fetched{}}
}

// Model is the model being run.
func (r *Runner) Model() *model.Model { return r.m }

// Engine is the engine that runs it.
func (r *Runner) Engine() engine.Engine { return r.e }

// Close releases every resident part.
func (r *Runner) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.coming {
		f.Drop()
	}
	for _, l := range r.resident {
		l.Release()
	}
	clear(r.coming)
	clear(r.resident)
	if r.embed != nil {
		r.embed.Release()
	}
	if r.head != nil {
		r.head.Release()
	}
	if r.slab != nil {
		r.slab.Release()
	}
	r.embed, r.head, r.slab = nil, nil, nil
}
