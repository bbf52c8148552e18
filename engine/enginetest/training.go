package enginetest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// training is a model some of whose tensors train, with all its parts loaded.
type training struct {
	t       testing.TB
	e       engine.Engine
	m       *model.Model
	trained engine.Trained
	embed   engine.TrainEmbedding
	layers  []engine.TrainLayer
	head    engine.TrainHead
	states  []engine.Hidden // [L+1] of the last batch: what enters each layer, what leaves the last
	tapes   []engine.Tape   // [L], or nil
	every   bool            // ask for every row of the last layer too
}

// train loads a model of whose stored tensors those chosen train.
func train(t testing.TB, e engine.Engine, m *model.Model, chosen func(model.Weight) bool, adapters map[string]engine.Adapter) *training {
	t.Helper()
	r := &training{t: t, e: e, m: m, trained: engine.Trained{Tensors: map[string]engine.Trainable{}, Adapters: adapters}}
	for w := range m.Spec.Weights() {
		if chosen(w) {
			r.trained.Tensors[w.Name] = newTrainable(t, e, w.Name, w.Shape, stored(t, m, w))
		}
	}
	o := engine.Options{Trained: &r.trained}
	embed, err := e.Embedding(m, engine.EmbeddingOptions{Options: o})
	r.must(err)
	head, err := e.Head(m, engine.HeadOptions{Options: o})
	r.must(err)
	r.embed, r.head = embed.(engine.TrainEmbedding), head.(engine.TrainHead)
	t.Cleanup(embed.Release)
	t.Cleanup(head.Release)
	for i := range m.Spec.Layers {
		l, err := e.Fetch(m, i, engine.LayerOptions{Options: o}).Wait(context.Background())
		r.must(err)
		t.Cleanup(l.Release)
		r.layers = append(r.layers, l.(engine.TrainLayer))
	}
	return r
}

func everything(model.Weight) bool { return true }

func nothing(model.Weight) bool { return false }

// newTrainable makes a Trainable of given values.
func newTrainable(t testing.TB, e engine.Engine, name string, shape []int, values []float32) engine.Trainable {
	t.Helper()
	x, err := e.(engine.Trainer).NewTrainable(name, shape, engine.TrainableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(x.Release)
	if err := x.Write(context.Background(), engine.Master, 0, values); err != nil {
		t.Fatal(err)
	}
	return x
}

// stored reads a weight as float32.
func stored(t testing.TB, m *model.Model, w model.Weight) []float32 {
	t.Helper()
	return appendFloat32(nil, tensors(t, m, []model.Weight{w})[w.Role])
}

func (r *training) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// all lists the Trainables by name, adapters' included.
func (r *training) all() []engine.Trainable {
	out := slices.Collect(maps.Values(r.trained.Tensors))
	for _, a := range r.trained.Adapters {
		out = append(out, a.A, a.B)
	}
	slices.SortFunc(out, func(a, b engine.Trainable) int { return cmp.Compare(a.Name(), b.Name()) })
	return out
}

// keep gives every layer a tape of so many rows.
func (r *training) keep(rows int) {
	for range r.layers {
		tape, err := r.e.(engine.Trainer).NewTape(r.m, rows, engine.LayerOptions{Options: engine.Options{Trained: &r.trained}})
		r.must(err)
		r.t.Cleanup(tape.Release)
		r.tapes = append(r.tapes, tape)
	}
}

// question is what a loss is taken of. Of the last layer only the rows that
// targets name are asked for, unless every one is wanted.
type question struct {
	batch   *engine.Batch
	targets []engine.Target
	weights []float32
	dropout *engine.Dropout
}

// rows are those that targets name.
func (q question) rows() (rows []int) {
	for _, t := range q.targets {
		rows = append(rows, t.Row)
	}
	slices.Sort(rows)
	return slices.Compact(rows)
}

func (r *training) call(q question, layer int) *engine.Call {
	c := &engine.Call{Batch: q.batch, Dropout: q.dropout}
	if r.tapes != nil {
		c.Tape = r.tapes[layer]
	}
	if layer == len(r.layers)-1 && !r.every {
		c.Rows = q.rows()
	}
	return c
}

// forward computes what enters every layer, and what leaves the last.
func (r *training) forward(q question) {
	ctx := context.Background()
	for len(r.states) <= len(r.layers) {
		x, err := r.e.NewHidden(r.m, max(512, q.batch.Len()))
		r.must(err)
		r.t.Cleanup(x.Release)
		r.states = append(r.states, x)
	}
	n := q.batch.Len()
	r.must(r.embed.Forward(ctx, q.batch, r.states[0].Slice(0, n)))
	for i, l := range r.layers {
		r.must(l.Forward(ctx, r.call(q, i), r.states[i].Slice(0, n), r.states[i+1].Slice(0, n)))
	}
}

// backward takes the gradient that is in place of what leaves the last layer
// through the model, to all that trains.
func (r *training) backward(q question) {
	ctx, n := context.Background(), q.batch.Len()
	d := r.states[len(r.layers)].Slice(0, n)
	for i := len(r.layers) - 1; i >= 0; i-- {
		r.must(r.layers[i].Backward(ctx, r.call(q, i), r.states[i].Slice(0, n), d, d))
	}
	r.must(r.embed.Backward(ctx, q.batch, d))
}

// loss is a loss and adds its gradients to those of all that trains.
func (r *training) loss(q question) float64 {
	r.t.Helper()
	r.forward(q)
	last := r.states[len(r.layers)].Slice(0, q.batch.Len())
	loss, err := r.head.Loss(context.Background(), last, q.targets, q.weights, last)
	r.must(err)
	r.backward(q)
	return loss
}

// gradients reads them by name.
func (r *training) gradients() map[string][]float32 {
	r.t.Helper()
	out := map[string][]float32{}
	for _, x := range r.all() {
		out[x.Name()] = read(r.t, x, engine.Gradient)
	}
	return out
}

func (r *training) zero() {
	for _, x := range r.all() {
		x.ZeroGrad()
	}
}

func read(t testing.TB, x engine.Trainable, p engine.Part) []float32 {
	t.Helper()
	n := 1
	for _, d := range x.Shape() {
		n *= d
	}
	out := make([]float32, n)
	if err := x.Read(context.Background(), p, 0, out); err != nil {
		t.Fatal(err)
	}
	return out
}
