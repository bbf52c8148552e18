package forest

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/coppice-ml/coppice/engine"
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
		if out[i], err = r.layer(context.Background(), l, engine.LayerOptions{}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Embedding returns the resident embedding; it stays the Runner's.
func (r *Runner) Embedding() (engine.Embedding, error) { return r.embeddingOf(false) }

// embeddingOf returns the embedding, whose pages go after every call where they
// stream.
func (r *Runner) embeddingOf(stream bool) (engine.Embedding, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.embed != nil && r.embedStreams != stream {
		r.embed.Release()
		r.embed = nil
	}
	if r.embed == nil {
		e, err := r.e.Embedding(r.m, engine.EmbeddingOptions{Streams: stream})
		if err != nil {
			return nil, err
		}
		r.embed, r.embedStreams = e, stream
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
		h, err := r.e.Head(r.m, engine.HeadOptions{Streams: stream})
		if err != nil {
			return nil, err
		}
		r.head, r.headStreams = h, stream
	}
	return r.head, nil
}

// layer brings a layer in unless it is there.
func (r *Runner) layer(ctx context.Context, i int, o engine.LayerOptions) (engine.Layer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.resident[i]; ok {
		return l, nil
	}
	f, ok := r.coming[i]
	if !ok {
		f = r.e.Fetch(r.m, i, o)
		r.coming[i] = f
	}
	l, err := f.Wait(ctx)
	if ctx.Err() != nil && err != nil {
		return nil, err // Close drops it
	}
	delete(r.coming, i)
	if err != nil {
		return nil, layerError(i, err)
	}
	r.resident[i] = l
	return l, nil
}

// evict lets go of a layer and its pages.
func (r *Runner) evict(i int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l, ok := r.resident[i]; ok {
		l.Release()
		delete(r.resident, i)
	}
}

// evictAll lets go of everything, before layers stream.
func (r *Runner) evictAll() error {
	for _, i := range r.residentLayers() {
		r.evict(i)
	}
	if _, err := r.embeddingOf(true); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.head != nil && !r.headStreams {
		r.head.Release()
		r.head = nil
	}
	return nil
}

func (r *Runner) residentLayers() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.resident))
}

// ahead begins to bring a layer in while another computes.
func (r *Runner) ahead(i int, o engine.LayerOptions) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.coming[i]; !ok {
		r.coming[i] = r.e.Fetch(r.m, i, o)
	}
}
