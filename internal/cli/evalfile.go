package cli

import (
	"encoding/json"
	"strconv"

	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/report"
)

// file makes results.json.
func (r *evalRun) file() (report.EvalFile, error) {
	f := report.EvalFile{
		Results: map[string]map[string]any{}, Groups: map[string]map[string]any{}, GroupSubtasks: map[string][]string{},
		Configs: map[string]map[string]any{}, Versions: map[string]any{}, Shots: map[string]int{}, HigherIsBetter: map[string]map[string]bool{},
		Samples: map[string]report.EvalCount{}, Documents: map[string]map[string]report.EvalList{},
		Date: float64(r.start.UnixMilli()) / 1000,
	}
	f.Coppice = r.origin()
	for _, asked := range r.asked {
		if err := r.addTask(&f, r.outcomes[asked.Task.Name]); err != nil {
			return f, err
		}
	}
	for _, g := range r.groups {
		addGroup(&f, g)
	}
	f.Config = r.config()
	return f, nil
}

func (r *evalRun) origin() report.EvalOrigin {
	o := report.EvalOrigin{
		Version: version().Version, Model: r.name, ModelHash: r.hash, Layers: r.s.m.Spec.Layers, Compute: r.s.compute(),
		AddBOS: r.encoder.AddBOS, Limit: r.o.limit, Seconds: seconds(r.start), Datasets: map[string]report.EvalDataset{}, Means: map[string]report.EvalMean{},
	}
	for _, a := range r.asked {
		o.Partial = o.Partial || a.Partial()
	}
	return o
}

// config has the names the harness gives to how it was run.
func (r *evalRun) config() map[string]any {
	var limit any
	if r.o.limit > 0 {
		limit = r.o.limit
	}
	c := r.s.compute()
	return map[string]any{
		"model": "coppice", "model_args": "pretrained=" + r.name, "model_dtype": c.DType, "device": c.Device,
		"batch_size": "packed", "batch_sizes": []int{}, "use_cache": nil, "limit": limit, "bootstrap_iters": r.o.bootstrap, "gen_kwargs": nil,
		"random_seed": 0, "numpy_seed": 1234, "torch_seed": 1234, "fewshot_seed": r.o.fewshotSeed,
	}
}

func (r *evalRun) addTask(f *report.EvalFile, o *eval.Outcome) error {
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
		Path: t.DatasetPath, Name: t.DatasetName, Split: t.Split(), Source: r.source.describe(t), Hash: hash, Requests: o.Hash(),
	}
	return err
}

func valueList(m eval.Metric) report.EvalList {
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

func addGroup(f *report.EvalFile, g eval.GroupOutcome) {
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
