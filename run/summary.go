package run

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
)

// Summary is a run on one screen: a row a trial, with what was measured of it dense,
// cut and healed.
func Summary(d *rundir.Dir) (*report.Table, error) {
	t := &report.Table{Header: []string{"trial", "layers", "accuracy: dense", "cut", "healed", "perplexity: dense", "cut", "healed"}}
	for _, trial := range d.Trials {
		row := []report.Cell{{Text: trial.Name, Plain: trial.Name}}
		layers, err := kept(d, trial)
		if err != nil {
			return nil, err
		}
		row = append(row, report.Cell{Text: layers, Plain: layers, Right: true})
		for _, kind := range []string{rundir.KindTasks, rundir.KindPerplexity} {
			for _, state := range []string{rundir.Dense, rundir.Cut, rundir.Healed} {
				v, err := number(d, trial, state, kind)
				if err != nil {
					return nil, err
				}
				row = append(row, cell(v, kind))
			}
		}
		t.Add(row...)
	}
	return t, nil
}

func cell(v float64, kind string) report.Cell {
	switch {
	case math.IsNaN(v):
		return report.Cell{Text: "-", Plain: "", Right: true}
	case kind == rundir.KindTasks:
		return report.Cell{Text: fmt.Sprintf("%.3f", v), Plain: fmt.Sprint(v), Right: true}
	}
	return report.Cell{Text: fmt.Sprintf("%.4g", v), Plain: fmt.Sprint(v), Right: true}
}

// kept says how many layers of the model a trial keeps.
func kept(d *rundir.Dir, t rundir.Trial) (string, error) {
	m, _ := d.Model(t.Model)
	ref, ok := t.Stage(rundir.KindPlan)
	if !ok {
		return fmt.Sprint(m.Facts.Layers), nil
	}
	if done, err := d.Manifest(ref); err != nil || done == nil {
		return "-", err
	}
	p, err := d.Plan(ref)
	return fmt.Sprintf("%d of %d", len(p.Keep), p.Layers), err
}

// number is the mean accuracy of the tasks, or the perplexity of the first text, of a
// state; NaN where it is not there.
func number(d *rundir.Dir, t rundir.Trial, state, kind string) (float64, error) {
	refs := t.Roles(state + "." + kind)
	if len(refs) == 0 {
		return math.NaN(), nil
	}
	if done, err := d.Manifest(refs[0]); err != nil || done == nil {
		return math.NaN(), err
	}
	if kind == rundir.KindPerplexity {
		lines, err := d.Lines(refs[0], rundir.PerplexityFile)
		if err != nil || len(lines) == 0 {
			return math.NaN(), err
		}
		p, _ := lines[0].(report.Perplexity)
		return float64(p.Perplexity), nil
	}
	f, err := d.Results(refs[0])
	if err != nil {
		return math.NaN(), err
	}
	return accuracy(f), nil
}

// accuracy is that of the one group that was asked for, or else the mean of the tasks
// that have one.
func accuracy(f report.EvalFile) float64 {
	const key = "acc,none"
	inside := map[string]bool{}
	for _, members := range f.GroupSubtasks {
		for _, m := range members {
			inside[m] = true
		}
	}
	var sum float64
	n := 0
	for _, name := range slices.Sorted(maps.Keys(f.Results)) {
		if v, ok := f.Results[name][key].(float64); ok && !inside[name] {
			sum, n = sum+v, n+1
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}
