package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

type scoreOptions struct {
	dir     string
	metrics []string
	protect string
	block   int
	rounds  int
	rows    string
	matrix  bool
	plot    string
	force   bool
	yes     bool
	input   sequenceFlags
	engine  engineFlags

	given func(flag string) bool // on the command line
}

func newScore(a *app) *cobra.Command {
	var o scoreOptions
	c := &cobra.Command{
		Use:   "score MODEL --metric NAME[,NAME…]",
		Short: "Rank the layers by how little is lost without them",
		Long: `Rank the layers of a model, from the first to drop to the last. Metrics that
need the same pass share it; "all" is every metric. What they take is said before
they start, and asked about (--yes) when it is more than an hour. Finished work is
kept: after an interruption the same command goes on from there (exit code 3).

` + metricsHelp(),
		Example: `  coppice score ./model --metric reverse,magnitude-l1
  coppice score ./model --metric bi,angular,cka --data text.txt --plot scores.svg
  coppice score ./model --metric greedy-ppl --rounds 8 --memory 4GiB --json > ranking.json`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.given, o.input.preset = args[0], c.Flags().Changed, true
			if err := o.input.check(c); err != nil {
				return err
			}
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	c.Flags().StringSliceVar(&o.metrics, "metric", nil, "metrics, separated by commas, or all")
	c.Flags().StringVar(&o.protect, "protect", "", "layers that are never dropped, such as 0-3,30-31")
	c.Flags().IntVar(&o.block, "block", 0, "angular: layers in a block (default a quarter of them)")
	c.Flags().IntVar(&o.rounds, "rounds", 0, "greedy-ppl: layers to drop (default: until one is left)")
	c.Flags().StringVar(&o.rows, "cka-rows", string(score.RowsTokens), "cka: what is compared, token or sequence (whole ones, as the paper's code does)")
	c.Flags().BoolVar(&o.matrix, "matrix", true, "cka: compare every two depths, not only neighbours")
	c.Flags().StringVar(&o.plot, "plot", "", "draw the scores to a .png or .svg file")
	c.Flags().BoolVar(&o.force, "force", false, "replace a --plot that exists")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask about work of more than an hour")
	nonEmpty(c, "protect", "plot")
	o.input.register(c)
	o.engine.register(c)
	return c
}

func metricsHelp() string {
	var b strings.Builder
	b.WriteString("Metrics (* runs the model: on --tokens, --data, or else a pinned part of WikiText-2):\n")
	for _, m := range score.Metrics() {
		mark := " "
		if m.NeedsData {
			mark = "*"
		}
		fmt.Fprintf(&b, "  %-16s %s %s\n", m.Name, mark, m.Summary)
	}
	return strings.TrimRight(b.String(), "\n")
}

func (o scoreOptions) run(ctx context.Context, a *app) error {
	needsData, err := o.check(a)
	if err != nil {
		return err
	}
	dir, err := a.findModel(ctx, o.dir, hub.NeedAll)
	if err != nil {
		return err
	}
	o.dir = dir
	s, err := openModel(o.dir)
	if err != nil {
		return err
	}
	defer s.close()
	protect, err := parseProtect(o.protect, s.m.Spec.Layers)
	if err != nil {
		return err
	}
	if o.block >= s.m.Spec.Layers {
		return usage("--block %d: want fewer than the model's %d layers", o.block, s.m.Spec.Layers)
	}
	sc, err := newScorer(ctx, a, s, o.input, o.engine, needsData)
	if err != nil {
		return err
	}
	defer sc.close()
	sc.opt.Block, sc.opt.Rounds, sc.opt.Rows, sc.opt.Matrix = o.block, o.rounds, score.Rows(o.rows), o.matrix
	priced, err := sc.price(o.metrics, nil, protect)
	if err != nil {
		return err
	}
	if err := sc.explain(ctx, priced, o.yes); err != nil {
		return err
	}
	rankings, err := sc.run(ctx, priced)
	if err != nil {
		return err
	}
	if err := o.print(a, sc, rankings); err != nil || o.plot == "" {
		return err
	}
	return drawRankings(a, o.plot, o.force, rankings)
}

// check finds what can be wrong before any file is opened, and spells out "all".
func (o *scoreOptions) check(a *app) (needsData []string, err error) {
	if len(o.metrics) == 0 {
		return nil, usage("score: by what?").withHint("pass --metric with one or more of %s, or all", strings.Join(metricNames(), ", "))
	}
	if slices.Equal(o.metrics, []string{"all"}) {
		o.metrics = metricNames()
	}
	if needsData, err = checkMetrics("metric", o.metrics); err != nil {
		return nil, err
	}
	if o.block < 0 || o.rounds < 0 {
		return nil, usage("--block %d --rounds %d: want positive numbers", o.block, o.rounds)
	}
	if err := oneOf("cka-rows", o.rows, string(score.RowsTokens), string(score.RowsSequences)); err != nil {
		return nil, err
	}
	if err := checkPlot(o.plot, o.force); err != nil {
		return nil, err
	}
	if err := o.engine.check(); err != nil {
		return nil, err
	}
	if len(needsData) == 0 {
		warnOfData(a, o.metrics, o.input, o.given)
		warnOfUnused(a, "no layer is run", o.given, engineFlagNames()...)
		if !slices.Contains(o.metrics, score.Random) {
			warnOfUnused(a, "nothing is drawn at random", o.given, "seed")
		}
	}
	for flag, metric := range map[string]string{"block": score.Angular, "rounds": score.GreedyPPL, "cka-rows": score.CKA, "matrix": score.CKA} {
		if !slices.Contains(o.metrics, metric) {
			warnOfUnused(a, metric+" is not asked for", o.given, flag)
		}
	}
	return needsData, nil
}

// print writes a JSON line a metric, or tables.
func (o scoreOptions) print(a *app, sc *scorer, rankings []score.Ranking) error {
	if a.json {
		for _, r := range rankings {
			if err := a.line(sc.line(r)); err != nil {
				return err
			}
		}
		return nil
	}
	return printRankings(a, rankings, sc.s.m.Spec.Layers)
}

func metricNames() []string {
	var names []string
	for _, m := range score.Metrics() {
		names = append(names, m.Name)
	}
	return names
}

// runsModel reports whether a metric of this name runs the model on data.
func runsModel(name string) bool {
	m, err := score.Lookup(name)
	return err == nil && m.NeedsData
}

// checkMetrics says which of the metrics need data.
func checkMetrics(flag string, names []string) (needsData []string, err error) {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, usage("--%s: %s is named twice", flag, name)
		}
		if err := oneOf(flag, name, metricNames()...); err != nil {
			return nil, err
		}
		if runsModel(name) {
			needsData = append(needsData, name)
		}
	}
	return needsData, nil
}

// warnOfData: data was given, or what only data needs, and no metric reads any.
func warnOfData(a *app, metrics []string, in sequenceFlags, given func(flag string) bool) {
	if in.given() {
		a.warn("the data is not used: %s looks at none", strings.Join(metrics, ", "))
		return
	}
	warnOfUnused(a, "no data is read", given, dataFlagNames()...)
}

func parseProtect(s string, layers int) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	protect, err := prune.ParseLayers(s, layers)
	if err != nil {
		return nil, usage("--protect %s: %w", s, err)
	}
	if len(protect) == layers {
		return nil, usage("--protect %s: nothing is left to drop", s).withHint("protect fewer of the %d layers", layers)
	}
	return protect, nil
}

// scorer ranks the layers of one model, as often as it is asked to.
type scorer struct {
	s     *session
	a     *app
	opt   score.Options // of every call, but for metrics and layers
	data  *report.Data
	store *score.Store
	start time.Time
}

// newScorer reads the data, starts the engine and opens the store, where a
// metric needs them.
func newScorer(ctx context.Context, a *app, s *session, in sequenceFlags, e engineFlags, needsData []string) (*scorer, error) {
	sc := &scorer{s: s, a: a, opt: score.Options{Seed: in.seed}, start: time.Now()}
	if len(needsData) == 0 {
		return sc, nil
	}
	seqs, info, err := in.read(ctx, a, s.c.Dir(), s.m.Spec)
	if err != nil {
		return nil, err
	}
	s.warnOfLength(a, seqs)
	if err := s.start(a, e, nil); err != nil {
		return nil, err
	}
	if sc.store, err = s.openStore(ctx, a, seqs); err != nil {
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
	return score.Price(sc.s.m, sc.s.run, opt)
}

// explain says what the metrics will take, before they start.
func (sc *scorer) explain(ctx context.Context, priced *score.Priced, yes bool) error {
	var all forest.Cost
	for _, c := range priced.Costs() {
		what := strings.Join(c.Metrics, ", ")
		if c.Rounds > 1 {
			what += fmt.Sprintf(" in at most %d rounds", c.Rounds)
		}
		sc.s.explain(sc.a, what, c.Forest, sc.opt.Sequences)
		all.Add(c.Forest)
	}
	if all.Passes == 0 {
		return nil
	}
	return sc.s.consent(ctx, sc.a, all, sc.opt.Sequences, yes)
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
	rankings, err := priced.Run(ctx, forest.RunOptions{Progress: sc.a.progress("scoring")})
	sc.a.stopProgress()
	sc.warnOfStore()
	return rankings, partial(ctx, sc.store, err)
}

// warnOfStore says why finished work is not there for the next run.
func (sc *scorer) warnOfStore() {
	if err := sc.store.Failed(); err != nil {
		sc.a.warn("partial results are not kept: %v", err)
	}
}

// line is a ranking as a JSON line.
func (sc *scorer) line(r score.Ranking) report.Line {
	var by *report.Compute
	tokens := 0
	if runsModel(r.Metric) {
		compute := sc.s.compute()
		by, tokens = &compute, countTokens(sc.opt.Sequences)
	}
	sequences := 0
	var data *report.Data
	if by != nil {
		sequences, data = len(sc.opt.Sequences), sc.data
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
	if r.Losses != nil {
		out.Losses = report.Numbers(r.Losses)
	}
	return out
}

// printRankings has a row for every layer and two columns a metric: the score,
// and the layer's place in the order to drop. Scores of blocks stand in the row
// of the first layer.
func printRankings(a *app, rankings []score.Ranking, layers int) error {
	t := &report.Table{Header: []string{"layer"}}
	for _, r := range rankings {
		name := r.Metric
		if r.Block != nil {
			name = fmt.Sprintf("%s (%d from here)", name, r.Block.Layers)
		}
		t.Header = append(t.Header, name, "drop")
	}
	for l := range layers {
		row := []report.Cell{report.Int(l)}
		for _, r := range rankings {
			row = append(row, report.Float(scoreOf(r, l)), dropCell(r, l))
		}
		t.Add(row...)
	}
	if err := a.table(t); err != nil {
		return err
	}
	for _, r := range rankings {
		if r.Block != nil {
			a.note("%s drops the block %s", r.Metric, report.FormatLayers(r.Order))
			continue
		}
		a.note("%s drops the %s first: %s", r.Metric, r.Direction, strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Order), " ", ","), "[]"))
	}
	return nil
}

func scoreOf(r score.Ranking, layer int) report.Number {
	switch {
	case r.Block == nil:
		return report.Number(r.Scores[layer])
	case layer < len(r.Block.Scores):
		return report.Number(r.Block.Scores[layer])
	}
	return report.Number(math.NaN())
}

func dropCell(r score.Ranking, layer int) report.Cell {
	if at := slices.Index(r.Order, layer); at >= 0 {
		return report.Int(at + 1)
	}
	return report.Cell{Text: "kept", Plain: "kept", Right: true}
}
