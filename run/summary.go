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
// cut and healed; of one trial alone a row for each of these, and in words what came
// of it.
func Summary(d *rundir.Dir) (*report.Table, []string, error) {
	if len(d.Trials) == 1 {
		return alone(d, d.Trials[0])
	}
	formats := map[string]string{rundir.KindTasks: "%.3f", rundir.KindPerplexity: "%.4g"}
	t := &report.Table{Header: []string{"trial", "layers", "accuracy: dense", "cut", "healed", "perplexity: dense", "cut", "healed"}}
	for _, trial := range d.Trials {
		row := []report.Cell{report.String(trial.Name)}
		layers, err := kept(d, trial)
		if err != nil {
			return nil, nil, err
		}
		row = append(row, report.Cell{Text: layers, Plain: layers, Right: true})
		for _, kind := range []string{rundir.KindTasks, rundir.KindPerplexity} {
			for _, state := range states() {
				v, err := number(d, trial, state, kind)
				if err != nil {
					return nil, nil, err
				}
				row = append(row, cell(v, formats[kind]))
			}
		}
		t.Add(row...)
	}
	return t, nil, nil
}

func states() []string { return []string{rundir.Dense, rundir.Cut, rundir.Healed} }

// measure is something measured of a model's states.
type measure struct {
	header, format string
	values         [3]float64 // of states; NaN: not there
}

// alone is the summary of a run of one trial.
func alone(d *rundir.Dir, trial rundir.Trial) (*report.Table, []string, error) {
	m, _ := d.Model(trial.Model)
	layers, parameters := []int{m.Facts.Layers, m.Facts.Layers, m.Facts.Layers}, []int64{m.Facts.Parameters, m.Facts.Parameters, m.Facts.Parameters}
	var words []string
	if ref, ok := trial.Stage(rundir.KindPlan); ok {
		if done, err := d.Manifest(ref); err != nil || done == nil {
			return &report.Table{Header: []string{trial.Name}}, nil, err
		}
		p, err := d.Plan(ref)
		if err != nil {
			return nil, nil, err
		}
		layers, parameters = []int{layers[0], len(p.Keep), len(p.Keep)}, []int64{parameters[0], p.Parameters, p.Parameters}
		words = append(words, fmt.Sprintf("cut: layers %s of %d (%s)", report.FormatLayers(p.Drop), p.Layers, p.Source))
	}
	measured, err := measures(d, trial)
	if err != nil {
		return nil, nil, err
	}
	t := &report.Table{Header: []string{trial.Name, "layers", "parameters"}}
	for _, m := range measured {
		t.Header = append(t.Header, m.header)
	}
	for i, state := range states() {
		if len(trial.Roles(state)) == 0 {
			continue
		}
		row := []report.Cell{report.String(state), report.Int(layers[i]), report.Count(parameters[i])}
		for _, m := range measured {
			row = append(row, cell(m.values[i], m.format))
		}
		t.Add(row...)
	}
	if v := measured; len(v) > 0 && v[0].header == accuracyHeader && v[0].values[0] > v[0].values[1] && !math.IsNaN(v[0].values[2]) {
		acc := v[0].values
		words = append(words, fmt.Sprintf("healed: %.0f %% of the accuracy that cutting cost is back", 100*(acc[2]-acc[1])/(acc[0]-acc[1])))
	}
	return t, words, nil
}

const accuracyHeader = "accuracy"

// measures are those of a trial that there are.
func measures(d *rundir.Dir, trial rundir.Trial) ([]measure, error) {
	all := []measure{{header: accuracyHeader, format: "%.3f"}, {header: "perplexity", format: "%.4g"}, {header: "prefill, tokens/s", format: "%.0f"}, {header: "decode", format: "%.0f"}}
	for i, state := range states() {
		accuracy, err := number(d, trial, state, rundir.KindTasks)
		if err != nil {
			return nil, err
		}
		perplexity, err := number(d, trial, state, rundir.KindPerplexity)
		if err != nil {
			return nil, err
		}
		prefill, decode, err := speeds(d, trial, state)
		if err != nil {
			return nil, err
		}
		for k, v := range []float64{accuracy, perplexity, prefill, decode} {
			all[k].values[i] = v
		}
	}
	return slices.DeleteFunc(all, func(m measure) bool {
		return !slices.ContainsFunc(m.values[:], func(v float64) bool { return !math.IsNaN(v) })
	}), nil
}

// speeds are the tokens a second of a state; NaN where they are not there.
func speeds(d *rundir.Dir, trial rundir.Trial, state string) (prefill, decode float64, err error) {
	ref, ok := trial.Stage(state + "." + rundir.KindSpeed)
	if !ok {
		return math.NaN(), math.NaN(), nil
	}
	m, err := d.Manifest(ref)
	if err != nil || m == nil || m.Measured.Prefill == nil || m.Measured.Decode == nil {
		return math.NaN(), math.NaN(), err
	}
	return float64(m.Measured.Prefill.TokensPerSecond), float64(m.Measured.Decode.TokensPerSecond), nil
}

// cell is a measured value; NaN: none.
func cell(v float64, format string) report.Cell {
	if math.IsNaN(v) {
		return report.Cell{Text: "-", Right: true}
	}
	return report.Cell{Text: fmt.Sprintf(format, v), Plain: fmt.Sprint(v), Right: true}
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
