package eval

import (
	"math"
	"slices"
	"strings"
)

// Metrics, named as in the harness.
const (
	acc            = "acc"
	accNorm        = "acc_norm"
	exactMatch     = "exact_match"
	perplexity     = "perplexity"
	wordPerplexity = "word_perplexity"
	bytePerplexity = "byte_perplexity"
	bitsPerByte    = "bits_per_byte"
)

// metricsOf are the metrics of an output type.
func metricsOf(o OutputType) []string {
	switch o {
	case MultipleChoice:
		return []string{acc, accNorm, exactMatch}
	case LogLikelihood:
		return []string{perplexity, acc}
	case Rolling:
		return []string{wordPerplexity, bytePerplexity, bitsPerByte}
	}
	return []string{exactMatch}
}

// How documents' values become a task's.
const (
	mean               = "mean"
	weightedPerplexity = "weighted_perplexity"
)

func aggregationOf(metric string) string {
	switch metric {
	case perplexity:
		return perplexity
	case wordPerplexity, bytePerplexity:
		return weightedPerplexity
	case bitsPerByte:
		return bitsPerByte
	}
	return mean
}

func aggregations() []string { return []string{mean, perplexity, weightedPerplexity, bitsPerByte} }

func (t *Task) checkMetrics() error {
	valid := metricsOf(t.Output)
	if len(t.Metrics) == 0 {
		for _, name := range valid[:min(2, len(valid))] {
			t.Metrics = append(t.Metrics, MetricRules{Metric: name})
		}
		if t.Output == Rolling {
			t.Metrics = append(t.Metrics, MetricRules{Metric: bitsPerByte})
		}
	}
	for i := range t.Metrics {
		m := &t.Metrics[i]
		if !slices.Contains(valid, m.Metric) {
			return t.fail("metric %q of %s: want one of %s", m.Metric, t.Output, strings.Join(valid, ", "))
		}
		if m.Aggregation == "" {
			m.Aggregation = aggregationOf(m.Metric)
		}
		if !slices.Contains(aggregations(), m.Aggregation) {
			return t.fail("metric %s: aggregation %q: want one of %s", m.Metric, m.Aggregation, strings.Join(aggregations(), ", "))
		}
		if weighted := m.Aggregation == weightedPerplexity || m.Aggregation == bitsPerByte; weighted != (t.Output == Rolling) {
			return t.fail("metric %s: aggregation %s does not go with %s", m.Metric, m.Aggregation, t.Output)
		}
		if m.HigherIsBetter == nil {
			better := !strings.Contains(m.Metric, perplexity) && m.Metric != bitsPerByte
			m.HigherIsBetter = &better
		}
		for _, pattern := range m.RegexesToIgnore {
			if _, err := compileRegex(pattern); err != nil {
				return t.fail("metric %s: %v", m.Metric, err)
			}
		}
	}
	return nil
}

// Value is a metric of one document. Weight is 1 except where the metric
// divides by words or bytes.
type Value struct{ Value, Weight float64 }

// Metric is a metric of a task: its documents' values and what they come to.
type Metric struct {
	Name           string
	Filter         string
	HigherIsBetter bool
	Aggregation    string
	Values         []Value // by document
	Result         float64
	StdErr         float64 // NaN where there is none
}

// Key is how results name the metric: "acc,none".
func (m *Metric) Key() string { return m.Name + "," + m.Filter }

// Score turns the responses to a task's requests into its metrics.
func (a *Asked) Score(responses []Response, iterations int) ([]Metric, error) {
	chains, err := a.Task.filters()
	if err != nil {
		return nil, err
	}
	var out []Metric
	for _, chain := range chains {
		for _, rules := range a.Task.Metrics {
			m := Metric{Name: rules.Metric, Filter: chain.name, HigherIsBetter: *rules.HigherIsBetter, Aggregation: rules.Aggregation}
			for i := range a.Docs {
				v, err := a.value(i, rules, chain, responses[a.first[i]:a.first[i+1]])
				if err != nil {
					return nil, docError(a.Task, i, err)
				}
				m.Values = append(m.Values, v)
			}
			m.Result = aggregate(m.Aggregation, m.Values)
			m.StdErr = stderr(m.Aggregation, m.Values, iterations)
			out = append(out, m)
		}
	}
	return out, nil
}

// value is a metric of one document.
func (a *Asked) value(i int, rules MetricRules, chain filterChain, answers []Response) (Value, error) {
	switch a.Task.Output {
	case MultipleChoice:
		return one(a.choose(i, rules.Metric, answers)), nil
	case LogLikelihood:
		if rules.Metric == perplexity {
			return Value{answers[0].LogProb, 1}, nil
		}
		return one(answers[0].Greedy), nil
	case Rolling:
		weight, err := a.length(i, rules.Metric)
		return Value{answers[0].LogProb, weight}, err
	}
	return a.matches(i, rules, chain, answers[0].Text)
}

func one(right bool) Value {
	if right {
		return Value{1, 1}
	}
	return Value{0, 1}
}

// choose says whether the likeliest choice, or the likeliest by character, is a
// right one. Of equals the first counts.
func (a *Asked) choose(i int, metric string, answers []Response) bool {
	if metric == exactMatch {
		return slices.ContainsFunc(a.right[i], func(g int) bool { return answers[g].Greedy })
	}
	best, top := 0, math.Inf(-1)
	for c, r := range answers {
		score := r.LogProb
		if metric == accNorm {
			score /= float64(characters(a.choices[i][c]))
		}
		if score > top {
			best, top = c, score
		}
	}
	return slices.Contains(a.right[i], best)
}

// length is what a rolled text's log-likelihood is divided by: words or bytes.
// WikiText's are those of the page before it is detokenised.
func (a *Asked) length(i int, metric string) (float64, error) {
	text := pythonText(a.targets[i])
	if a.Task.ProcessResults.Function == wikitextResults {
		var err error
		if text, err = textOf(a.Docs[i], "page"); err != nil {
			return 0, err
		}
	}
	if metric == wordPerplexity {
		return float64(countWords(text)), nil
	}
	return float64(len(text)), nil
}

// matches says whether an answer, filtered, is the document's.
func (a *Asked) matches(i int, rules MetricRules, chain filterChain, answer string) (Value, error) {
	answer, err := chain.apply(answer)
	if err != nil {
		return Value{}, err
	}
	if answer, err = rules.normalize(answer); err != nil {
		return Value{}, err
	}
	targets, ok := a.targets[i].([]any)
	if !ok {
		targets = []any{a.targets[i]}
	}
	for _, target := range targets {
		want, err := rules.normalize(pythonText(target))
		if err != nil {
			return Value{}, err
		}
		if want == answer {
			return one(true), nil
		}
	}
	return one(false), nil
}

// normalize takes out what exact_match is told to ignore.
func (m MetricRules) normalize(text string) (string, error) {
	for _, pattern := range m.RegexesToIgnore {
		if err := sub(&text, pattern, ""); err != nil {
			return "", err
		}
	}
	if m.IgnoreCase {
		text = strings.ToLower(text)
	}
	drop := func(set string) {
		text = strings.Map(func(r rune) rune {
			if strings.ContainsRune(set, r) {
				return -1
			}
			return r
		}, text)
	}
	if m.IgnorePunctuation {
		drop("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
	}
	if m.IgnoreNumbers {
		drop("0123456789")
	}
	return text, nil
}
