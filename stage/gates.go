package stage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/report"
)

// gate is a value that a metric must reach.
type gate struct {
	text, task, metric, filter string
	value                      float64
}

type gates []gate

// parseGates reads TASK:METRIC=VALUE, of the selection's tasks and groups.
func parseGates(texts []string, s *eval.Selection) (gates, error) {
	var out gates
	for _, text := range texts {
		left, number, ok := strings.Cut(text, "=")
		task, metric, named := strings.Cut(left, ":")
		value, err := strconv.ParseFloat(number, 64)
		if !ok || !named || err != nil {
			return nil, wrong("{fail_under} %s: want TASK:METRIC=VALUE, such as piqa:acc=0.7", text)
		}
		g := gate{text: text, task: task, value: value}
		g.metric, g.filter, _ = strings.Cut(metric, ",")
		known := s.Metrics(task)
		if known == nil {
			return nil, wrong("{fail_under} %s: %q is not among {tasks}", text, task)
		}
		if !slices.Contains(known, g.metric) {
			return nil, wrong("{fail_under} %s: %s has no metric %q", text, task, g.metric).with("it has %s", strings.Join(known, ", "))
		}
		out = append(out, g)
	}
	return out, nil
}

// check compares the results with what is asked of them.
func (gs gates) check(lines []report.Result) error {
	var failures []string
	for _, g := range gs {
		for _, l := range lines {
			if l.Task != g.task || l.Metric != g.metric || g.filter != "" && l.Filter != g.filter {
				continue
			}
			v := float64(l.Value)
			if l.HigherIsBetter && !(v >= g.value) || !l.HigherIsBetter && !(v <= g.value) {
				failures = append(failures, fmt.Sprintf("%s: %s is %s", g.text, l.Metric, l.Value))
			}
		}
	}
	if len(failures) == 0 {
		return nil
	}
	p := failed("{fail_under} is not met: %s", strings.Join(failures, "; "))
	p.Kind = ErrGate
	return p
}
