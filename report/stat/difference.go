package stat

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/eval/compare"
	"github.com/coppice-ml/coppice/report"
)

// Options say how intervals are drawn; the same seed gives the same intervals.
type Options struct {
	Resamples int // 0: 10000
	Seed      uint64
}

// Mean is a weighted mean over tasks in one metric; a single task is one, too.
type Mean struct {
	Name    string
	Key     string // of the metric: acc,none
	Weights map[string]float64
}

// Task is a task by itself as a mean.
func Task(name, key string) Mean {
	return Mean{Name: name, Key: key, Weights: map[string]float64{name: 1}}
}

// Means are those of the groups, by name.
func Means(f *report.EvalFile) (out []Mean) {
	for _, name := range slices.Sorted(maps.Keys(f.Coppice.Means)) {
		for _, key := range f.Coppice.Means[name].Metrics {
			out = append(out, Mean{Name: name, Key: key, Weights: f.Coppice.Means[name].Weights})
		}
	}
	return out
}

// Between compares a metric of two files, documents paired; ok is false where one of
// them lacks it. Errors: lists of different lengths, which are of different documents.
func Between(a, b *report.EvalFile, of Mean, opt Options) (l report.Difference, ok bool, err error) {
	var sets [][]compare.Pair
	var shares []float64
	var list report.EvalList
	for _, task := range slices.Sorted(maps.Keys(of.Weights)) {
		x, okX := a.Documents[task][of.Key]
		y, okY := b.Documents[task][of.Key]
		if !okX || !okY {
			return l, false, nil
		}
		set, err := pairs(x, y)
		if err != nil {
			return l, false, fmt.Errorf("task %s, metric %s: %w", task, of.Key, err)
		}
		list, sets, shares = x, append(sets, set), append(shares, of.Weights[task])
	}
	metric, filter, _ := strings.Cut(of.Key, ",")
	d := compare.Strata(sets, shares, transform(list.Aggregation), compare.Options{Resamples: opt.Resamples, Seed: opt.Seed})
	return report.Difference{
		Task: of.Name, Metric: metric, Filter: filter, A: report.Number(d.A), B: report.Number(d.B), Difference: report.Number(d.Difference),
		Low: report.Number(d.Low), High: report.Number(d.High), N: d.Documents, OnlyA: d.OnlyA, OnlyB: d.OnlyB, P: report.Number(d.P),
		Significant: d.Significant(), Worse: d.Worse(list.HigherIsBetter), HigherIsBetter: list.HigherIsBetter,
		Partial: a.Coppice.Partial || b.Coppice.Partial, Sentence: d.Sentence(of.Name+" "+metric, list.HigherIsBetter),
	}, true, nil
}

// Same says whether two files asked the same documents of a mean's tasks.
func Same(a, b *report.EvalFile, of Mean) bool {
	for task := range of.Weights {
		if a.Coppice.Datasets[task].Hash != b.Coppice.Datasets[task].Hash {
			return false
		}
	}
	return true
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

// Holm corrects p values for their number: see compare.Holm.
func Holm(p []report.Number) []report.Number {
	return report.Numbers(compare.Holm(report.Floats(p)))
}

// AtChance says that a value is within two of its standard errors of what guessing
// comes to; where one of them is not known it is not.
func AtChance(value, stderr report.Number, chance float64) bool {
	return chance > 0 && value.Finite() && stderr.Finite() && math.Abs(float64(value)-chance) <= 2*float64(stderr)
}

// Recovery is the share of what the cut took that healing brought back: (healed - cut)
// / (dense - cut). NaN where the cut took nothing that can be told from chance: no more
// than two standard errors of the difference of two results, 0 where that is not known.
func Recovery(dense, cut, healed, stderr report.Number) report.Number {
	if took := dense - cut; took > 0 && !(took <= 2*stderr) {
		return (healed - cut) / took
	}
	return report.Number(math.NaN())
}
