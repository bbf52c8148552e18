package stage

import (
	"context"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

// Score ranks the layers of a model by how little is lost without them.
type Score struct {
	Model   string           `yaml:"model"`
	Metrics []string         `yaml:"metric"`   // names, or all
	Protect string           `yaml:"protect"`  // layers that are never dropped, such as 0-3,30-31
	Batch   int              `yaml:"batch"`    // taylor, taylor-l2: sequences of a gradient batch
	Block   int              `yaml:"block"`    // angular: layers in a block; 0: a quarter of them
	Rounds  int              `yaml:"rounds"`   // greedy-ppl: layers to drop; 0: until one is left
	CKARows string           `yaml:"cka_rows"` // cka: what is compared, token or sequence
	Matrix  bool             `yaml:"matrix"`   // cka: compare every two depths, not only neighbours
	Layers  `yaml:",inline"` // a pruning to score in place of the whole model
	Data    `yaml:",inline"`
	Engine  `yaml:",inline"`
}

// DefaultScore has every field that is not given.
func DefaultScore() Score {
	return Score{Batch: 1, CKARows: string(score.RowsTokens), Matrix: true, Data: DefaultData()}
}

// Check finds what can be wrong before any file is opened, and spells out all.
func (s *Score) Check() error {
	if len(s.Metrics) == 0 {
		return wrong("score: by what?").with("pass {metric} with one or more of %s, or all", strings.Join(MetricNames(), ", "))
	}
	if slices.Equal(s.Metrics, []string{"all"}) {
		s.Metrics = MetricNames()
	}
	if err := checkMetrics("metric", s.Metrics); err != nil {
		return err
	}
	if s.Batch < 1 {
		return wrong("{batch} %d: want at least one sequence", s.Batch)
	}
	if s.Block < 0 || s.Rounds < 0 {
		return wrong("{block} %d {rounds} %d: want positive numbers", s.Block, s.Rounds)
	}
	if err := oneOf("cka_rows", s.CKARows, string(score.RowsTokens), string(score.RowsSequences)); err != nil {
		return err
	}
	if err := s.Data.Check(); err != nil {
		return err
	}
	return s.Engine.Check()
}

// Run gives a report.Ranking or report.Blocks for every metric.
func (s Score) Run(ctx context.Context, env Env) ([]report.Line, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	session, err := Open(ctx, env, s.Model, s.Layers)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	layers := session.Model.Spec.Layers
	protect, err := parseProtect(s.Protect, layers)
	if err != nil {
		return nil, err
	}
	if s.Block >= layers {
		return nil, wrong("{block} %d: want fewer than the model's %d layers", s.Block, layers)
	}
	sc, err := newScorer(ctx, env, session, s.Data, s.Engine, slices.ContainsFunc(s.Metrics, RunsModel))
	if err != nil {
		return nil, err
	}
	defer sc.close()
	sc.opt.Batch = s.Batch
	sc.opt.Block, sc.opt.Rounds, sc.opt.Rows, sc.opt.Matrix = s.Block, s.Rounds, score.Rows(s.CKARows), s.Matrix
	priced, err := sc.price(s.Metrics, session.Keep, protect)
	if err != nil {
		return nil, err
	}
	if err := sc.ask(ctx, s.Metrics, priced); err != nil {
		return nil, err
	}
	rankings, err := sc.run(ctx, priced)
	if err != nil {
		return nil, err
	}
	var lines []report.Line
	for _, r := range rankings {
		lines = append(lines, sc.line(r))
	}
	return lines, nil
}

// Metric is a way of scoring layers.
type Metric struct {
	Name, Summary string
	RunsModel     bool // on data
}

// Metrics are all metrics, in the order a help text should list them.
func Metrics() []Metric {
	var out []Metric
	for _, m := range score.Metrics() {
		out = append(out, Metric{Name: m.Name, Summary: m.Summary, RunsModel: m.NeedsData})
	}
	return out
}

// MetricNames are the names of all metrics.
func MetricNames() (names []string) {
	for _, m := range score.Metrics() {
		names = append(names, m.Name)
	}
	return names
}

// RunsModel reports whether a metric of this name runs the model on data.
func RunsModel(name string) bool {
	m, err := score.Lookup(name)
	return err == nil && m.NeedsData
}

// needsGradients reports whether a metric of this name goes backwards through the
// model.
func needsGradients(name string) bool {
	m, err := score.Lookup(name)
	return err == nil && m.Gradients
}

// Unused is a field that changes nothing beside the others, and why.
type Unused struct{ Field, Why string }

// Unused lists the fields that change nothing here, given or not.
func (s Score) Unused() (out []Unused) {
	if !slices.ContainsFunc(s.Metrics, RunsModel) {
		out = noModel(s.Data, strings.Join(s.Metrics, ", "), slices.Contains(s.Metrics, score.Random))
	}
	if !slices.ContainsFunc(s.Metrics, needsGradients) {
		out = append(out, Unused{"batch", score.Taylor + " is not asked for"})
	}
	for _, o := range []Unused{{"block", score.Angular}, {"rounds", score.GreedyPPL}, {"cka_rows", score.CKA}, {"matrix", score.CKA}} {
		if !slices.Contains(s.Metrics, o.Why) {
			out = append(out, Unused{o.Field, o.Why + " is not asked for"})
		}
	}
	return out
}

// noModel are the fields that change nothing where no model runs.
func noModel(d Data, by string, random bool) (out []Unused) {
	all := func(why string, fields ...string) {
		for _, f := range fields {
			out = append(out, Unused{f, why})
		}
	}
	if d.Given() {
		all(by+" looks at none", "tokens", "data")
	} else {
		all("no data is read", "field", "samples", "length", "add_bos", "tokens_out")
	}
	all("no layer is run", "device", "dtype", "threads", "memory", "device_memory")
	if !random {
		all("nothing is drawn at random", "seed")
	}
	return out
}

// checkMetrics wants names that exist, each once.
func checkMetrics(field string, names []string) error {
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return wrong("{"+field+"}: %s is named twice", name)
		}
		if err := oneOf(field, name, MetricNames()...); err != nil {
			return err
		}
	}
	return nil
}
