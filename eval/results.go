package eval

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/coppice-ml/coppice/report"
)

// Lines are the results of groups and tasks, outer groups first. by says what made
// them.
func (o Outcomes) Lines(asked []*Asked, by report.Compute) (lines []report.Result) {
	by.Keep = o.Keep
	chances := chancesOf(asked)
	for _, g := range o.Groups {
		for _, m := range g.Metrics {
			lines = append(lines, report.Result{
				Task: g.Name, Metric: m.Name, Filter: m.Filter, Value: report.Number(m.Result), StdErr: report.Number(m.StdErr), N: g.Size,
				Version: string(g.Metadata.Version), Group: true, HigherIsBetter: m.HigherIsBetter, Partial: g.Partial, Compute: by, Members: g.Members,
				Chance: chances.of(m),
			})
		}
	}
	for _, a := range asked {
		for _, m := range o.Tasks[a.Task.Name].Metrics {
			lines = append(lines, report.Result{
				Task: a.Task.Name, Metric: m.Name, Filter: m.Filter, Value: report.Number(m.Result), StdErr: report.Number(m.StdErr), N: len(a.Docs),
				Version: string(a.Task.Metadata.Version), Shots: a.Shots, HigherIsBetter: m.HigherIsBetter, Partial: a.Partial(), Compute: by,
				Chance: chances.task(a.Task.Name, m.Name),
			})
		}
	}
	return lines
}

// chances are what guessing comes to, by task.
type chances map[string]float64

// chancesOf are those of multiple choice: the mean over documents of the share of
// choices that are right.
func chancesOf(asked []*Asked) chances {
	out := chances{}
	for _, a := range asked {
		sum := 0.
		for i, choices := range a.choices {
			if len(choices) > 0 && i < len(a.right) {
				sum += float64(len(a.right[i])) / float64(len(choices))
			}
		}
		if len(a.choices) > 0 {
			out[a.Task.Name] = sum / float64(len(a.choices))
		}
	}
	return out
}

// task is what guessing comes to in a metric of a task; 0 where that is not known.
func (c chances) task(name, metric string) float64 {
	if metric != "acc" && metric != "acc_norm" {
		return 0
	}
	return c[name]
}

// of is the same of a group, summed in the order of names.
func (c chances) of(m GroupMetric) (chance float64) {
	for _, name := range slices.Sorted(maps.Keys(m.Weights)) {
		if c.task(name, m.Name) == 0 {
			return 0
		}
		chance += m.Weights[name] * c[name]
	}
	return chance
}

// Origin says how results.json came to be, as far as the results do not.
type Origin struct {
	report.EvalOrigin                               // Partial, Datasets and Means are filled in
	Start             float64                       // seconds since 1970
	Bootstrap         int                           // as in RunOptions
	FewshotSeed       uint64                        // as in BuildOptions
	Source            func(t *Task) (source string) // where a task's documents come from
}

// File is results.json: the harness's fields, and what they lack.
func (o Outcomes) File(asked []*Asked, origin Origin) (report.EvalFile, error) {
	origin.Compute.Keep = o.Keep
	f := report.EvalFile{
		Results: map[string]map[string]any{}, Groups: map[string]map[string]any{}, GroupSubtasks: map[string][]string{},
		Configs: map[string]map[string]any{}, Versions: map[string]any{}, Shots: map[string]int{}, HigherIsBetter: map[string]map[string]bool{},
		Samples: map[string]report.EvalCount{}, Documents: map[string]map[string]report.EvalList{},
		Date: origin.Start, Coppice: origin.EvalOrigin, Config: origin.config(),
	}
	f.Coppice.Datasets, f.Coppice.Means = map[string]report.EvalDataset{}, map[string]report.EvalMean{}
	for _, a := range asked {
		f.Coppice.Partial = f.Coppice.Partial || a.Partial()
		if err := addTask(&f, o.Tasks[a.Task.Name], origin.Source(a.Task)); err != nil {
			return f, err
		}
	}
	for _, g := range o.Groups {
		addGroup(&f, g)
	}
	guessing := chancesOf(asked)
	f.Coppice.Chance = maps.Clone(guessing)
	for _, g := range o.Groups {
		for _, m := range g.Metrics {
			if v := guessing.of(m); v > 0 {
				f.Coppice.Chance[g.Name] = v
			}
		}
	}
	return f, nil
}

// config has the names the harness gives to how it was run.
func (o Origin) config() map[string]any {
	var limit any
	if o.Limit > 0 {
		limit = o.Limit
	}
	args := "pretrained=" + o.Model
	if keep := o.Compute.Keep; len(keep) > 0 {
		args += ",keep=" + report.FormatLayers(keep)
	}
	return map[string]any{
		"model": "coppice", "model_args": args, "model_dtype": o.Compute.DType, "device": o.Compute.Device,
		"batch_size": "packed", "batch_sizes": []int{}, "use_cache": nil, "limit": limit, "bootstrap_iters": o.Bootstrap, "gen_kwargs": nil,
		"random_seed": 0, "numpy_seed": 1234, "torch_seed": 1234, "fewshot_seed": o.FewshotSeed,
	}
}

func addTask(f *report.EvalFile, o *Outcome, source string) error {
	t := o.Task
	result := map[string]any{"alias": t.DisplayName()}
	better := map[string]bool{}
	f.Documents[t.Name] = map[string]report.EvalList{}
	for _, m := range o.Metrics {
		result[m.Key()] = report.Number(m.Result)
		result[m.Name+"_stderr,"+m.Filter] = orNA(m.StdErr)
		better[m.Name] = m.HigherIsBetter
		f.Documents[t.Name][m.Key()] = valueList(m)
	}
	f.Results[t.Name], f.HigherIsBetter[t.Name] = result, better
	f.Configs[t.Name] = t.Config()
	f.Versions[t.Name] = versionNumber(string(t.Metadata.Version))
	f.Shots[t.Name] = o.Shots
	f.Samples[t.Name] = report.EvalCount{Original: o.Published(), Effective: len(o.Docs)}
	f.GroupSubtasks[t.Name] = []string{}
	hash, err := o.DocsHash()
	f.Coppice.Datasets[t.Name] = report.EvalDataset{
		Path: t.DatasetPath, Name: t.DatasetName, Split: t.Split(), Source: source, Hash: hash, Requests: o.Hash(),
	}
	return err
}

func valueList(m Metric) report.EvalList {
	l := report.EvalList{Aggregation: m.Aggregation, HigherIsBetter: m.HigherIsBetter, Values: []report.Number{}}
	weighted := false
	for _, v := range m.Values {
		l.Values = append(l.Values, report.Number(v.Value))
		l.Weights = append(l.Weights, v.Weight)
		weighted = weighted || v.Weight != 1
	}
	if !weighted {
		l.Weights = nil
	}
	return l
}

func addGroup(f *report.EvalFile, g GroupOutcome) {
	alias := g.Alias
	if alias == "" {
		alias = g.Name
	}
	result := map[string]any{"alias": alias}
	better := map[string]bool{}
	mean := report.EvalMean{Weights: map[string]float64{}}
	for _, m := range g.Metrics {
		result[m.Key()] = report.Number(m.Result)
		result[m.Name+"_stderr,"+m.Filter] = orNA(m.StdErr)
		better[m.Name] = m.HigherIsBetter
		mean.Metrics = append(mean.Metrics, m.Key())
		mean.Weights = m.Weights
	}
	f.Results[g.Name], f.HigherIsBetter[g.Name] = result, better
	f.GroupSubtasks[g.Name] = g.Members
	if len(g.Metrics) > 0 {
		f.Groups[g.Name] = result
		f.Coppice.Means[g.Name] = mean
	}
	if g.Metadata.Version != "" {
		f.Versions[g.Name] = versionNumber(string(g.Metadata.Version))
	}
}

// versionNumber keeps "1.0" a number that is written so.
func versionNumber(s string) any {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return json.Number(s)
	}
	return s
}

// orNA is a standard error as the harness writes it.
func orNA(v float64) any {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "N/A"
	}
	return v
}

// Samples gives line what came of every document, once for each chain of filters.
func (o Outcomes) Samples(asked []*Asked, line func(report.Line) error) error {
	for _, a := range asked {
		task := o.Tasks[a.Task.Name]
		var filters []string
		for _, m := range task.Metrics {
			if len(filters) == 0 || filters[len(filters)-1] != m.Filter {
				filters = append(filters, m.Filter)
			}
		}
		for _, filter := range filters {
			for i := range a.Docs {
				if err := line(task.sample(i, filter)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (o *Outcome) sample(i int, filter string) report.Sample {
	l := report.Sample{Task: o.Task.Name, DocID: i, Doc: o.Docs[i], Target: o.Target(i), Filter: filter, Metrics: map[string]report.Number{}}
	for j, request := range o.Of(i) {
		answer := o.Answers(i)[j]
		l.Arguments = append(l.Arguments, []string{request.Context, request.Continuation})
		if o.Task.Output == GenerateUntil {
			l.Responses = append(l.Responses, []any{answer.Text})
		} else {
			l.Responses = append(l.Responses, []any{report.Number(answer.LogProb), answer.Greedy})
		}
	}
	for _, m := range o.Metrics {
		if m.Filter == filter {
			l.Metrics[m.Name] = report.Number(m.Values[i].Value)
		}
	}
	l.PromptHash, l.TargetHash = o.Hashes(i)
	return l
}

// Lines are what is sent to the model.
func (a *Asked) Lines() []report.Request {
	out := make([]report.Request, len(a.Requests))
	for i, r := range a.Requests {
		out[i] = report.Request{Task: a.Task.Name, DocID: r.Doc, Choice: r.Choice, Context: r.Context, Continuation: r.Continuation}
	}
	return out
}
