package score

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
)

// probe watches hidden states pass and scores metrics from them.
type probe interface {
	see(context.Context, *states) error
	// holds is the memory kept for hidden size width, as forest.Variant has it.
	holds(width int) (one, across int64)
	// results are the metrics' values, once all states have passed.
	results() map[string][]float64
}

// states are what a step shows to probes, which share what the engine copies.
type states struct {
	forest.Step
	x, y []float32
}

// in are the hidden states [N, D] that enter the layer, out those that leave it.
func (s *states) in(ctx context.Context) ([]float32, error) { return lent(ctx, &s.x, s.In) }

func (s *states) out(ctx context.Context) ([]float32, error) { return lent(ctx, &s.y, s.Out) }

func lent(ctx context.Context, host *[]float32, from engine.Hidden) (_ []float32, err error) {
	if *host == nil {
		*host, err = from.Host(ctx)
	}
	return *host, err
}

// passes runs the model for all metrics that want it: one pass for those of
// hidden states, ppl and kl, then greedy-ppl's rounds.
func (r *request) passes(ctx context.Context) error {
	if !r.needsData() {
		return nil
	}
	m := &Measurement{Run: r.run, Sequences: r.opt.Sequences, Store: r.opt.Store}
	m.Progress = func(done, _ int64) { r.report(min(r.done+done, r.total), r.total) }
	probes, err := r.probes(ctx)
	if err != nil {
		return err
	}
	asks := r.removals()
	if len(probes) > 0 || len(asks) > 0 {
		losses, kls, err := m.measure(ctx, r.layers, asks, r.observer(probes))
		if err != nil {
			return err
		}
		if err := r.keep(probes); err != nil {
			return err
		}
		r.fill(losses, kls)
	}
	if r.wants(GreedyPPL) {
		return r.rankGreedily(ctx, m)
	}
	return nil
}

// probes makes those whose results are not kept from an earlier run.
func (r *request) probes(ctx context.Context) (probes []probe, err error) {
	missing := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			values, kept := r.opt.Store.get(r.resultKey(name))
			if kept {
				r.scores[name] = values
			}
			return r.wants(name) && !kept
		})
	}
	if missing(BI, BIGlobal, Relative) {
		probes = append(probes, newInfluence(r.layers, r.m.Spec.Layers))
	}
	if missing(Angular) {
		probes = append(probes, newAngular(len(r.layers), len(r.opt.Sequences)))
	}
	if missing(CKA) {
		c, err := newCKA(r.run.Engine(), r.m, len(r.layers), r.opt.Sequences, r.opt.Rows, r.opt.Seed, r.opt.Matrix)
		if err != nil {
			return nil, err
		}
		probes = append(probes, c)
	}
	return probes, nil
}

// resultKey is what a metric's values are kept under.
func (r *request) resultKey(name string) string {
	if name == CKA {
		return fmt.Sprint(name, " ", r.layers, " ", r.opt.Rows, " ", r.opt.Seed, " ", r.opt.Matrix)
	}
	return fmt.Sprint(name, " ", r.layers)
}

// observer shows the whole list's states to all probes; nil without any.
func (r *request) observer(probes []probe) *forest.Variant {
	if len(probes) == 0 {
		return nil
	}
	v := &forest.Variant{Layers: r.layers, Observe: func(ctx context.Context, step forest.Step) error {
		s := &states{Step: step}
		for _, p := range probes {
			if err := p.see(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}}
	for _, p := range probes {
		one, across := p.holds(r.m.Spec.Hidden)
		v.Holds += one
		v.HoldsAcross += across
	}
	return v
}

// keep takes the probes' results.
func (r *request) keep(probes []probe) error {
	for _, p := range probes {
		for name, values := range p.results() {
			if slices.ContainsFunc(values, func(v float64) bool { return math.IsInf(v, 0) }) {
				return fmt.Errorf("%s: a score is infinite; check the checkpoint's weights, or use --dtype float32", name)
			}
			r.scores[name] = values
			if !r.wants(name) {
				continue
			}
			if err := r.opt.Store.put(r.resultKey(name), values...); err != nil {
				return err
			}
		}
	}
	return nil
}

// removals are the lists without one layer that may drop, for ppl and kl.
func (r *request) removals() (asks []ask) {
	if !r.wants(PPL) && !r.wants(KL) || len(r.layers) < 2 {
		return nil
	}
	for _, l := range r.candidates(r.layers) {
		asks = append(asks, ask{layers: drop(r.layers, l), loss: r.wants(PPL), kl: r.wants(KL)})
	}
	return asks
}

// candidates are the layers of a list that may drop.
func (r *request) candidates(layers []int) []int {
	return slices.DeleteFunc(slices.Clone(layers), func(l int) bool { return slices.Contains(r.protect, l) })
}

// drop is a list without one of its layers.
func drop(layers []int, l int) []int {
	return slices.DeleteFunc(slices.Clone(layers), func(x int) bool { return x == l })
}

// fill turns what removals lose into scores, in the order of removals.
func (r *request) fill(losses, kls []Sum) {
	ppl, kl := r.undefined(), r.undefined()
	if len(losses) > 0 {
		for i, l := range r.candidates(r.layers) {
			ppl[l], kl[l] = losses[i].Perplexity(), kls[i].Mean()
		}
	}
	r.scores[PPL], r.scores[KL] = ppl, kl
}
