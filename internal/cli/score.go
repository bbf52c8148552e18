package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

type scoreOptions struct {
	dir     string
	metrics []string
	protect string
	input   sequenceFlags
	engine  engineFlags

	given func(flag string) bool // on the command line
}

func newScore(a *app) *cobra.Command {
	var o scoreOptions
	c := &cobra.Command{
		Use:   "score MODEL --metric NAME[,NAME…]",
		Short: "Rank the layers by how little is lost without them",
		Long:  "Rank the layers of a model, from the first to drop to the last. Metrics that\nneed the same pass share it.\n\n" + metricsHelp(),
		Args:  modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.given, o.input.preset = args[0], c.Flags().Changed, true
			if err := o.input.check(c); err != nil {
				return err
			}
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	c.Flags().StringSliceVar(&o.metrics, "metric", nil, "metrics, separated by commas")
	c.Flags().StringVar(&o.protect, "protect", "", "layers that are never dropped, such as 0-3,30-31")
	nonEmpty(c, "protect")
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
	if len(o.metrics) == 0 {
		return usage("score: by what?").withHint("pass --metric with one or more of %s", strings.Join(metricNames(), ", "))
	}
	needsData, err := checkMetrics("metric", o.metrics)
	if err != nil {
		return err
	}
	if err := o.engine.check(); err != nil {
		return err
	}
	if len(needsData) == 0 {
		warnOfData(a, o.metrics, o.input, o.given)
		warnOfUnused(a, "no layer is run", o.given, engineFlagNames()...)
		if !slices.Contains(o.metrics, score.Random) {
			warnOfUnused(a, "nothing is drawn at random", o.given, "seed")
		}
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
	sc, err := newScorer(ctx, a, s, o.input, o.engine, needsData)
	if err != nil {
		return err
	}
	rankings, err := sc.rank(ctx, o.metrics, nil, protect)
	if err != nil {
		return err
	}
	if a.json {
		for _, r := range rankings {
			if err := a.line(r); err != nil {
				return err
			}
		}
		return nil
	}
	return printRankings(a, rankings, s.m.Spec.Layers)
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
	s    *session
	a    *app
	seed uint64
	seqs [][]int32
	data *report.Data
}

// newScorer reads the data and starts the engine, where a metric needs them.
func newScorer(ctx context.Context, a *app, s *session, in sequenceFlags, e engineFlags, needsData []string) (*scorer, error) {
	sc := &scorer{s: s, a: a, seed: in.seed}
	if len(needsData) == 0 {
		return sc, nil
	}
	seqs, info, err := in.read(ctx, a, s.c.Dir(), s.m.Spec)
	if err != nil {
		return nil, err
	}
	s.warnOfLength(a, seqs)
	sc.seqs, sc.data = seqs, info
	return sc, s.start(a, e, nil)
}

// rank scores the kept layers (nil: all).
func (sc *scorer) rank(ctx context.Context, metrics []string, keep, protect []int) ([]report.Ranking, error) {
	start := time.Now()
	rankings, err := score.Rank(ctx, sc.s.m, sc.s.run, score.Options{
		Metrics: metrics, Layers: keep, Protect: protect, Seed: sc.seed,
		Sequences: sc.seqs, Progress: sc.a.progress("scoring"),
	})
	sc.a.stopProgress()
	if err != nil {
		return nil, err
	}
	tokens := 0
	for _, seq := range sc.seqs {
		tokens += len(seq)
	}
	out := make([]report.Ranking, len(rankings))
	for i, r := range rankings {
		out[i] = report.Ranking{
			Metric: r.Metric, Direction: string(r.Direction), Scores: report.Numbers(r.Scores),
			Order: r.Order, Protected: r.Protected, Seed: sc.seed, Seconds: seconds(start),
		}
		if runsModel(r.Metric) {
			by := sc.s.compute()
			out[i].Sequences, out[i].Tokens, out[i].Compute = len(sc.seqs), tokens, &by
			out[i].Data = sc.data
		}
	}
	return out, nil
}

// printRankings has a row for every layer and two columns a metric: the score,
// and the layer's place in the order to drop.
func printRankings(a *app, rankings []report.Ranking, layers int) error {
	t := &report.Table{Header: []string{"layer"}}
	for _, r := range rankings {
		t.Header = append(t.Header, r.Metric, "drop")
	}
	for l := range layers {
		row := []report.Cell{report.Int(l)}
		for _, r := range rankings {
			row = append(row, report.Float(r.Scores[l]), dropCell(r, l))
		}
		t.Add(row...)
	}
	if err := a.table(t); err != nil {
		return err
	}
	for _, r := range rankings {
		a.note("%s drops the %s first: %s", r.Metric, r.Direction, strings.Trim(strings.ReplaceAll(fmt.Sprint(r.Order), " ", ","), "[]"))
	}
	return nil
}

func dropCell(r report.Ranking, layer int) report.Cell {
	if at := slices.Index(r.Order, layer); at >= 0 {
		return report.Int(at + 1)
	}
	return report.Cell{Text: "kept", Plain: "kept", Right: true}
}
