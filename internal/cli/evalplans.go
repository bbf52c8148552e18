package cli

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/report"
)

// runPlans asks the whole model and every plan the same questions, task by task
// in one pass: what the prunings share is computed once.
func (r *evalRun) runPlans(ctx context.Context) error {
	r.start = time.Now()
	if err := shareable(r.asked, "--plans", "leave the task out, or evaluate one --plan at a time"); err != nil {
		return err
	}
	var err error
	if r.s, err = openModel(r.o.dir); err != nil {
		return err
	}
	defer r.s.close()
	lists, err := r.planLists()
	if err != nil {
		return err
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	runs := r.prunings(lists)
	outs, _ := r.o.outs()
	for i, run := range runs {
		run.o.out = outs[i]
		if err := run.openState(); err != nil {
			return leaveAll(runs, err)
		}
	}
	for _, asked := range r.asked {
		if err := r.answerTogether(ctx, runs, asked); err != nil {
			return leaveAll(runs, err)
		}
		r.outcomes[asked.Task.Name] = runs[0].outcomes[asked.Task.Name] // for the progress
	}
	for _, run := range runs {
		if err := run.finish(); err != nil {
			return leaveAll(runs, err)
		}
		if err := run.write(); err != nil {
			return leaveAll(runs, err)
		}
	}
	r.a.stopProgress()
	return r.printPlans(runs)
}

// shareable refuses tasks that several prunings cannot be asked at once.
func shareable(asked []*eval.Asked, flag, remedy string) error {
	for _, a := range asked {
		if a.Task.Output == eval.GenerateUntil {
			return usage("%s: %s writes its answers, which prunings cannot share", flag, a.Task.Name).withHint("%s", remedy)
		}
	}
	return nil
}

// planLists are the layers of the whole model (nil) and of every plan.
func (r *evalRun) planLists() ([][]int, error) {
	lists := [][]int{nil}
	for _, path := range r.o.plans {
		p, err := readPlan(path, r.s.m.Spec)
		if err != nil {
			return nil, err
		}
		lists = append(lists, p.Keep)
	}
	return lists, nil
}

// prunings makes a run for each list of layers, all on one session.
func (r *evalRun) prunings(lists [][]int) (runs []*evalRun) {
	r.outcomes = map[string]*eval.Outcome{}
	for _, keep := range lists {
		run, s := *r, *r.s
		s.keep = keep
		run.s, run.outcomes = &s, map[string]*eval.Outcome{}
		runs = append(runs, &run)
	}
	return runs
}

// answerTogether asks one task of all runs that have not asked it before.
func (r *evalRun) answerTogether(ctx context.Context, runs []*evalRun, asked *eval.Asked) error {
	var missing []*evalRun
	var lists [][]int
	for _, run := range runs {
		var done []eval.Response
		if run.state != nil {
			var err error
			if done, err = run.state.Responses(asked); err != nil {
				return err
			}
		}
		if done == nil {
			missing, lists = append(missing, run), append(lists, run.s.keep)
		} else if err := run.take(asked, done); err != nil {
			return err
		}
	}
	if len(missing) == 0 {
		return nil
	}
	all, err := eval.ScoreAll(ctx, r.s.run, lists, []*eval.Asked{asked}, r.encoder, batchTokens, r.progress)
	if err != nil {
		return err
	}
	for v, run := range missing {
		if run.state != nil {
			if err := run.state.Add(asked, all[v][0]); err != nil {
				return err
			}
		}
		if err := run.take(asked, all[v][0]); err != nil {
			return err
		}
	}
	return nil
}

// take makes a task's outcome of its responses.
func (r *evalRun) take(asked *eval.Asked, responses []eval.Response) error {
	metrics, err := asked.Score(responses, r.o.bootstrap)
	if err != nil {
		return err
	}
	r.outcomes[asked.Task.Name] = &eval.Outcome{Asked: asked, Metrics: metrics, Responses: responses}
	return nil
}

// finish makes groups and lines once every task has its outcome.
func (r *evalRun) finish() (err error) {
	if r.groups, err = r.selection.Aggregate(r.outcomes); err == nil {
		r.makeLines()
	}
	return err
}

// leaveAll closes what runs keep of their work.
func leaveAll(runs []*evalRun, err error) error {
	for _, run := range runs[1:] {
		if run.state != nil {
			err = errors.Join(err, run.state.Leave())
		}
	}
	return runs[0].leave(err)
}

// outs are the files for the results of the whole model, --out itself, and of
// each plan beside it: results.PLAN.json. Without --out their names are empty.
func (o evalOptions) outs() ([]string, error) {
	outs := []string{o.out}
	for _, path := range o.plans {
		out := ""
		if o.out != "" {
			ext := filepath.Ext(o.out)
			name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
			out = strings.TrimSuffix(o.out, ext) + "." + name + ext
			if slices.Contains(outs, out) {
				return nil, usage("--plans: the results of two plans would be %s", out).withHint("give plans file names of their own")
			}
		}
		outs = append(outs, out)
	}
	return outs, nil
}

func (r *evalRun) printPlans(runs []*evalRun) error {
	t := &report.Table{Header: []string{"plan", "task", "metric", "value", "stderr", "documents"}}
	for v, run := range runs {
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
