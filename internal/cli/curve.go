package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

type curveOptions struct {
	dir     string
	order   string
	metric  string
	protect string
	plot    string
	force   bool
	yes     bool
	input   sequenceFlags
	engine  engineFlags
}

func newCurve(a *app) *cobra.Command {
	var o curveOptions
	c := &cobra.Command{
		Use:   "curve MODEL [--order METRIC|RANKING.json] (--tokens FILE | --data FILE)",
		Short: "What is lost as more and more layers are cut",
		Long: `Print the loss with n = 0, 1, … layers cut, in the order of a metric or of a
ranking that score --json printed (default reverse: from the end). All of it runs in one pass: what the prunings share is computed once.

With --order angular each n drops its own best block.`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.input.preset = args[0], true
			if err := o.input.check(c); err != nil {
				return err
			}
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	c.Flags().StringVar(&o.order, "order", score.Reverse, "metric, or file with a ranking, that orders the layers")
	c.Flags().StringVar(&o.metric, "metric", "", "with a file of several rankings: the metric whose order is meant")
	c.Flags().StringVar(&o.protect, "protect", "", "layers that are never cut, such as 0-3,30-31")
	c.Flags().StringVar(&o.plot, "plot", "", "draw the curve to a .png or .svg file")
	c.Flags().BoolVar(&o.force, "force", false, "replace a --plot that exists")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask about work of more than an hour")
	nonEmpty(c, "order", "metric", "protect", "plot")
	o.input.register(c)
	o.engine.register(c)
	return c
}

func (o curveOptions) run(ctx context.Context, a *app) error {
	if err := o.check(); err != nil {
		return err
	}
	dir, err := a.findModel(ctx, o.dir, hub.NeedAll)
	if err != nil {
		return err
	}
	s, err := openModel(dir)
	if err != nil {
		return err
	}
	defer s.close()
	protect, err := parseProtect(o.protect, s.m.Spec.Layers)
	if err != nil {
		return err
	}
	sc, err := newScorer(ctx, a, s, o.input, o.engine, []string{"curve"})
	if err != nil {
		return err
	}
	defer sc.close()
	cuts, result, err := o.cuts(ctx, sc, protect)
	if err != nil {
		return err
	}
	sums, err := sc.losses(ctx, "curve", cuts, o.yes)
	if err != nil {
		return err
	}
	for n, sum := range sums {
		result.Dropped = append(result.Dropped, append([]int{}, cuts[n]...))
		result.Loss = append(result.Loss, report.Number(sum.Mean()))
		result.Perplexity = append(result.Perplexity, report.Number(sum.Perplexity()))
	}
	result.Sequences, result.Tokens = len(sc.opt.Sequences), countTokens(sc.opt.Sequences)
	result.Data, result.Seconds, result.Compute = sc.data, seconds(sc.start), s.compute()
	if err := printCurve(a, result); err != nil || o.plot == "" {
		return err
	}
	return drawCurve(a, o.plot, o.force, result)
}

func (o curveOptions) check() error {
	if err := checkPlot(o.plot, o.force); err != nil {
		return err
	}
	return o.engine.check()
}

// cuts are the layers to leave out for n = 0, 1, ….
func (o curveOptions) cuts(ctx context.Context, sc *scorer, protect []int) (cuts [][]int, c report.Curve, err error) {
	layers := sc.s.m.Spec.Layers
	if _, err := score.Lookup(o.order); err != nil {
		return o.fromFile(layers, protect)
	}
	c.Metric = o.order
	rankings, err := sc.rank(ctx, []string{o.order}, nil, protect)
	if err != nil {
		return nil, c, err
	}
	if o.order == score.Angular {
		cuts = [][]int{nil}
		for n := 1; n < layers; n++ {
			b := score.BestBlock(rankings[0].Matrix, n, protect)
			if b.Best < 0 {
				break
			}
			cuts = append(cuts, span(b.Best, n))
		}
		return cuts, c, nil
	}
	c.Order = rankings[0].Order
	return prefixes(c.Order, layers), c, nil
}

// fromFile takes the order of a file that score --json wrote.
func (o curveOptions) fromFile(layers int, protect []int) ([][]int, report.Curve, error) {
	rankings, err := report.ReadRankings(o.order)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, report.Curve{}, usage("--order %s: neither a metric nor a file", o.order).withHint("metrics are %s", strings.Join(metricNames(), ", "))
	}
	if err != nil {
		return nil, report.Curve{}, err
	}
	if o.metric != "" {
		rankings = slices.DeleteFunc(rankings, func(r report.Ranking) bool { return r.Metric != o.metric })
	}
	if len(rankings) != 1 {
		return nil, report.Curve{}, usage("--order %s: %d rankings in it fit, and one is wanted", o.order, len(rankings)).withHint("pass --metric with the one that is meant")
	}
	r := rankings[0]
	if len(r.Scores) != layers {
		return nil, report.Curve{}, fmt.Errorf("%s ranks %d layers, and this model has %d", o.order, len(r.Scores), layers)
	}
	order := slices.DeleteFunc(r.Order, func(l int) bool { return slices.Contains(protect, l) })
	return prefixes(order, layers), report.Curve{Metric: r.Metric, Order: order}, nil
}

// prefixes are the first n of an order, n = 0, 1, …; one layer always stays.
func prefixes(order []int, layers int) (cuts [][]int) {
	for n := 0; n <= min(len(order), layers-1); n++ {
		cuts = append(cuts, order[:n])
	}
	return cuts
}

// span is n layers from the first on.
func span(first, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = first + i
	}
	return out
}

// losses measures the model without each of the cuts, in as few passes as memory
// allows.
func (sc *scorer) losses(ctx context.Context, what string, cuts [][]int, yes bool) ([]score.Sum, error) {
	lists := make([][]int, len(cuts))
	for i, cut := range cuts {
		for l := range sc.s.m.Spec.Layers {
			if !slices.Contains(cut, l) {
				lists[i] = append(lists[i], l)
			}
		}
	}
	m := score.Measurement{Run: sc.s.run, Sequences: sc.opt.Sequences, Store: sc.store}
	cost, err := m.Cost(lists)
	if err != nil {
		return nil, err
	}
	sc.s.explain(sc.a, what, cost, sc.opt.Sequences)
	if err := sc.s.consent(ctx, sc.a, cost, sc.opt.Sequences, yes); err != nil {
		return nil, err
	}
	sc.start = time.Now()
	m.Progress = sc.a.progress(what)
	sums, err := m.Losses(ctx, lists)
	sc.a.stopProgress()
	return sums, partial(ctx, sc.store, err)
}

func printCurve(a *app, c report.Curve) error {
	if a.json {
		return a.line(c)
	}
	t := &report.Table{Header: []string{"cut", "layers", "loss", "perplexity"}}
	for n := range c.Loss {
		t.Add(report.Int(n), report.Layers(slices.Sorted(slices.Values(c.Dropped[n]))), report.Float(c.Loss[n]), report.Float(c.Perplexity[n]))
	}
	return a.table(t)
}

// checkPlot finds what can be wrong with --plot before any work is done.
func checkPlot(path string, force bool) error {
	if path == "" {
		return nil
	}
	if !strings.HasSuffix(path, ".png") && !strings.HasSuffix(path, ".svg") {
		return usage("--plot %s: want a name that ends in .png or .svg", path)
	}
	if _, err := os.Stat(path); err == nil && !force {
		return failed("%s exists", path).withHint("name another --plot, or replace it with --force")
	}
	return nil
}
