package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/internal/plot"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

type scoreOptions struct {
	stage.Score
	plot  plotFlags
	given *cobra.Command
}

func newScore(a *app) *cobra.Command {
	o := scoreOptions{Score: stage.DefaultScore()}
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
			o.Model, o.given = args[0], c
			return o.run(c.Context(), a)
		},
	}
	a.workFlags(c)
	c.Flags().StringSliceVar(&o.Metrics, "metric", nil, "metrics, separated by commas, or all")
	c.Flags().StringVar(&o.Protect, "protect", "", "layers that are never dropped, such as 0-3,30-31")
	c.Flags().IntVar(&o.Batch, "batch", o.Batch, "taylor, taylor-l2: sequences of a gradient batch; the scores are sums over batches of mean losses")
	c.Flags().IntVar(&o.Block, "block", 0, "angular: layers in a block (default a quarter of them)")
	c.Flags().IntVar(&o.Rounds, "rounds", 0, "greedy-ppl: layers to drop (default: until one is left)")
	c.Flags().StringVar(&o.CKARows, "cka-rows", o.CKARows, "cka: what is compared, token or sequence (whole ones, as the paper's code does)")
	c.Flags().BoolVar(&o.Matrix, "matrix", o.Matrix, "cka: compare every two depths, not only neighbours")
	o.plot.register(c, "the scores")
	a.yesFlag(c)
	nonEmpty(c, "protect")
	dataFlags(c, &o.Data, true)
	engineFlags(c, &o.Engine)
	adapterFlag(c, &o.Engine)
	return c
}

func metricsHelp() string {
	var b strings.Builder
	b.WriteString("Metrics (* runs the model: on --tokens, --data, or else a pinned part of WikiText-2):\n")
	for _, m := range stage.Metrics() {
		mark := " "
		if m.RunsModel {
			mark = "*"
		}
		fmt.Fprintf(&b, "  %-17s %s %s\n", m.Name, mark, m.Summary)
	}
	return strings.TrimRight(b.String(), "\n")
}

func (o scoreOptions) run(ctx context.Context, a *app) error {
	if err := o.Check(); err != nil {
		return err
	}
	if err := o.plot.check(); err != nil {
		return err
	}
	a.warnOfUnused(o.given, o.Unused())
	rankings, err := o.Run(ctx, a.env())
	if err != nil {
		return err
	}
	if err := printRankings(a, rankings); err != nil {
		return err
	}
	return o.plot.draw(a, rankingCaption(o.Model, rankings), plot.Rankings(rankings))
}

// printRankings writes a JSON line a metric, or a table: it has a row for every
// layer and two columns a metric, the score and the layer's place in the order to
// drop. Scores of blocks stand in the row of the first layer.
func printRankings(a *app, rankings []report.Line) error {
	if a.json {
		return a.lines(rankings)
	}
	t := &report.Table{Header: []string{"layer"}}
	for _, r := range rankings {
		name := metricOf(r)
		if b, ok := r.(report.Blocks); ok {
			name = fmt.Sprintf("%s (%d from here)", name, b.Block)
		}
		t.Header = append(t.Header, name, "drop")
	}
	for l := range layersOf(rankings[0]) {
		row := []report.Cell{report.Int(l)}
		for _, r := range rankings {
			row = append(row, report.Float(scoreOf(r, l)), dropCell(r, l))
		}
		t.Add(row...)
	}
	if err := a.tables(t, 2); err != nil {
		return err
	}
	for _, r := range rankings {
		switch r := r.(type) {
		case report.Blocks:
			a.note("%s drops the block %s", r.Metric, report.FormatLayers(r.Order))
		case report.Ranking:
			a.note("%s drops the %s first: %s", r.Metric, r.Direction, joined(r.Order, ","))
		}
	}
	return nil
}

func metricOf(l report.Line) string {
	switch r := l.(type) {
	case report.Blocks:
		return r.Metric
	case report.Ranking:
		return r.Metric
	}
	return ""
}

// layersOf is how many layers a ranking is of.
func layersOf(l report.Line) int {
	switch r := l.(type) {
	case report.Blocks:
		return len(r.Scores) + r.Block - 1
	case report.Ranking:
		return len(r.Scores)
	}
	return 0
}

func scoreOf(l report.Line, layer int) report.Number {
	var scores []report.Number
	switch r := l.(type) {
	case report.Blocks:
		scores = r.Scores
	case report.Ranking:
		scores = r.Scores
	}
	if layer < len(scores) {
		return scores[layer]
	}
	return report.Number(math.NaN())
}

func dropCell(l report.Line, layer int) report.Cell {
	var order []int
	switch r := l.(type) {
	case report.Blocks:
		order = r.Order
	case report.Ranking:
		order = r.Order
	}
	if at := slices.Index(order, layer); at >= 0 {
		return report.Int(at + 1)
	}
	return report.Cell{Text: "kept", Plain: "kept", Right: true}
}
