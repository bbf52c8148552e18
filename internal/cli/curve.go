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

	"github.com/coppice-ml/coppice/forest"
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
	tasks   curveTasks

	given func(flag string) bool // on the command line
}

func newCurve(a *app) *cobra.Command {
	var o curveOptions
	c := &cobra.Command{
		Use:   "curve MODEL [--order METRIC|RANKING.json] [--tokens FILE | --data FILE] [--tasks A,B]",
		Short: "What is lost as more and more layers are cut",
		Long: `Print the loss with n = 0, 1, … layers cut, in the order of a metric or of a
ranking that score --json printed (default reverse: from the end). All of it runs
in one pass: what the prunings share is computed once.

With --tasks it is the results of benchmark tasks, asked as "coppice eval" asks them;
--tokens or --data then serve the metric that orders the layers.

With --order angular each n drops its own best block.`,
		Example: `  coppice curve ./model --data text.txt --plot curve.svg
  coppice curve ./model --order ranking.json --protect 0-3 --tasks piqa,arc_easy`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.input.preset, o.given = args[0], true, c.Flags().Changed
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
	o.tasks.register(c)
	o.input.register(c)
	o.engine.register(c)
	return c
}

func (o curveOptions) run(ctx context.Context, a *app) error {
	if err := o.check(a); err != nil {
		return err
	}
	questions, err := o.questions(ctx, a)
	if err != nil {
		return evalHints(err)
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
	sc, err := newScorer(ctx, a, s, o.input, o.engine, o.needsData())
	if err != nil {
		return err
	}
	defer sc.close()
	cuts, result, err := o.cuts(ctx, sc, protect)
	if err != nil {
		return err
	}
	for _, cut := range cuts {
		result.Dropped = append(result.Dropped, append([]int{}, cut...))
	}
	if questions != nil {
		err = evalHints(sc.answers(ctx, questions, cuts, &result))
	} else {
		err = sc.curve(ctx, cuts, o.yes, &result)
	}
	if err != nil {
		return err
	}
	result.Sequences, result.Tokens = len(sc.opt.Sequences), countTokens(sc.opt.Sequences)
	result.Data, result.Seconds, result.Compute = sc.data, seconds(sc.start), s.compute()
	if err := printCurve(a, result); err != nil || o.plot == "" {
		return err
	}
	return drawCurve(a, o.plot, o.force, result)
}

func (o curveOptions) check(a *app) error {
	if err := checkPlot(o.plot, o.force); err != nil {
		return err
	}
	if err := o.tasks.check(o.given); err != nil {
		return err
	}
	if len(o.needsData()) == 0 && o.input.given() {
		a.warn("the data is not used: tasks have their own, and --order %s looks at none", o.order)
	}
	return o.engine.check()
}

// needsData names what sequences are read for.
func (o curveOptions) needsData() []string {
	if o.tasks.names == "" {
		return []string{"curve"}
	}
	if _, err := score.Lookup(o.order); err == nil && runsModel(o.order) {
		return []string{o.order}
	}
	return nil
}

// curve measures the loss without each of the cuts.
func (sc *scorer) curve(ctx context.Context, cuts [][]int, yes bool, c *report.Curve) error {
	sums, err := sc.losses(ctx, "curve", cuts, yes)
	for _, sum := range sums {
		c.Loss = append(c.Loss, report.Number(sum.Mean()))
		c.Perplexity = append(c.Perplexity, report.Number(sum.Perplexity()))
	}
	return err
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

// losses measures the model without each of the cuts, in as few passes as memory
// allows.
func (sc *scorer) losses(ctx context.Context, what string, cuts [][]int, yes bool) ([]score.Sum, error) {
	lists := without(sc.s.m.Spec.Layers, cuts)
	m := score.Measurement{Run: sc.s.run, Sequences: sc.opt.Sequences, Store: sc.store}
	priced, err := m.Price(lists)
	if err != nil {
		return nil, err
	}
	cost := priced.Cost()
	sc.s.explain(sc.a, what, cost, sc.opt.Sequences)
	if err := sc.s.consent(ctx, sc.a, cost, sc.opt.Sequences, yes); err != nil {
		return nil, err
	}
	sc.start = time.Now()
	sums, err := priced.Run(ctx, forest.RunOptions{Progress: sc.a.progress(what)})
	sc.a.stopProgress()
	sc.warnOfStore()
	return sums, partial(ctx, sc.store, err)
}

func printCurve(a *app, c report.Curve) error {
	if a.json {
		return a.line(c)
	}
	if len(c.Tasks) > 0 {
		return printTaskCurves(a, c)
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
