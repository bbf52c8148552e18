package eval

import (
	"fmt"
	"math"
)

// Outcome is a task with what came of it.
type Outcome struct {
	*Asked
	Metrics   []Metric
	Responses []Response
}

// GroupOutcome is a group with its metrics.
type GroupOutcome struct {
	Branch
	Depth   int // groups around it
	Metrics []GroupMetric
	Size    int  // documents asked
	Partial bool // of a task below
}

// GroupMetric is what the tasks of a group come to.
type GroupMetric struct {
	Name, Filter   string
	Result, StdErr float64 // StdErr is NaN where a task has none
	HigherIsBetter bool
	Weights        map[string]float64 // of the tasks in Result; they add up to 1
}

// Key is how results name the metric.
func (m GroupMetric) Key() string { return m.Name + "," + m.Filter }

// Aggregate aggregates the outcomes of a selection's tasks.
func (s *Selection) Aggregate(outcomes map[string]*Outcome) ([]GroupOutcome, error) {
	byName := map[string]*GroupOutcome{}
	out := make([]GroupOutcome, len(s.Groups))
	for i := len(s.Groups) - 1; i >= 0; i-- { // inner groups first
		b := s.Groups[i]
		g := GroupOutcome{Branch: b, Depth: b.depth}
		for _, name := range b.Tasks {
			g.Size += len(outcomes[name].Docs)
			g.Partial = g.Partial || outcomes[name].Partial()
		}
		for _, rules := range b.Aggregate {
			for _, filter := range rules.Filters {
				m, err := g.aggregate(rules, filter, outcomes, byName)
				if err != nil {
					return nil, err
				}
				g.Metrics = append(g.Metrics, m)
			}
		}
		out[i] = g
		byName[b.Name] = &out[i]
	}
	return out, nil
}

// aggregate is one metric of a group: the mean of its tasks', each weighted by
// its documents where the group says so; or the plain mean of its members'.
func (g *GroupOutcome) aggregate(rules AggregateRules, filter string, outcomes map[string]*Outcome, groups map[string]*GroupOutcome) (GroupMetric, error) {
	m := GroupMetric{Name: rules.Metric, Filter: filter, HigherIsBetter: true, Weights: map[string]float64{}}
	names := g.Tasks
	if rules.Over == overMembers {
		names = g.Members
	}
	var values, errors []float64
	var sizes []int
	var used []string
	for _, name := range names {
		v, se, size, better, ok := lookUp(m.Key(), outcomes[name], groups[name])
		if !ok {
			if rules.Over == overMembers {
				return m, fmt.Errorf("group %s: %s has no metric %s", g.Name, name, m.Key())
			}
			continue
		}
		m.HigherIsBetter = better
		values, errors, sizes, used = append(values, v), append(errors, se), append(sizes, size), append(used, name)
	}
	if len(values) == 0 {
		return m, fmt.Errorf("group %s: none of its tasks has the metric %s", g.Name, m.Key())
	}
	weights := rules.weights(sizes)
	for i, v := range values {
		m.Result += weights[i] * v
		m.spread(used[i], weights[i], groups[used[i]])
	}
	if rules.Over == overMembers {
		m.StdErr = independent(errors)
	} else {
		m.StdErr = pooled(errors, sizes)
	}
	return m, nil
}

const overMembers = "members"

// weights are the shares of a group's parts of these sizes.
func (r AggregateRules) weights(sizes []int) []float64 {
	out := make([]float64, len(sizes))
	total := 0
	for _, n := range sizes {
		total += n
	}
	for i, n := range sizes {
		out[i] = 1 / float64(len(sizes))
		if r.WeightBySize && r.Over != overMembers {
			out[i] = float64(n) / float64(total)
		}
	}
	return out
}

// spread hands the weight of a part down to the tasks in it.
func (m *GroupMetric) spread(name string, weight float64, group *GroupOutcome) {
	if group == nil {
		m.Weights[name] += weight
		return
	}
	for _, inner := range group.Metrics {
		if inner.Key() == m.Key() {
			for task, w := range inner.Weights {
				m.Weights[task] += weight * w
			}
		}
	}
}

// lookUp looks a metric up in a task or a group.
func lookUp(key string, task *Outcome, group *GroupOutcome) (value, stderr float64, size int, better, ok bool) {
	if task != nil {
		for _, m := range task.Metrics {
			if m.Key() == key {
				return m.Result, m.StdErr, len(task.Docs), m.HigherIsBetter, true
			}
		}
	}
	if group != nil {
		for _, m := range group.Metrics {
			if m.Key() == key {
				return m.Result, m.StdErr, group.Size, m.HigherIsBetter, true
			}
		}
	}
	return 0, 0, 0, false, false
}

// independent is the standard error of the plain mean of independent results.
func independent(errors []float64) float64 {
	var sum float64
	for _, e := range errors {
		sum += e * e
	}
	return math.Sqrt(sum) / float64(len(errors))
}

// Answers are the responses to the i-th document's requests.
func (o *Outcome) Answers(i int) []Response { return o.Responses[o.first[i]:o.first[i+1]] }
