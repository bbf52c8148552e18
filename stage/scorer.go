package stage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

// scorer ranks the layers of one model, as often as it is asked to.
type scorer struct {
	*Session
	opt   score.Options // of every call, but for metrics and layers
	data  *report.Data
	store *score.Store
	start time.Time
	told  int // how many pieces of the store were said to be used again
}

// newScorer reads the data, starts the engine and opens the store, where a metric
// needs them.
func newScorer(ctx context.Context, env Env, s *Session, d Data, e Engine, needsData bool) (*scorer, error) {
	sc := &scorer{Session: s, opt: score.Options{Seed: d.Seed}, start: time.Now()}
	if !needsData {
		return sc, nil
	}
	seqs, info, err := d.read(ctx, env, s.Checkpoint.Dir(), s.Model.Spec)
	if err != nil {
		return nil, err
	}
	s.warnOfLength(seqs)
	if err := s.Start(e, nil); err != nil {
		return nil, err
	}
	if sc.store, err = s.openStore(ctx, seqs); err != nil {
		return nil, err
	}
	sc.opt.Sequences, sc.opt.Store, sc.data = seqs, sc.store, info
	return sc, nil
}

func (sc *scorer) close() { _ = sc.store.Close() }

// price plans to score the kept layers (nil: all).
func (sc *scorer) price(metrics []string, keep, protect []int) (*score.Priced, error) {
	opt := sc.opt
	opt.Metrics, opt.Layers, opt.Protect = metrics, keep, protect
	priced, err := score.Price(sc.Model, sc.Runner, opt)
	var few *score.FewLayersError
	if errors.As(err, &few) {
		return nil, wrong("%w", err).with("ask for metrics that look at a layer by itself, such as %s or %s", score.BI, score.MagnitudeL1)
	}
	return priced, err
}

// ask says what the metrics will take, before they start, and asks about long work.
func (sc *scorer) ask(ctx context.Context, metrics []string, priced *score.Priced) error {
	var all forest.Cost
	for _, c := range priced.Costs() {
		what := strings.Join(c.Metrics, ", ")
		if c.Rounds > 1 {
			what += fmt.Sprintf(" in at most %d rounds", c.Rounds)
		}
		sc.explain(what, c.Forest)
		all.Add(c.Forest)
	}
	if all.Passes == 0 {
		return nil
	}
	return sc.consent(ctx, strings.Join(metrics, ", "), all, sc.opt.Sequences)
}

// rank scores the kept layers (nil: all).
func (sc *scorer) rank(ctx context.Context, metrics []string, keep, protect []int) ([]score.Ranking, error) {
	priced, err := sc.price(metrics, keep, protect)
	if err != nil {
		return nil, err
	}
	return sc.run(ctx, priced)
}

func (sc *scorer) run(ctx context.Context, priced *score.Priced) ([]score.Ranking, error) {
	sc.start = time.Now()
	tell, end := sc.env.Talk.Progress("scoring", Steps)
	defer end()
	rankings, err := priced.Run(ctx, forest.RunOptions{Progress: tell})
	sc.noteUsed()
	sc.warnOfStore()
	return rankings, partial(ctx, sc.store, err)
}

// explain says what a call will take beside what is known from earlier runs.
func (sc *scorer) explain(what string, c forest.Cost) {
	sc.noteUsed()
	sc.Session.explain(what, c, sc.opt.Sequences)
}

// noteUsed says how much of earlier runs was used again since it was last said.
func (sc *scorer) noteUsed() {
	if n := sc.store.Used() - sc.told; n > 0 {
		sc.env.Talk.Note("using again what earlier runs have computed: %s, from %s", report.Plural(n, "partial result"), filepath.Join(sc.env.Cache, "scores"))
		sc.told += n
	}
}

// warnOfStore says why finished work is not there for the next run.
func (sc *scorer) warnOfStore() {
	if err := sc.store.Failed(); err != nil {
		sc.env.Talk.Warn("partial results are not kept: %v", err)
	}
}

// losses measures the model without each of the cuts, in as few passes as memory
// allows, after saying what that takes.
func (sc *scorer) losses(ctx context.Context, what string, cuts [][]int) ([]score.Sum, error) {
	lists := without(sc.Model.Spec.Layers, cuts)
	m := score.Measurement{Run: sc.Runner, Sequences: sc.opt.Sequences, Store: sc.store}
	priced, err := m.Price(lists)
	if err != nil {
		return nil, err
	}
	cost := priced.Cost()
	sc.explain(what, cost)
	if err := sc.consent(ctx, what, cost, sc.opt.Sequences); err != nil {
		return nil, err
	}
	sc.start = time.Now()
	tell, end := sc.env.Talk.Progress(what, Steps)
	defer end()
	sums, err := priced.Run(ctx, forest.RunOptions{Progress: tell})
	sc.warnOfStore()
	return sums, partial(ctx, sc.store, err)
}

// without are the layers that each of the cuts leaves.
func without(layers int, cuts [][]int) [][]int {
	lists := make([][]int, len(cuts))
	for i, cut := range cuts {
		for l := range layers {
			if !slices.Contains(cut, l) {
				lists[i] = append(lists[i], l)
			}
		}
	}
	return lists
}

// line is a ranking as a JSON line.
func (sc *scorer) line(r score.Ranking) report.Line {
	var by *report.Compute
	var data *report.Data
	sequences, tokens := 0, 0
	if RunsModel(r.Metric) {
		compute := sc.Compute()
		by, data, sequences, tokens = &compute, sc.data, len(sc.opt.Sequences), countTokens(sc.opt.Sequences)
	}
	if r.Block != nil {
		return report.Blocks{
			Metric: r.Metric, Direction: string(r.Direction), Block: r.Block.Layers, Scores: report.Numbers(r.Block.Scores), Best: r.Block.Best,
			Order: r.Order, Protected: r.Protected, Matrix: report.NewMatrix(r.Matrix), Sequences: sequences, Tokens: tokens, Data: data, Seconds: seconds(sc.start), Compute: by,
		}
	}
	out := report.Ranking{
		Metric: r.Metric, Direction: string(r.Direction), Scores: report.Numbers(r.Scores), Order: r.Order, Protected: r.Protected,
		Seed: sc.opt.Seed, Matrix: report.NewMatrix(r.Matrix), Sequences: sequences, Tokens: tokens, Data: data, Seconds: seconds(sc.start), Compute: by,
	}
	if needsGradients(r.Metric) {
		out.Batch = max(sc.opt.Batch, 1)
	}
	if r.Losses != nil {
		out.Losses = report.Numbers(r.Losses)
	}
	return out
}
