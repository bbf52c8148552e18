package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/eval/compare"
	"github.com/coppice-ml/coppice/report"
)

type compareOptions struct {
	paths       []string
	metric      string
	resamples   int
	seed        uint64
	failIfWorse bool
}

func newCompare(a *app) *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "Say whether two results of eval differ by more than chance",
		Long: `Compare two files that "coppice eval --out" wrote, document by document: the
difference B - A of every metric they share, its 95 % confidence interval (paired
bootstrap), McNemar's exact test (of a mean over tasks, a permutation test), and a
sentence on whether the documents can tell the two models apart. Of many metrics
compared, one in twenty looks different by chance.`,
		Example: `  coppice compare full.json cut.json
  coppice compare full.json cut.json --metric acc --fail-if-worse`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("compare: two results are wanted, not %d", len(args)).withHint("%s", useLine(c))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			o.paths = args
			return withRemedy(o.run(a))
		},
	}
	a.outputFlags(c)
	c.Flags().StringVar(&o.metric, "metric", "", "this metric only, such as acc")
	c.Flags().IntVar(&o.resamples, "resamples", 10000, "draws of the bootstrap")
	c.Flags().Uint64Var(&o.seed, "seed", 42, "seed of the bootstrap")
	c.Flags().BoolVar(&o.failIfWorse, "fail-if-worse", false, "exit with code 4 when B is worse than A in a metric, beyond chance")
	nonEmpty(c, "metric")
	return c
}

func (o compareOptions) run(a *app) error {
	if o.resamples < 100 {
		return usage("--resamples %d: want 100 or more", o.resamples)
	}
	var files [2]*report.EvalFile
	for i, path := range o.paths {
		var err error
		if files[i], err = report.ReadEval(path); err != nil {
			return err
		}
	}
	lines, err := o.differences(files[0], files[1])
	if err != nil {
		return err
	}
	o.notes(a, files[0], files[1])
	var worse []string
	for _, l := range lines {
		if l.Worse {
			worse = append(worse, l.Task+" "+l.Metric)
		}
	}
	if err := printDifferences(a, lines); err != nil {
		return err
	}
	if o.failIfWorse && len(worse) > 0 {
		return &hinted{err: fmt.Errorf("in %s B is worse than A, beyond chance", strings.Join(worse, ", ")), kind: errGate}
	}
	return nil
}

// notes says what a difference might come from beside the models.
func (o compareOptions) notes(a *app, x, y *report.EvalFile) {
	if x.Coppice.Compute.DType != y.Coppice.Compute.DType {
		a.warn("A was computed in %s and B in %s", x.Coppice.Compute.DType, y.Coppice.Compute.DType)
	}
	if x.Coppice.AddBOS != y.Coppice.AddBOS {
		a.warn("A was asked with add-bos %t and B with %t", x.Coppice.AddBOS, y.Coppice.AddBOS)
	}
	for task, n := range x.Shots {
		if m, ok := y.Shots[task]; ok && m != n {
			a.warn("%s: A had %d examples before each question and B %d", task, n, m)
		}
	}
	if x.Coppice.Partial || y.Coppice.Partial {
		a.warn("the results are partial: not all documents of every task were asked")
	}
}

// differences compares what two results share: groups first, then tasks.
func (o compareOptions) differences(x, y *report.EvalFile) ([]report.Difference, error) {
	tasks := shared(x.Documents, y.Documents)
	if len(tasks) == 0 {
		return nil, failed("%s and %s have no task in common", o.paths[0], o.paths[1]).withHint("A has %s; B has %s", strings.Join(sortedKeys(x.Documents), ", "), strings.Join(sortedKeys(y.Documents), ", "))
	}
	for _, task := range tasks {
		if x.Coppice.Datasets[task].Hash != y.Coppice.Datasets[task].Hash {
			return nil, failed("task %s: the two results are of different documents (%d and %d)", task, x.Samples[task].Effective, y.Samples[task].Effective).withHint("run both with the same data and the same --limit")
		}
	}
	var out []report.Difference
	for _, group := range shared(x.Coppice.Means, y.Coppice.Means) {
		for _, key := range x.Coppice.Means[group].Metrics {
			l, ok, err := o.compare(group, key, x.Coppice.Means[group].Weights, x, y)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, l)
			}
		}
	}
	for _, task := range tasks {
		for _, key := range shared(x.Documents[task], y.Documents[task]) {
			l, ok, err := o.compare(task, key, map[string]float64{task: 1}, x, y)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, l)
			}
		}
	}
	if len(out) == 0 {
		return nil, failed("the two results have no metric %q in common", o.metric)
	}
	return out, nil
}

// compare is one metric, of a task or of the weighted mean of several.
func (o compareOptions) compare(name, key string, weights map[string]float64, x, y *report.EvalFile) (l report.Difference, ok bool, err error) {
	metric, filter, _ := strings.Cut(key, ",")
	if o.metric != "" && metric != o.metric {
		return l, false, nil
	}
	var sets [][]compare.Pair
	var shares []float64
	var list report.EvalList
	for _, task := range sortedKeys(weights) {
		a, okA := x.Documents[task][key]
		b, okB := y.Documents[task][key]
		if !okA || !okB {
			return l, false, nil
		}
		set, err := pairs(a, b)
		if err != nil {
			return l, false, fmt.Errorf("task %s, metric %s: %w", task, key, err)
		}
		list, sets, shares = a, append(sets, set), append(shares, weights[task])
	}
	d := compare.Strata(sets, shares, transform(list.Aggregation), compare.Options{Resamples: o.resamples, Seed: o.seed})
	return report.Difference{
		Task: name, Metric: metric, Filter: filter, A: report.Number(d.A), B: report.Number(d.B), Difference: report.Number(d.Difference),
		Low: report.Number(d.Low), High: report.Number(d.High), N: d.Documents, OnlyA: d.OnlyA, OnlyB: d.OnlyB, P: report.Number(d.P),
		Significant: d.Significant(), Worse: d.Worse(list.HigherIsBetter), HigherIsBetter: list.HigherIsBetter,
		Partial: x.Coppice.Partial || y.Coppice.Partial, Sentence: d.Sentence(name+" "+metric, list.HigherIsBetter),
	}, true, nil
}

func transform(aggregation string) compare.Transform {
	switch aggregation {
	case "perplexity", "weighted_perplexity":
		return compare.Perplexity
	case "bits_per_byte":
		return compare.Bits
	}
	return compare.Mean
}

func pairs(a, b report.EvalList) ([]compare.Pair, error) {
	if len(a.Values) != len(b.Values) || len(a.Values) == 0 {
		return nil, fmt.Errorf("%d values in A and %d in B", len(a.Values), len(b.Values))
	}
	out := make([]compare.Pair, len(a.Values))
	for i := range out {
		out[i] = compare.Pair{A: float64(a.Values[i]), B: float64(b.Values[i]), Weight: 1}
		if len(a.Weights) == len(out) {
			out[i].Weight = a.Weights[i]
		}
	}
	return out, nil
}

func printDifferences(a *app, lines []report.Difference) error {
	t := &report.Table{Header: []string{"task", "metric", "A", "B", "difference", "low", "high", "p"}}
	for _, l := range lines {
		if a.json {
			if err := a.line(l); err != nil {
				return err
			}
			continue
		}
		t.Add(report.String(l.Task), report.String(l.Metric), report.Float(l.A), report.Float(l.B), report.Float(l.Difference), report.Float(l.Low), report.Float(l.High), report.Float(l.P))
	}
	if a.json {
		return nil
	}
	if err := a.table(t); err != nil {
		return err
	}
	for _, l := range lines {
		if err := a.printf("%s\n", l.Sentence); err != nil {
			return err
		}
	}
	return nil
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
