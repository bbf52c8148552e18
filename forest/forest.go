// Package forest runs prunings of a model: lists of layers through which packed
// batches flow, weights passing by, one layer resident at a time when memory
// asks for it. Many prunings run as a trie: what they share is computed once.
//
// It decides the order of layers and how work is cut up; what is resident is
// package resident's. What is computed from the hidden states and
// log-probabilities belongs in score and eval, how a layer computes in engine.
package forest

import (
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/resident"
)

// Options bound a Runner.
type Options struct {
	// Memory is the number of bytes of the host's memory that weights, mapped pages
	// included, hidden states and work space may take; 0 means no bound. One layer
	// and one sequence run even where they exceed it.
	Memory int64
	// Held is what the process has taken otherwise, and what bounds the process counts:
	// errors that say how much would do add it.
	Held int64
	// DeviceMemory is the same of a device that has memory of its own.
	DeviceMemory int64
	// Trained are adapters that run beside the weights; nil: none.
	Trained *engine.Trained
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
	set  *resident.Set
	m    *model.Model
	e    engine.Engine
	opt  Options
	slab engine.Hidden // hidden states of the last pass, for the next
}

// New returns a Runner. Close releases what it made resident; the model and
// the engine stay the caller's.
func New(m *model.Model, e engine.Engine, opt Options) *Runner {
	if opt.BatchTokens <= 0 {
		opt.BatchTokens = 2048
	}
	set := resident.New(m, e, resident.Options{Budget: resident.Budget{Host: opt.Memory, Device: opt.DeviceMemory}, Trained: opt.Trained, Held: opt.Held, Heap: opt.Heap})
	return &Runner{set: set, m: m, e: e, opt: opt}
}

// Model is the model being run.
func (r *Runner) Model() *model.Model { return r.m }

// Engine is the engine that runs it.
func (r *Runner) Engine() engine.Engine { return r.e }

// Resident is what of the model is in memory, for others who walk it between
// calls, such as generation.
func (r *Runner) Resident() *resident.Set { return r.set }

// Close releases every resident part.
func (r *Runner) Close() {
	r.set.Close()
	if r.slab != nil {
		r.slab.Release()
		r.slab = nil
	}
}
