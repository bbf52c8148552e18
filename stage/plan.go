package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/wholefile"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

// Plan decides which layers go, by what Score found before, and writes the decision
// to a file. It runs nothing.
type Plan struct {
	Model   string  `yaml:"model"`
	Out     string  `yaml:"out"`     // plan file
	Ranking string  `yaml:"ranking"` // file with one line of Score; "": Layers say
	Count   int     `yaml:"count"`   // layers to drop
	Ratio   float64 `yaml:"ratio"`   // share of the layers to drop, rounded down; 0: DefaultRatio
	Params  string  `yaml:"params"`  // drop layers until at most this many parameters are left
	Protect string  `yaml:"protect"` // layers that are never dropped
	Gone    string  `yaml:"gone"`    // plan file of layers that are gone already, to drop beside
	Layers  `yaml:",inline"`
}

// Run writes the plan.
func (p Plan) Run(ctx context.Context, env Env) (report.Plan, error) {
	s, err := Open(ctx, env, p.Model, Layers{})
	if err != nil {
		return report.Plan{}, err
	}
	defer s.Close()
	plan, err := p.decide(s.Model.Spec)
	if err != nil {
		return report.Plan{}, err
	}
	if err := plan.Measure(s.Checkpoint); err != nil {
		return report.Plan{}, err
	}
	plan.Model, plan.Version = modelName(p.Model), env.Version
	if plan.ModelHash, err = s.Checkpoint.Hash(ctx); err != nil {
		return report.Plan{}, err
	}
	if note := s.Model.Spec.PruneNote(plan.Keep); note != "" {
		env.Talk.Warn("%s", note)
	}
	raw, err := json.MarshalIndent(struct {
		Type string `json:"type"`
		prune.Plan
	}{"plan", plan}, "", " ")
	if err != nil {
		return report.Plan{}, fmt.Errorf("encode the plan: %w", err)
	}
	err = wholefile.Bytes(p.Out, append(raw, '\n'))
	return planLine(plan), err
}

// planLine is a plan as commands print it.
func planLine(plan prune.Plan) report.Plan {
	return report.Plan{
		Layers: plan.Layers, Keep: plan.Keep, Drop: plan.Drop,
		Parameters: plan.Parameters, ParametersBefore: plan.ParametersBefore,
		Bytes: plan.Bytes, BytesBefore: plan.BytesBefore, Source: plan.Source,
	}
}

// decide chooses the layers.
func (p Plan) decide(spec *model.Spec) (prune.Plan, error) {
	if p.Ranking == "" {
		return p.Layers.choose(spec)
	}
	protect, err := parseProtect(p.Protect, spec.Layers)
	if err != nil {
		return prune.Plan{}, err
	}
	n, err := p.drops(spec)
	if err != nil {
		return prune.Plan{}, err
	}
	var gone []int
	if p.Gone != "" {
		before, err := readPlan(p.Gone, spec)
		if err != nil {
			return prune.Plan{}, err
		}
		gone = before.Drop
	}
	line, err := readScore(p.Ranking)
	if err != nil {
		return prune.Plan{}, err
	}
	order, metric, scores := orderOf(line)
	order = slices.DeleteFunc(slices.Clone(order), func(l int) bool { return slices.Contains(gone, l) })
	next, err := prune.Select(order, protect, n)
	if err != nil {
		return prune.Plan{}, wrong("{count}: %w", err)
	}
	plan, err := prune.New(spec, append(gone, next...), fmt.Sprintf("%s, %s", metric, report.Plural(n, "layer")))
	if len(gone) > 0 {
		plan.Source = fmt.Sprintf("%s beside %s", plan.Source, report.FormatLayers(gone))
	}
	plan.Metric = metric
	if len(gone) == 0 && len(scores) == spec.Layers {
		for _, v := range scores {
			plan.Scores = append(plan.Scores, prune.Score(v))
		}
	}
	if data := dataOf(line); data != nil {
		plan.Data, plan.DataHash = data.Source, data.SHA256
	}
	return plan, err
}

// readScore reads the one line of a file of Score.
func readScore(path string) (report.Line, error) {
	raw, err := mmap.ReadNamed(path)
	if err != nil {
		return nil, err
	}
	line, err := report.Read(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return line, nil
}

// orderOf is what a line of Score says of layers: the first to drop first.
func orderOf(line report.Line) (order []int, metric string, scores []report.Number) {
	switch l := line.(type) {
	case report.Ranking:
		return l.Order, l.Metric, l.Scores
	case report.Blocks:
		return l.Order, l.Metric, nil
	}
	return nil, "", nil
}

func dataOf(line report.Line) *report.Data {
	switch l := line.(type) {
	case report.Ranking:
		return l.Data
	case report.Blocks:
		return l.Data
	}
	return nil
}

// drops is how many layers go.
func (p Plan) drops(spec *model.Spec) (int, error) {
	rounds, err := Prune{Count: p.Count, Ratio: p.Ratio, Params: p.Params}.rounds(spec)
	if err != nil {
		return 0, err
	}
	return rounds[0], nil
}

// NeedsCount says that a metric scores for a number of layers that is to go.
func NeedsCount(metric string) bool { return metric == score.Angular || metric == score.GreedyPPL }

// NeedsSeed says that a metric draws at random, whatever data it is given.
func NeedsSeed(metric string) bool { return metric == score.Random }

// UsesBatch says that a metric depends on how sequences are put into batches.
func UsesBatch(metric string) bool { return needsGradients(metric) }
