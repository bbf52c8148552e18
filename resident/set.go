// Package resident keeps the parts of a model that are in memory, within a
// budget: which layers stay, which one is brought in next, what is let go. Those
// who walk a model ask for parts as they come to them; how they walk does not
// matter here.
//
// The arithmetic of memory is Plan's alone, from sizes that the engine gives.
// Hidden states, caches and tapes are their users'; what to run belongs in forest,
// generate and heal.
package resident

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Budget is how many bytes the two memories may hold; 0 means no bound. What is
// in the host's memory for other reasons is not counted.
type Budget struct{ Host, Device int64 }

// Options bound a Set and say how its parts are used.
type Options struct {
	Budget  Budget
	Trained *engine.Trained // what trains; nil: nothing
	Store   engine.Store    // how frozen linear maps are kept
	// Held is what the process has of the host's memory beside the Budget, and what bounds
	// the process counts: remedies add it.
	Held int64
	// Heap, if set, is told whenever a Fit is taken up how many bytes of
	// Budget.Host are left for Go's heap: a limit for the garbage collector.
	Heap func(bytes int64)
}

// Set is the parts of one model that one engine has in memory. It lends them: they
// stay valid as long as its methods say and are never released by others. The
// methods are called from one goroutine at a time.
type Set struct {
	m      *model.Model
	e      engine.Engine
	o      Options
	memory engine.Memory
	many   engine.Memory // of layers for calls of many rows
	fit    Fit

	layers map[int]engine.Layer
	coming map[int]engine.Fetched // at most one: what is on its way takes memory too
	pins   map[int]func()         // by layer: what lets its pages go
	embed  engine.Embedding
	head   engine.Head

	embedStreams, headStreams bool
}

// New returns an empty Set whose layers stay. Close releases what it has brought
// in; the model and the engine stay the caller's.
func New(m *model.Model, e engine.Engine, o Options) *Set {
	if o.Heap == nil {
		o.Heap = func(int64) {}
	}
	s := &Set{m: m, e: e, o: o, fit: Fit{Keep: true}, layers: map[int]engine.Layer{}, coming: map[int]engine.Fetched{}, pins: map[int]func(){}}
	layers := s.layerOptions()
	s.memory = e.Memory(m, layers)
	layers.Many = true
	s.many = e.Memory(m, layers)
	return s
}

// Model is the model whose parts these are.
func (s *Set) Model() *model.Model { return s.m }

// Engine is the engine that has them.
func (s *Set) Engine() engine.Engine { return s.e }

// Budget is what the Set keeps to.
func (s *Set) Budget() Budget { return s.o.Budget }

// List checks a list of the model's layers, which may repeat; nil is the whole model.
func (s *Set) List(layers []int) ([]int, error) {
	n := s.m.Spec.Layers
	if layers == nil {
		layers = make([]int, n)
		for i := range layers {
			layers[i] = i
		}
	}
	if len(layers) == 0 {
		return nil, fmt.Errorf("no layer is left; keep at least one of the %d", n)
	}
	for _, l := range []int{slices.Max(layers), slices.Min(layers)} {
		if l < 0 || l >= n {
			return nil, fmt.Errorf("layer %d does not exist: the model has layers 0 to %d", l, n-1)
		}
	}
	return layers, nil
}

// Close releases every part.
func (s *Set) Close() {
	s.dropComing()
	for i := range s.layers {
		s.evict(i)
	}
	s.unpin(nil)
	s.releaseEmbedding()
	s.releaseHead()
}

// Use takes up a plan: what it does not count is let go.
func (s *Set) Use(f Fit) {
	anew := s.fit.Many != f.Many || s.fit.Keep != f.Keep // layers that stay do so in another form
	s.fit = f
	if anew || !f.Keep || s.o.Budget != (Budget{}) || len(s.pins) > 0 {
		s.dropComing()
		for i := range s.layers {
			if anew || !f.stays(i) {
				s.evict(i)
			}
		}
	}
	s.unpin(f.pinned)
	if s.embedStreams == f.Keep {
		s.releaseEmbedding()
	}
	if s.headStreams == f.Keep {
		s.releaseHead()
	}
	if s.o.Budget.Host > 0 {
		s.o.Heap(s.o.Budget.Host - f.outside)
	}
}

func (s *Set) layerOptions() engine.LayerOptions {
	return engine.LayerOptions{
		Options: engine.Options{Trained: s.o.Trained}, Store: s.o.Store,
		Streams: !s.fit.Keep, CacheOnly: !s.fit.Keep && !s.fit.Ahead, Many: s.fit.Many,
	}
}

// Embedding returns the embedding; it is valid until the next Use.
func (s *Set) Embedding() (engine.Embedding, error) {
	if s.embed != nil {
		return s.embed, nil
	}
	embed, err := s.e.Embedding(s.m, engine.EmbeddingOptions{Options: engine.Options{Trained: s.o.Trained}, Streams: !s.fit.Keep})
	if err != nil {
		return nil, fmt.Errorf("embedding: %w", err)
	}
	s.embed, s.embedStreams = embed, !s.fit.Keep
	return embed, nil
}

// Head returns the head; it is valid until the next Use.
func (s *Set) Head() (engine.Head, error) {
	if s.head != nil {
		return s.head, nil
	}
	head, err := s.e.Head(s.m, engine.HeadOptions{Options: engine.Options{Trained: s.o.Trained}, Streams: !s.fit.Keep})
	if err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	s.head, s.headStreams = head, !s.fit.Keep
	return head, nil
}

// Layer returns layer i, bringing it in unless it is there. It is valid until
// Done, or as long as it stays.
func (s *Set) Layer(ctx context.Context, i int) (engine.Layer, error) {
	if l, ok := s.layers[i]; ok {
		return l, nil
	}
	f, ok := s.coming[i]
	if !ok {
		s.dropComing()
		f = s.fetch(i)
	}
	l, err := f.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, err // it may still come, or be dropped
	}
	delete(s.coming, i)
	if err != nil {
		return nil, fmt.Errorf("layer %d: %w", i, err)
	}
	s.layers[i] = l
	return l, nil
}

// Ahead begins to bring in the layer that is wanted next, if it is not there. One
// that was on its way and has not been asked for is given up.
func (s *Set) Ahead(i int) {
	if s.layers[i] != nil || s.coming[i] != nil {
		return
	}
	s.dropComing()
	s.fetch(i)
}

// fetch begins to bring in layer i, from pages that stay where that is planned.
func (s *Set) fetch(i int) engine.Fetched {
	if p, ok := s.e.(engine.Pinner); ok && s.pins[i] == nil && slices.Contains(s.fit.pinned, i) {
		s.pins[i] = p.Pin(s.m, i)
	}
	s.coming[i] = s.e.Fetch(s.m, i, s.layerOptions())
	return s.coming[i]
}

// unpin lets the pages of all layers go but some.
func (s *Set) unpin(but []int) {
	for i, release := range s.pins {
		if !slices.Contains(but, i) {
			release()
			delete(s.pins, i)
		}
	}
}

// Done says that layer i is not wanted for now: unless it is to stay, it goes.
func (s *Set) Done(i int) {
	if !s.fit.Keep && !s.fit.stays(i) {
		s.evict(i)
	}
}

// Layers are the layers that are there, ascending.
func (s *Set) Layers() []int { return slices.Sorted(maps.Keys(s.layers)) }

func (s *Set) evict(i int) {
	if l, ok := s.layers[i]; ok {
		l.Release()
		delete(s.layers, i)
	}
}

func (s *Set) dropComing() {
	for i, f := range s.coming {
		f.Drop()
		delete(s.coming, i)
	}
}

func (s *Set) releaseEmbedding() {
	if s.embed != nil {
		s.embed.Release()
		s.embed = nil
	}
}

func (s *Set) releaseHead() {
	if s.head != nil {
		s.head.Release()
		s.head = nil
	}
}
