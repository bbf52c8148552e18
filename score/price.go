package score

import (
	"context"
	"errors"
	"math"

	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
)

// Priced is a planned call of Rank: what its metrics need, each thing once. It is
// run once.
type Priced struct {
	*request
	readers []reader // [metrics]
	ran     bool

	weights  *magnitudes    // nil: no metric reads the weights
	probes   []probe        // shown the states of the whole list
	gather   []func() error // after the probes' pass: takes what metrics want of them
	removals *removals      // nil: no metric measures lists without one layer
	greedy   *greedy        // nil: no metric plays rounds
	taylor   *taylor        // nil: no metric wants gradients
	measure  *Measurement   // nil: no metric runs the model
	shared   *passes        // of probes and removals
}

// source adds what a metric needs to the work of a call and returns what reads
// its scores off when that is done.
type source func(*Priced, Metric) (reader, error)

// reader fills in a ranking.
type reader func(*Ranking)

// Price plans a call of Rank without running it. The errors are those of Rank
// that need no work to be found.
func Price(m *model.Model, run *forest.Runner, opt Options) (*Priced, error) {
	metrics, err := lookup(opt.Metrics)
	if err != nil {
		return nil, err
	}
	return price(m, run, opt, metrics)
}

func price(m *model.Model, run *forest.Runner, opt Options, metrics []Metric) (*Priced, error) {
	r, err := newRequest(m, run, opt, metrics)
	if err != nil {
		return nil, err
	}
	p := &Priced{request: r}
	if r.needsData() {
		p.measure = &Measurement{Run: run, Sequences: opt.Sequences, Store: r.opt.Store}
	}
	for _, metric := range metrics {
		read, err := metric.from(p, metric)
		if err != nil {
			return nil, err
		}
		p.readers = append(p.readers, read)
	}
	return p, p.plan()
}

// plan plans the passes, once all metrics have said what they need.
func (p *Priced) plan() (err error) {
	var asks []ask
	if p.removals != nil {
		asks = p.removals.asks
	}
	if p.measure != nil {
		if p.shared, err = p.measure.plan(p.layers, asks, p.observer()); err != nil {
			return err
		}
	}
	if p.taylor != nil {
		if err = p.taylor.plan(); err != nil {
			return err
		}
	}
	if p.greedy != nil {
		return p.greedy.price()
	}
	return nil
}

// Cost is what one group of metrics that share passes will take.
type Cost struct {
	Metrics []string
	Forest  forest.Cost // of all rounds; no passes where all is known from earlier runs
	Rounds  int         // of greedy-ppl; 1 for metrics that take one
}

// Costs says what Run will compute: token-layers, passes over the weights and
// memory. What a store has kept is not counted. Rounds of greedy-ppl are counted
// as if it dropped the first layer each time, which costs most.
func (p *Priced) Costs() (out []Cost) {
	if p.measure == nil {
		return nil
	}
	shared, rounds := Cost{Forest: p.shared.cost, Rounds: 1}, Cost{}
	for _, metric := range p.metrics {
		switch {
		case metric.Rounds:
			rounds = Cost{Metrics: []string{metric.Name}, Forest: p.greedy.cost, Rounds: p.greedy.roundCount()}
		case metric.NeedsData && !metric.Gradients:
			shared.Metrics = append(shared.Metrics, metric.Name)
		}
	}
	if len(shared.Metrics) > 0 {
		out = append(out, shared)
	}
	if p.taylor != nil {
		out = append(out, Cost{Metrics: p.taylor.names(), Forest: p.taylor.cost, Rounds: 1})
	}
	if rounds.Metrics != nil {
		out = append(out, rounds)
	}
	return out
}

// Run does what was planned, see Rank. Progress is told in token-layers; reading
// a layer's weights counts as one. After an error what is finished is in the
// store, and a new Price plans what is left.
func (p *Priced) Run(ctx context.Context, o forest.RunOptions) ([]Ranking, error) {
	if p.ran {
		return nil, errors.New("a planned scoring runs once; plan it anew")
	}
	p.ran = true
	if err := p.work(ctx, newTracker(p.total(), o.Progress)); err != nil {
		return nil, err
	}
	rankings := make([]Ranking, len(p.metrics))
	for i, metric := range p.metrics {
		rankings[i] = Ranking{Metric: metric.Name, Direction: metric.Direction, Protected: p.protect}
		p.readers[i](&rankings[i])
	}
	return rankings, nil
}

func (p *Priced) total() (total int64) {
	if p.weights != nil {
		total += int64(len(p.layers))
	}
	for _, c := range p.Costs() {
		total += work(c.Forest)
	}
	return total
}

func (p *Priced) work(ctx context.Context, t *tracker) error {
	if p.weights != nil {
		if err := p.weights.read(ctx, p.m, p.layers, t); err != nil {
			return err
		}
	}
	if p.shared != nil {
		if err := p.shared.run(ctx, t); err != nil {
			return err
		}
	}
	for _, gather := range p.gather {
		if err := gather(); err != nil {
			return err
		}
	}
	if p.taylor != nil {
		if err := p.taylor.run(ctx, t); err != nil {
			return err
		}
	}
	if p.greedy != nil {
		return p.greedy.run(ctx, t)
	}
	return nil
}

// scored reads scores [L] into a ranking.
func (p *Priced) scored(metric Metric, scores func() []float64) reader {
	return func(out *Ranking) { p.rank(metric, scores(), out) }
}

// rank sets scores [L] and the order that follows from them.
func (p *Priced) rank(metric Metric, scores []float64, out *Ranking) {
	out.Scores = scores
	out.Order = order(scores, metric.Direction, p.layers, p.protect)
}

// undefined are scores [L] that are all NaN.
func (p *Priced) undefined() []float64 {
	scores := make([]float64, p.m.Spec.Layers)
	for i := range scores {
		scores[i] = math.NaN()
	}
	return scores
}

// tracker adds up the progress of a call's parts.
type tracker struct {
	done, total int64
	report      func(done, total int64)
}

func newTracker(total int64, report func(done, total int64)) *tracker {
	return &tracker{total: total, report: report}
}

// advance counts n as done.
func (t *tracker) advance(n int64) { t.done += n }

// ahead tells that so much of the part under way is done.
func (t *tracker) ahead(done, _ int64) {
	if t.report != nil && done > 0 {
		t.report(min(t.done+done, t.total), t.total)
	}
}
