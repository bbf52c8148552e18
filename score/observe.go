package score

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
)

// probe watches hidden states pass. Metrics read their values off it once all
// states have passed.
type probe interface {
	see(context.Context, *states) error
	// holds is the memory kept for hidden size width, as forest.Variant has it.
	holds(width int) (one, across int64)
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

// observed is the source of metrics that score layers by a probe: make makes the
// probe, which metrics with probes of one type share, values are a metric's
// scores [L].
func observed[P probe](make func(p *Priced) (P, error), values func(P) []float64) source {
	return func(p *Priced, metric Metric) (reader, error) {
		key := fmt.Sprint(metric.Name, " ", p.layers)
		found, err := watch(p, metric, key, make, values)
		if err != nil {
			return nil, err
		}
		return p.scored(metric, func() []float64 { return *found }), nil
	}
}

// compared is the source of metrics that compare depths by a probe: values is a
// matrix between every two of them, [L+1][L+1] for the L layers run. settings are
// what it depends on beside data and layers, read takes it in.
func compared[P probe](make func(p *Priced) (P, error), settings func(*Priced) string, values func(P) [][]float64, read func(p *Priced, metric Metric, matrix [][]float64, out *Ranking)) source {
	return func(p *Priced, metric Metric) (reader, error) {
		key := fmt.Sprint(metric.Name, " ", p.layers, settings(p))
		found, err := watch(p, metric, key, make, func(probe P) []float64 { return slices.Concat(values(probe)...) })
		if err != nil {
			return nil, err
		}
		return func(out *Ranking) {
			var matrix [][]float64
			for row := range slices.Chunk(*found, len(p.layers)+1) {
				matrix = append(matrix, slices.Clone(row))
			}
			read(p, metric, matrix, out)
		}, nil
	}
}

func noSettings(*Priced) string { return "" }

// watch returns where a metric's values are found once the probes' pass is over:
// those kept by an earlier run, or what a probe gathers, which are then kept.
func watch[P probe](p *Priced, metric Metric, key string, make func(*Priced) (P, error), values func(P) []float64) (*[]float64, error) {
	if kept, ok := p.opt.Store.get(key); ok {
		return &kept, nil
	}
	probe, err := shared(p, make)
	if err != nil {
		return nil, err
	}
	var found []float64
	p.gather = append(p.gather, func() error {
		found = values(probe)
		if slices.ContainsFunc(found, func(v float64) bool { return math.IsInf(v, 0) }) {
			return fmt.Errorf("%s: a score is infinite; check the checkpoint's weights, or use --dtype float32", metric.Name)
		}
		p.opt.Store.put(key, found...)
		return nil
	})
	return &found, nil
}

// shared is the call's probe of a type.
func shared[P probe](p *Priced, make func(*Priced) (P, error)) (P, error) {
	for _, one := range p.probes {
		if found, ok := one.(P); ok {
			return found, nil
		}
	}
	one, err := make(p)
	if err == nil {
		p.probes = append(p.probes, one)
	}
	return one, err
}

// observer shows the whole list's states to all probes; nil without any.
func (p *Priced) observer() *forest.Variant {
	if len(p.probes) == 0 {
		return nil
	}
	v := &forest.Variant{Layers: p.layers, Observe: func(ctx context.Context, step forest.Step) error {
		s := &states{Step: step}
		for _, probe := range p.probes {
			if err := probe.see(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}}
	for _, probe := range p.probes {
		one, across := probe.holds(p.m.Spec.Hidden)
		v.Holds += one
		v.HoldsAcross += across
	}
	return v
}
