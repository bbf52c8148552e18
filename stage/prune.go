package stage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
	"github.com/coppice-ml/coppice/tokenizer"
)

// How many layers go when nothing says so, and which.
const (
	DefaultMetric = score.Reverse
	DefaultRatio  = .25
)

// Prune writes a checkpoint without some of a model's layers.
type Prune struct {
	Model     string  `yaml:"model"`
	Out       string  `yaml:"out"`       // directory to write
	By        string  `yaml:"by"`        // metric that orders the layers; "": DefaultMetric
	Ranking   string  `yaml:"ranking"`   // file that orders the layers; with several rankings in it By picks one
	Count     int     `yaml:"count"`     // layers to drop
	Ratio     float64 `yaml:"ratio"`     // share of the layers to drop, rounded down; 0: DefaultRatio
	Params    string  `yaml:"params"`    // drop layers until at most this many parameters are left, such as 6.3B
	Protect   string  `yaml:"protect"`   // layers that are never dropped
	Iterative string  `yaml:"iterative"` // STEP:TOTAL, drop STEP layers at a time and rank anew
	DryRun    bool    `yaml:"dry_run"`   // plan, and write nothing
	Force     bool    `yaml:"force"`     // replace an output that exists
	Layers    `yaml:",inline"`
	Data      `yaml:",inline"`
	Engine    `yaml:",inline"`
}

// DefaultPrune has every field that is not given.
func DefaultPrune() Prune { return Prune{Data: DefaultData()} }

// by is the metric that orders the layers, where one does.
func (p Prune) by() string {
	if p.By == "" {
		return DefaultMetric
	}
	return p.By
}

// runsModel says that layers are ranked by running the model.
func (p Prune) runsModel() bool {
	return !p.Layers.Given() && p.Ranking == "" && RunsModel(p.by())
}

// Check finds what can be wrong before any file is opened.
func (p Prune) Check() error {
	if p.Out == "" && !p.DryRun {
		return wrong("prune: where to?").with("pass {out} DIR, or {dry_run} to see the plan only")
	}
	if err := p.Data.Check(); err != nil {
		return err
	}
	if err := p.Engine.Check(); err != nil {
		return err
	}
	if p.Count < 0 {
		return wrong("{count} %d: want at least 1", p.Count)
	}
	if p.Ratio != 0 && !(p.Ratio > 0 && p.Ratio < 1) {
		return wrong("{ratio} %v: want a share between 0 and 1, such as .25", p.Ratio)
	}
	if p.Layers.Given() || p.Ranking != "" {
		return nil
	}
	return checkMetrics("by", []string{p.by()})
}

// Unused lists the fields that change nothing here, given or not.
func (p Prune) Unused() []Unused {
	if p.runsModel() {
		return nil
	}
	return noModel(p.Data, p.by(), !p.Layers.Given() && p.Ranking == "" && p.by() == score.Random)
}

// Run plans, tells the plan to planned, and then writes the checkpoint unless
// DryRun is set; written is nil then.
func (p Prune) Run(ctx context.Context, env Env, planned func(report.Plan) error) (written *report.Written, err error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if isRemote(p.Model) { // before anything is downloaded
		if err := p.checkOut(p.Model); err != nil {
			return nil, err
		}
	}
	s, err := Open(ctx, env, p.Model, Layers{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := p.checkOut(s.Checkpoint.Dir()); err != nil {
		return nil, err
	}
	plan, err := p.plan(ctx, env, s)
	if err != nil {
		return nil, err
	}
	if err := plan.Measure(s.Checkpoint); err != nil {
		return nil, err
	}
	if err := planned(planLine(plan)); err != nil {
		return nil, err
	}
	if note := s.Model.Spec.PruneNote(plan.Keep); note != "" {
		env.Talk.Warn("%s", note)
	}
	if err := checkTokenizer(s.Checkpoint.Dir(), s.Model.Spec); err != nil && !errors.Is(err, tokenizer.ErrNone) {
		env.Talk.Warn("%v", err)
	}
	if p.DryRun {
		return nil, nil
	}
	return p.write(ctx, env, s, plan)
}

// write writes the checkpoint that is left.
func (p Prune) write(ctx context.Context, env Env, s *Session, plan prune.Plan) (*report.Written, error) {
	start := time.Now()
	tell, end := env.Talk.Progress("writing", Bytes)
	defer end()
	written, err := prune.Write(ctx, s.Checkpoint, s.Model.Spec, plan, p.Out, prune.Options{
		Force: p.Force || isEmpty(p.Out), Progress: tell, Version: env.Version, SourceName: modelName(p.Model),
	})
	if err != nil {
		return nil, err
	}
	return &report.Written{Path: written.Path, Bytes: written.Bytes, Seconds: seconds(start)}, nil
}

// checkOut refuses early, before layers are scored for an output that cannot
// be written. Write looks again, and closer.
func (p Prune) checkOut(dir string) error {
	if p.Out == "" {
		return nil
	}
	in, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	out, err := filepath.Abs(p.Out)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(in, out); err == nil && filepath.IsLocal(rel) {
		return failed("{out} %s lies in %s: %w", p.Out, dir, checkpoint.ErrInside)
	}
	_, err = os.Lstat(p.Out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := tryWriting(existing(out)); err != nil {
			return failed("{out} %s: %w", p.Out, err)
		}
		return nil
	case err == nil && !p.Force && !isEmpty(p.Out):
		return fmt.Errorf("%s: %w", p.Out, checkpoint.ErrExists)
	case err == nil && p.Force:
		if err := checkpoint.CheckReplaceable(p.Out); err != nil {
			return fmt.Errorf("%s: %w", p.Out, err)
		}
		return nil
	}
	return err
}

// isEmpty says that a directory is there and holds nothing: what mktemp makes.
func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// plan decides which layers go.
func (p Prune) plan(ctx context.Context, env Env, s *Session) (prune.Plan, error) {
	spec := s.Model.Spec
	if p.Layers.Given() {
		plan, err := p.Layers.choose(spec)
		if err == nil {
			err = s.isFor(ctx, plan)
		}
		return plan, err
	}
	protect, err := parseProtect(p.Protect, spec.Layers)
	if err != nil {
		return prune.Plan{}, err
	}
	rounds, err := p.rounds(spec)
	if err != nil {
		return prune.Plan{}, err
	}
	if total := sum(rounds); total >= spec.Layers {
		return prune.Plan{}, wrong("cannot drop %d of %d layers", total, spec.Layers).with("keep at least one")
	} else if total > spec.Layers-len(protect) {
		return prune.Plan{}, wrong("cannot drop %d layers: only %d of %d are not protected", total, spec.Layers-len(protect), spec.Layers)
	}
	if p.Ranking != "" {
		return p.byRanking(spec, protect, rounds[0])
	}
	sc, err := newScorer(ctx, env, s, p.Data, p.Engine, p.runsModel())
	if err != nil {
		return prune.Plan{}, err
	}
	defer sc.close()
	if err := p.ask(ctx, sc, protect, rounds); err != nil {
		return prune.Plan{}, err
	}
	return p.byMetric(ctx, sc, protect, rounds)
}

// rounds says how many layers go, a round at a time.
func (p Prune) rounds(spec *model.Spec) ([]int, error) {
	if spec.Layers < 2 {
		return nil, wrong("the model has 1 layer, and none to spare").with("pruning takes a model of at least 2 layers")
	}
	switch {
	case p.Iterative != "":
		schedule, err := prune.ParseSchedule(p.Iterative)
		if err != nil {
			return nil, wrong("{iterative}: %w", err)
		}
		return schedule.Rounds(), nil
	case p.Count != 0:
		return []int{p.Count}, nil
	case p.Params != "":
		target, err := prune.ParseParameters(p.Params)
		if err != nil {
			return nil, wrong("{params}: %w", err)
		}
		n, err := prune.CountForParameters(spec, target)
		if err != nil {
			return nil, wrong("{params} %s: %w", p.Params, err)
		}
		return []int{n}, nil
	}
	n, err := prune.CountForRatio(spec.Layers, p.ratio())
	if err != nil {
		return nil, wrong("{ratio}: %w", err).with("or say how many with {count}")
	}
	return []int{n}, nil
}

func (p Prune) ratio() float64 {
	if p.Ratio == 0 {
		return DefaultRatio
	}
	return p.Ratio
}

func sum(ns []int) (total int) {
	for _, n := range ns {
		total += n
	}
	return total
}

// ask says what all rounds will take, before they start, and asks about long work.
// Which layers a round drops is not known yet; those counted cost as much.
func (p Prune) ask(ctx context.Context, sc *scorer, protect, rounds []int) error {
	if sc.Runner == nil {
		return nil
	}
	free := slices.DeleteFunc(span(0, sc.Model.Spec.Layers), func(l int) bool { return slices.Contains(protect, l) })
	var all forest.Cost
	gone := 0
	for _, n := range rounds {
		var keep []int
		if gone > 0 {
			keep = prune.Complement(free[:gone], sc.Model.Spec.Layers)
		}
		sc.opt.Block, sc.opt.Rounds = n, n
		priced, err := sc.price([]string{p.by()}, keep, protect)
		if err != nil {
			return err
		}
		for _, c := range priced.Costs() {
			all.Add(c.Forest)
		}
		gone += n
	}
	what := p.by()
	if n := len(rounds); n > 1 {
		what += fmt.Sprintf(" in %d rounds", n)
	}
	sc.explain(what, all)
	if all.Passes == 0 {
		return nil
	}
	return sc.consent(ctx, what, all, sc.opt.Sequences)
}

// byMetric ranks, drops, and ranks what is left again.
func (p Prune) byMetric(ctx context.Context, sc *scorer, protect, rounds []int) (prune.Plan, error) {
	spec := sc.Model.Spec
	var drop, keep []int // keep nil: the whole model
	var last score.Ranking
	for i, n := range rounds {
		sc.opt.Block, sc.opt.Rounds = n, n
		rankings, err := sc.rank(ctx, []string{p.by()}, keep, protect)
		if err != nil {
			return prune.Plan{}, err
		}
		last = rankings[0]
		next, err := prune.Select(last.Order, protect, n)
		if err != nil {
			return prune.Plan{}, err
		}
		if len(rounds) > 1 {
			sc.env.Talk.Note("round %d of %d drops %s", i+1, len(rounds), report.FormatLayers(next))
		}
		drop = append(drop, next...)
		keep = prune.Complement(drop, spec.Layers)
	}
	plan, err := prune.New(spec, drop, p.source())
	plan.Metric = p.by()
	if len(rounds) == 1 && len(last.Scores) == spec.Layers {
		plan.Scores = prune.ScoresOf(last.Scores)
	}
	if sc.data != nil {
		plan.Data, plan.DataHash = sc.data.Source, sc.data.SHA256
	}
	return plan, err
}

// source says where the choice comes from.
func (p Prune) source() string {
	text := p.by()
	switch {
	case RunsModel(text):
		text += " on " + p.Data.describe()
	case text == score.Random:
		text += fmt.Sprintf(" with seed %d", p.Data.Seed)
	}
	switch {
	case p.Iterative != "":
		text += ", iterative " + p.Iterative
	case p.Count != 0:
		text += fmt.Sprintf(", count %d", p.Count)
	case p.Params != "":
		text += ", params " + p.Params
	default:
		text += fmt.Sprintf(", ratio %v", p.ratio())
	}
	if p.Protect != "" {
		text += ", protecting " + p.Protect
	}
	return text
}

// byRanking takes the order from a file.
func (p Prune) byRanking(spec *model.Spec, protect []int, n int) (prune.Plan, error) {
	r, err := p.readRanking()
	if err != nil {
		return prune.Plan{}, err
	}
	if len(r.Scores) != spec.Layers {
		return prune.Plan{}, fmt.Errorf("%s ranks %d layers, and this model has %d", p.Ranking, len(r.Scores), spec.Layers)
	}
	drop, err := prune.Select(r.Order, slices.Concat(protect, r.Protected), n)
	if err != nil {
		return prune.Plan{}, wrong("{ranking} %s: %w", p.Ranking, err)
	}
	plan, err := prune.New(spec, drop, fmt.Sprintf("%s of %s, %d layers", r.Metric, p.Ranking, n))
	plan.Metric = r.Metric
	for _, v := range r.Scores {
		plan.Scores = append(plan.Scores, prune.Score(v))
	}
	return plan, err
}

func (p Prune) readRanking() (report.Ranking, error) {
	rankings, err := report.ReadRankings(p.Ranking)
	if errors.Is(err, fs.ErrNotExist) {
		return report.Ranking{}, failed("{ranking} %s: there is no such file", p.Ranking).with("`coppice score MODEL --json` prints rankings for it")
	}
	if err != nil {
		return report.Ranking{}, err
	}
	var names []string
	for _, r := range rankings {
		if r.Metric == p.By {
			return r, nil
		}
		names = append(names, r.Metric)
	}
	switch {
	case p.By != "":
		return report.Ranking{}, wrong("{by} %s: %s holds rankings by %s", p.By, p.Ranking, strings.Join(names, ", "))
	case len(rankings) > 1:
		return report.Ranking{}, wrong("{ranking} %s holds rankings by %s", p.Ranking, strings.Join(names, ", ")).with("pick one with {by}")
	}
	return rankings[0], nil
}
