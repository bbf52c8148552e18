package stage

import (
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/stat"
)

// Compare says whether two results of Eval differ by more than chance.
type Compare struct {
	A           string `yaml:"a"` // files that Eval wrote
	B           string `yaml:"b"`
	Metric      string `yaml:"metric"`        // only this one
	Resamples   int    `yaml:"resamples"`     // draws of the bootstrap
	Seed        uint64 `yaml:"seed"`          // of the bootstrap
	FailIfWorse bool   `yaml:"fail_if_worse"` // a Problem of the kind ErrGate when B is worse than A, beyond chance
}

// DefaultCompare has every field that is not given.
func DefaultCompare() Compare { return Compare{Resamples: 10000, Seed: 42} }

// Run compares document by document: groups first, then tasks.
func (c Compare) Run(env Env) ([]report.Difference, error) {
	if c.Resamples < 100 {
		return nil, wrong("{resamples} %d: want 100 or more", c.Resamples)
	}
	a, err := report.ReadEval(c.A)
	if err != nil {
		return nil, err
	}
	b, err := report.ReadEval(c.B)
	if err != nil {
		return nil, err
	}
	lines, err := c.differences(a, b)
	if err != nil {
		return nil, err
	}
	warnOfDifferences(env, a, b)
	var worse []string
	for _, l := range lines {
		if l.Worse {
			worse = append(worse, l.Task+" "+l.Metric)
		}
	}
	if c.FailIfWorse && len(worse) > 0 {
		p := failed("in %s B is worse than A, beyond chance", strings.Join(worse, ", "))
		p.Kind = ErrGate
		return lines, p
	}
	return lines, nil
}

// warnOfDifferences says what a difference might come from beside the models.
func warnOfDifferences(env Env, x, y *report.EvalFile) {
	warn := env.Talk.Warn
	if x.Coppice.Compute.DType != y.Coppice.Compute.DType {
		warn("A was computed in %s and B in %s", x.Coppice.Compute.DType, y.Coppice.Compute.DType)
	}
	if x.Coppice.AddBOS != y.Coppice.AddBOS {
		warn("A was asked with add-bos %t and B with %t", x.Coppice.AddBOS, y.Coppice.AddBOS)
	}
	for task, n := range x.Shots {
		if m, ok := y.Shots[task]; ok && m != n {
			warn("%s: A had %d examples before each question and B %d", task, n, m)
		}
	}
	if x.Coppice.Partial || y.Coppice.Partial {
		warn("the results are partial: not all documents of every task were asked")
	}
}

// differences compares what two results share: groups first, then tasks.
func (c Compare) differences(x, y *report.EvalFile) ([]report.Difference, error) {
	tasks := shared(x.Documents, y.Documents)
	if len(tasks) == 0 {
		return nil, failed("%s and %s have no task in common", c.A, c.B).with("A has %s; B has %s", strings.Join(sortedKeys(x.Documents), ", "), strings.Join(sortedKeys(y.Documents), ", "))
	}
	for _, task := range tasks {
		if x.Coppice.Datasets[task].Hash != y.Coppice.Datasets[task].Hash {
			return nil, failed("task %s: the two results are of different documents (%d and %d)", task, x.Samples[task].Effective, y.Samples[task].Effective).with("run both with the same data and the same {limit}")
		}
	}
	means := stat.Means(x)
	for _, task := range tasks {
		for _, key := range shared(x.Documents[task], y.Documents[task]) {
			means = append(means, stat.Task(task, key))
		}
	}
	var out []report.Difference
	for _, of := range means {
		metric, _, _ := strings.Cut(of.Key, ",")
		if c.Metric != "" && metric != c.Metric {
			continue
		}
		l, ok, err := stat.Between(x, y, of, stat.Options{Resamples: c.Resamples, Seed: c.Seed})
		if err != nil {
			return nil, err
		}
		if ok {
			l.Members = x.GroupSubtasks[of.Name]
			out = append(out, l)
		}
	}
	if len(out) == 0 {
		return nil, failed("the two results have no metric %q in common", c.Metric)
	}
	return out, nil
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// shared are the keys of both maps, sorted.
func shared[V any](a, b map[string]V) []string {
	return slices.DeleteFunc(sortedKeys(a), func(k string) bool { _, ok := b[k]; return !ok })
}
