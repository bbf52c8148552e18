package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
)

// runPlans asks the whole model and every plan the same questions, task by task
// in one pass: what the prunings share is computed once.
func (r *evalRun) runPlans(ctx context.Context) error {
	for _, asked := range r.asked {
		if asked.Task.Output == eval.GenerateUntil {
			return usage("--plans: %s writes its answers, which prunings cannot share", asked.Task.Name).withHint("leave the task out, or evaluate one --plan at a time")
		}
	}
	var err error
	if r.s, err = openModel(r.o.dir); err != nil {
		return err
	}
	defer r.s.close()
	runs, lists, err := r.plans()
	if err != nil {
		return err
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for _, asked := range r.asked {
		all, err := eval.ScoreAll(ctx, r.s.run, lists, []*eval.Asked{asked}, r.encoder, batchTokens)
		if err != nil {
			return fmt.Errorf("task %s: %w", asked.Task.Name, err)
		}
		for v, run := range runs {
			metrics, err := asked.Score(all[v][0], r.o.bootstrap)
			if err != nil {
				return err
			}
			run.outcomes[asked.Task.Name] = &eval.Outcome{Asked: asked, Metrics: metrics, Responses: all[v][0]}
		}
		r.outcomes[asked.Task.Name] = runs[0].outcomes[asked.Task.Name] // for the progress
	}
	r.a.stopProgress()
	return r.printPlans(runs)
}

// plans makes a run for the whole model and one for each plan, all on one session.
func (r *evalRun) plans() (runs []*evalRun, lists [][]int, err error) {
	add := func(keep []int) {
		run, s := *r, *r.s
		s.keep = keep
		run.s, run.outcomes = &s, map[string]*eval.Outcome{}
		runs, lists = append(runs, &run), append(lists, keep)
	}
	add(nil)
	for _, path := range r.o.plans {
		var p prune.Plan
		if p, err = readPlan(path, r.s.m.Spec); err != nil {
			return nil, nil, err
		}
		add(p.Keep)
	}
	return runs, lists, nil
}

func (r *evalRun) printPlans(runs []*evalRun) error {
	t := &report.Table{Header: []string{"plan", "task", "metric", "value", "stderr", "documents"}}
	for v, run := range runs {
		run.s.e = r.s.e // started after the copies were made
		var err error
		if run.groups, err = run.selection.Aggregate(run.outcomes); err != nil {
			return err
		}
		run.makeLines()
		name := "(the whole model)"
		for _, l := range run.lines {
			if v > 0 {
				name = r.o.plans[v-1]
				l.Plan = name
			}
			if r.a.json {
				if err := r.a.line(l); err != nil {
					return err
				}
			}
			n := strconv.Itoa(l.N)
			if l.Partial {
				n += " (partial)"
			}
			t.Add(report.String(name), report.String(l.Task), report.String(l.Metric), report.Float(l.Value), report.Float(l.StdErr), report.String(n))
		}
	}
	if r.a.json {
		return nil
	}
	return r.a.table(t)
}
