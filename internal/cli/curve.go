package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/internal/plot"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

type curveOptions struct {
	stage.Curve
	plot  plotFlags
	all   bool
	given *cobra.Command
}

func newCurve(a *app) *cobra.Command {
	o := curveOptions{Curve: stage.DefaultCurve()}
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
			o.Model, o.given = args[0], c
			return o.run(c.Context(), a)
		},
	}
	a.workFlags(c)
	f := c.Flags()
	f.StringVar(&o.Order, "order", o.Order, "metric, or file with a ranking, that orders the layers")
	f.StringVar(&o.Metric, "metric", "", "with a file of several rankings: the metric whose order is meant")
	f.StringVar(&o.Protect, "protect", "", "layers that are never cut, such as 0-3,30-31")
	o.plot.register(c, "the curve")
	a.yesFlag(c)
	allFlag(c, &o.all)
	nonEmpty(c, "order", "metric", "protect")
	f.StringVar(&o.Names, "tasks", "", "show the results of these tasks, groups and tags in place of the loss")
	f.StringVar(&o.DataDir, "data-dir", "", "with --tasks: directory of datasets (default: the hub)")
	f.StringVar(&o.TaskDir, "task-dir", "", "with --tasks: directory of your own task files")
	f.IntVar(&o.Limit, "limit", 0, "with --tasks: ask the first so many documents of each only; marks the results as partial")
	f.IntVar(&o.Shots, "num-fewshot", -1, "with --tasks: examples before each question (default: what the task says)")
	nonEmpty(c, "tasks", "data-dir", "task-dir")
	dataFlags(c, &o.Data, true)
	engineFlags(c, &o.Engine)
	adapterFlag(c, &o.Engine)
	return c
}

func (o curveOptions) run(ctx context.Context, a *app) error {
	if err := o.plot.check(); err != nil {
		return err
	}
	for _, name := range []string{"data-dir", "task-dir", "limit", "num-fewshot"} {
		if o.Names == "" && o.given.Flags().Changed(name) {
			return usage("--%s goes with --tasks, which is not given", name)
		}
	}
	if err := o.Check(); err != nil {
		return err
	}
	if !o.UsesData() && o.Data.Given() {
		a.warn("the data is not used: tasks have their own, and --order %s looks at none", o.Order)
	}
	result, err := o.Run(ctx, a.env())
	if err != nil {
		return err
	}
	if err := printCurve(a, result, o.all); err != nil {
		return err
	}
	var more []string
	if len(result.Tasks) > 0 && o.Limit > 0 {
		more = append(more, fmt.Sprintf("the first %d documents of each task", o.Limit))
	}
	return o.plot.draw(a, caption(o.Model, result.Data, &result.Compute, more...), plot.Curves(result, outline(curveEntries(result), o.all).rows))
}

func printCurve(a *app, c report.Curve, all bool) error {
	if a.json {
		return a.line(c)
	}
	if len(c.Tasks) > 0 {
		return printTaskCurves(a, c, all)
	}
	t := &report.Table{Header: []string{"cut", "layers", "loss", "perplexity"}}
	for n := range c.Loss {
		t.Add(report.Int(n), report.Layers(slices.Sorted(slices.Values(c.Dropped[n]))), report.Float(c.Loss[n]), report.Float(c.Perplexity[n]))
	}
	return a.table(t)
}

// printTaskCurves prints a row for each number of layers cut and metric.
func printTaskCurves(a *app, c report.Curve, all bool) error {
	t := &report.Table{Header: []string{"cut", "layers", "task", "metric", "value", "stderr"}}
	o := outline(curveEntries(c), all)
	defer a.noteLeft(o)
	for n, dropped := range c.Dropped {
		layers := report.Layers(slices.Sorted(slices.Values(dropped)))
		for _, i := range o.rows {
			task := c.Tasks[i]
			t.Add(report.Int(n), layers, report.String(task.Task), report.String(task.Metric), report.Float(task.Values[n]), report.Float(task.StdErr[n]))
		}
	}
	return a.table(t)
}

func curveEntries(c report.Curve) []entry {
	entries := make([]entry, len(c.Tasks))
	for i, task := range c.Tasks {
		entries[i] = entry{task.Task, task.Members}
	}
	return entries
}
