package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/internal/plot"
	"github.com/coppice-ml/coppice/report"
)

// curveTasks choose the tasks that a curve shows in place of the loss.
type curveTasks struct {
	names   string
	dataDir string
	taskDir string
	limit   int
	shots   int
}

func (f *curveTasks) register(c *cobra.Command) {
	c.Flags().StringVar(&f.names, "tasks", "", "show the results of these tasks, groups and tags in place of the loss")
	c.Flags().StringVar(&f.dataDir, "data-dir", "", "with --tasks: directory of datasets (default: the hub)")
	c.Flags().StringVar(&f.taskDir, "task-dir", "", "with --tasks: directory of your own task files")
	c.Flags().IntVar(&f.limit, "limit", 0, "with --tasks: ask the first so many documents of each only; marks the results as partial")
	c.Flags().IntVar(&f.shots, "num-fewshot", -1, "with --tasks: examples before each question (default: what the task says)")
	nonEmpty(c, "tasks", "data-dir", "task-dir")
}

// check finds what can be wrong before any file is opened.
func (f curveTasks) check(given func(flag string) bool) error {
	for _, name := range []string{"data-dir", "task-dir", "limit", "num-fewshot"} {
		if f.names == "" && given(name) {
			return usage("--%s goes with --tasks, which is not given", name)
		}
	}
	if f.names == "" {
		return nil
	}
	return f.options().check()
}

// options are those of eval that ask the same.
func (f curveTasks) options() *evalOptions {
	return &evalOptions{
		tasks: f.names, dataDir: f.dataDir, taskDir: f.taskDir, limit: f.limit, shots: f.shots,
		fewshotSeed: eval.DefaultFewshotSeed, addBOS: "auto", engine: engineFlags{device: "auto", dtype: "auto"},
	}
}

// questions reads the tasks' documents; nil without --tasks.
func (o curveOptions) questions(ctx context.Context, a *app) (*evalRun, error) {
	if o.tasks.names == "" {
		return nil, nil
	}
	r := &evalRun{o: *o.tasks.options(), a: a, name: o.dir, source: newTaskData(a, o.tasks.dataDir)}
	r.o.engine = o.engine
	var err error
	if r.selection, err = r.o.selectTasks(); err != nil {
		return nil, err
	}
	r.asked, err = r.source.build(ctx, r.selection.Tasks, eval.BuildOptions{Limit: r.o.limit, Shots: r.o.shots, FewshotSeed: r.o.fewshotSeed})
	if err != nil {
		return nil, err
	}
	return r, shareable(r.asked, "--tasks", "leave the task out, or use coppice eval --drop for one pruning at a time")
}

// answers asks the model without each of the cuts all questions, in one pass.
func (sc *scorer) answers(ctx context.Context, r *evalRun, cuts [][]int, c *report.Curve) error {
	r.s = sc.s
	if err := r.openEncoder(); err != nil {
		return err
	}
	if sc.s.run == nil {
		if err := sc.s.start(sc.a, r.o.engine, nil); err != nil {
			return err
		}
	}
	sc.start = time.Now()
	lists := without(sc.s.m.Spec.Layers, cuts)
	runs := r.prunings(lists)
	all, err := eval.ScoreAll(ctx, sc.s.run, lists, r.asked, r.encoder, batchTokens, sc.a.progress("curve"))
	sc.a.stopProgress()
	if err != nil {
		return err
	}
	for v, run := range runs {
		for t, asked := range r.asked {
			if err := run.take(asked, all[v][t]); err != nil {
				return err
			}
		}
		if err := run.finish(); err != nil {
			return err
		}
	}
	c.Tasks = taskCurves(runs)
	if slices.ContainsFunc(c.Tasks, func(t report.TaskCurve) bool { return t.Partial }) {
		sc.a.warn("the results are partial: not all documents of every task were asked")
	}
	return nil
}

// taskCurves turns the lines of every run, which are of the same metrics, into
// one curve for each.
func taskCurves(runs []*evalRun) (curves []report.TaskCurve) {
	for i, l := range runs[0].lines {
		t := report.TaskCurve{
			Task: l.Task, Metric: l.Metric, Filter: l.Filter, N: l.N, Version: l.Version,
			Group: l.Group, HigherIsBetter: l.HigherIsBetter, Partial: l.Partial,
		}
		for _, run := range runs {
			t.Values, t.StdErr = append(t.Values, run.lines[i].Value), append(t.StdErr, run.lines[i].StdErr)
		}
		curves = append(curves, t)
	}
	return curves
}

// printTaskCurves prints a row for each number of layers cut and metric.
func printTaskCurves(a *app, c report.Curve) error {
	t := &report.Table{Header: []string{"cut", "layers", "task", "metric", "value", "stderr"}}
	for n, dropped := range c.Dropped {
		layers := report.Layers(slices.Sorted(slices.Values(dropped)))
		for _, task := range c.Tasks {
			t.Add(report.Int(n), layers, report.String(task.Task), report.String(task.Metric), report.Float(task.Values[n]), report.Float(task.StdErr[n]))
		}
	}
	return a.table(t)
}

// curvePanels are the pictures of a curve: the loss, or one of each task's metrics.
func curvePanels(c report.Curve) (panels []plot.Panel) {
	panel := func(what, unit string, values []report.Number) {
		p := plot.Curve{Title: fmt.Sprintf("%s without the first n layers to drop by %s", what, c.Metric), X: "layers cut", Y: unit}
		for _, v := range values {
			p.Values = append(p.Values, float64(v))
		}
		panels = append(panels, p)
	}
	for _, t := range c.Tasks {
		panel(t.Task+" "+t.Metric, t.Metric, t.Values)
	}
	if len(c.Tasks) == 0 {
		panel("loss", "loss (nats per token)", c.Loss)
	}
	return panels
}
