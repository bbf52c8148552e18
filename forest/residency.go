package forest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Layers returns the resident layers of a pruning, for callers that run them
// many times, such as generation. They stay the Runner's. It fails when they do
// not fit Options.Memory beside embedding and head, a quarter being left for
// data: streaming them past every token would take as long as reading them
// from disk each time.
func (r *Runner) Layers(layers []int) ([]engine.Layer, error) {
	layers, err := r.list(layers)
	if err != nil {
		return nil, err
	}
	n := need{layers: union(layers, nil), head: true}
	bytes := r.topBytes(n)
	for _, l := range union(n.layers, r.residentLayers()) {
		bytes += r.layerBytes(l)
	}
	if r.opt.Memory > 0 && bytes > r.opt.Memory/4*3 {
		return nil, fmt.Errorf("the layers take %d MiB when all of them stay in memory, and %d MiB may be used of which a quarter is for data; raise --memory, or leave layers out", bytes>>20, r.opt.Memory>>20)
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
func (r *Runner) Head() (engine.Head, error) { return r.headOf(false) }

// headOf returns the head, whose pages go as it is walked where they stream.
func (r *Runner) headOf(stream bool) (engine.Head, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head != nil && r.headStreams != stream {
		r.head.Release()
		r.head = nil
	}
	if r.head == nil {
		h, err := r.e.Head(r.m, stream)
		if err != nil {
			return nil, err
		}
		r.head, r.headStreams = h, stream
	}
	return r.head, nil
}

// layer brings a layer in unless it is there.
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
	if r.engineMemory.Layer > 0 { // the engine has a copy
		r.m.Source.Release(names(r.m.Spec.LayerWeights(i))...)
	}
	return l, nil
}

// evict lets go of a layer and its pages.
func (r *Runner) evict(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.resident[i]; ok {
		l.Release()
		delete(r.resident, i)
		r.m.Source.Release(names(r.m.Spec.LayerWeights(i))...)
	}
}

// evictAll lets go of every layer, before layers stream.
func (r *Runner) evictAll() {
	for _, i := range r.residentLayers() {
		r.evict(i)
	}
}

func (r *Runner) residentLayers() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.resident))
}

// prefetch reads a layer ahead while another computes: into memory, or where
// that is not to be had into the system's cache of files only.
func (r *Runner) prefetch(i int, ahead bool) {
	list := names(r.m.Spec.LayerWeights(i))
	r.reading.Go(func() {
		if ahead {
			r.m.Source.Populate(list...)
		} else {
			r.m.Source.Prefetch(list...)
		}
	})
}

// releaseTop lets go of the pages of embedding and head.
func (r *Runner) releaseTop() {
	r.m.Source.Release(names(r.m.Spec.TopWeights())...)
}

func names(ws []model.Weight) []string {
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = w.Name
	}
	return out
}
