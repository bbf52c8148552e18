package cli

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

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

type pruneOptions struct {
	dir       string
	name      string // the model's id on the hub, if it has one
	out       string
	layers    layerFlags
	by        string
	ranking   string
	count     int
	ratio     float64
	params    string
	protect   string
	iterative string
	dryRun    bool
	force     bool
	input     sequenceFlags
	engine    engineFlags

	given func(flag string) bool // on the command line
}

// How many layers go when nothing says so, and which.
const (
	defaultMetric = score.Reverse
	defaultRatio  = .25
)

func newPrune(a *app) *cobra.Command {
	var o pruneOptions
	c := &cobra.Command{
		Use:   "prune MODEL --out DIR",
		Short: "Write a smaller checkpoint without some of the layers",
		Long: `Write a checkpoint without some of a model's layers.

Which layers: --drop, --keep or --plan name them; or --by METRIC (default
reverse: the last ones) or --ranking FILE orders them, and --count, --ratio
(default .25, rounded down) or --params says how many go. --iterative STEP:TOTAL
drops STEP at a time and ranks what is left anew, until TOTAL are gone.

The plan is printed before anything is written; --dry-run stops there. The output
appears complete or not at all.`,
		Example: `  coppice prune ./model --dry-run
  coppice prune ./model --out smaller
  coppice prune ./model --by bi --data text.txt --count 8 --out smaller
  coppice prune ./model --drop 24-31 --out smaller --force`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.given, o.input.preset = args[0], c.Flags().Changed, true
			if err := o.input.check(c); err != nil {
				return err
			}
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	f := c.Flags()
	f.StringVar(&o.out, "out", "", "directory to write")
	o.layers.register(c)
	f.StringVar(&o.by, "by", defaultMetric, "metric that orders the layers, one of "+strings.Join(metricNames(), ", "))
	f.StringVar(&o.ranking, "ranking", "", "file that orders the layers, as score --json prints it (several in it: --by picks one)")
	f.IntVar(&o.count, "count", 0, "number of layers to drop")
	f.Float64Var(&o.ratio, "ratio", defaultRatio, "share of the layers to drop, rounded down")
	f.StringVar(&o.params, "params", "", "drop layers until at most this many parameters are left, such as 6.3B")
	f.StringVar(&o.protect, "protect", "", "layers that are never dropped, such as 0-3,30-31")
	f.StringVar(&o.iterative, "iterative", "", "STEP:TOTAL, drop STEP layers at a time and rank anew")
	f.BoolVar(&o.dryRun, "dry-run", false, "print the plan and write nothing")
	f.BoolVar(&o.force, "force", false, "replace an output that exists")
	nonEmpty(c, "out", "by", "ranking", "params", "protect", "iterative")
	o.input.register(c)
	o.engine.register(c)
	for _, named := range []string{"drop", "keep", "plan"} {
		for _, other := range []string{"by", "ranking", "count", "ratio", "params", "protect", "iterative", "tokens", "data"} {
			exclusive(c, named, other)
		}
	}
	exclusive(c, "count", "ratio", "params", "iterative")
	exclusive(c, "ranking", "iterative")
	exclusive(c, "ranking", "tokens")
	exclusive(c, "ranking", "data")
	exclusive(c, "dry-run", "force")
	return c
}

func (o pruneOptions) run(ctx context.Context, a *app) error {
	needsData, err := o.check()
	if err != nil {
		return err
	}
	o.warnOfUnused(a, needsData)
	if isRemote(o.dir) {
		// Before anything is downloaded.
		if err := o.checkOut(); err != nil {
			return err
		}
	}
	o.name = modelName(o.dir)
	if o.dir, err = a.findModel(ctx, o.dir, hub.NeedAll); err != nil {
		return err
	}
	s, err := openModel(o.dir)
	if err != nil {
		return err
	}
	defer s.close()
	if err := o.checkOut(); err != nil {
		return err
	}
	if len(needsData) == 0 {
		s.warnOfFiles(a)
	}
	plan, err := o.plan(ctx, a, s, needsData)
	if err != nil {
		return err
	}
	if err := plan.Measure(s.c); err != nil {
		return err
	}
	if err := stillWork(printPlan(a, plan)); err != nil {
		return err
	}
	if note := s.m.Spec.PruneNote(plan.Keep); note != "" {
		a.warn("%s", note)
	}
	if o.dryRun {
		return nil
	}
	return o.write(ctx, a, s, plan)
}

// stillWork: that nobody reads the plan is no reason not to write.
func stillWork(err error) error {
	if errors.Is(err, errClosedOutput) {
		return nil
	}
	return err
}

// check finds what can be wrong before any file is opened.
func (o pruneOptions) check() (needsData []string, err error) {
	if o.out == "" && !o.dryRun {
		return nil, usage("prune: where to?").withHint("pass --out DIR, or --dry-run to see the plan only")
	}
	if err := o.engine.check(); err != nil {
		return nil, err
	}
	if o.given("count") && o.count < 1 {
		return nil, usage("--count %d: want at least 1", o.count)
	}
	if o.given("ratio") && !(o.ratio > 0 && o.ratio < 1) {
		return nil, usage("--ratio %v: want a share between 0 and 1, such as .25", o.ratio)
	}
	if o.layers.given() || o.ranking != "" {
		return nil, nil
	}
	return checkMetrics("by", []string{o.by})
}

// warnOfUnused names flags that change nothing here.
func (o pruneOptions) warnOfUnused(a *app, needsData []string) {
	if len(needsData) > 0 {
		return
	}
	warnOfData(a, []string{o.by}, o.input, o.given)
	warnOfUnused(a, "no layer is run", o.given, engineFlagNames()...)
	if o.layers.given() || o.ranking != "" || o.by != score.Random {
		warnOfUnused(a, "nothing is drawn at random", o.given, "seed")
	}
}

// checkOut refuses early, before layers are scored for an output that cannot
// be written. Write looks again, and closer.
func (o pruneOptions) checkOut() error {
	if o.out == "" {
		return nil
	}
	in, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	out, err := filepath.Abs(o.out)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(in, out); err == nil && filepath.IsLocal(rel) {
		return fmt.Errorf("--out %s lies in %s: %w", o.out, o.dir, checkpoint.ErrInside)
	}
	_, err = os.Lstat(o.out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && !o.force:
		return fmt.Errorf("%s: %w", o.out, checkpoint.ErrExists)
	}
	return err
}

// plan decides which layers go.
func (o pruneOptions) plan(ctx context.Context, a *app, s *session, needsData []string) (prune.Plan, error) {
	spec := s.m.Spec
	if o.layers.given() {
		return o.layers.choose(spec)
	}
	protect, err := parseProtect(o.protect, spec.Layers)
	if err != nil {
		return prune.Plan{}, err
	}
	rounds, err := o.rounds(spec)
	if err != nil {
		return prune.Plan{}, err
	}
	if total := sum(rounds); total >= spec.Layers {
		return prune.Plan{}, usage("cannot drop %d of %d layers", total, spec.Layers).withHint("keep at least one")
	} else if total > spec.Layers-len(protect) {
		return prune.Plan{}, usage("cannot drop %d layers: only %d of %d are not protected", total, spec.Layers-len(protect), spec.Layers)
	}
	if o.ranking != "" {
		return o.byRanking(spec, protect, rounds[0])
	}
	sc, err := newScorer(ctx, a, s, o.input, o.engine, needsData)
	if err != nil {
		return prune.Plan{}, err
	}
	defer sc.close()
	return o.byMetric(ctx, sc, protect, rounds)
}

// rounds says how many layers go, a round at a time.
func (o pruneOptions) rounds(spec *model.Spec) ([]int, error) {
	switch {
	case o.iterative != "":
		schedule, err := prune.ParseSchedule(o.iterative)
		if err != nil {
			return nil, usage("--iterative: %w", err)
		}
		return schedule.Rounds(), nil
	case o.given("count"):
		return []int{o.count}, nil
	case o.params != "":
		target, err := prune.ParseParameters(o.params)
		if err != nil {
			return nil, usage("--params: %w", err)
		}
		n, err := prune.CountForParameters(spec, target)
		if err != nil {
			return nil, usage("--params %s: %w", o.params, err)
		}
		return []int{n}, nil
	}
	n, err := prune.CountForRatio(spec.Layers, o.ratio)
	if err != nil {
		return nil, usage("--ratio: %w", err).withHint("or say how many with --count")
	}
	return []int{n}, nil
}

func sum(ns []int) (total int) {
	for _, n := range ns {
		total += n
	}
	return total
}

// byMetric ranks, drops, and ranks what is left again.
func (o pruneOptions) byMetric(ctx context.Context, sc *scorer, protect, rounds []int) (prune.Plan, error) {
	spec := sc.s.m.Spec
	var drop, keep []int // keep nil: the whole model
	for i, n := range rounds {
		sc.opt.Block, sc.opt.Rounds = n, n
		rankings, err := sc.rank(ctx, []string{o.by}, keep, protect)
		if err != nil {
			return prune.Plan{}, err
		}
		next, err := prune.Select(rankings[0].Order, protect, n)
		if err != nil {
			return prune.Plan{}, err
		}
		if len(rounds) > 1 {
			sc.a.note("round %d of %d drops %s", i+1, len(rounds), report.FormatLayers(next))
		}
		drop = append(drop, next...)
		keep = prune.Complement(drop, spec.Layers)
	}
	return prune.New(spec, drop, o.source())
}

// source says where the choice comes from.
func (o pruneOptions) source() string {
	text := o.by
	switch {
	case runsModel(o.by):
		text += " on " + o.input.describe()
	case o.by == score.Random:
		text += fmt.Sprintf(" with seed %d", o.input.seed)
	}
	switch {
	case o.iterative != "":
		text += ", iterative " + o.iterative
	case o.given("count"):
		text += fmt.Sprintf(", count %d", o.count)
	case o.params != "":
		text += ", params " + o.params
	default:
		text += fmt.Sprintf(", ratio %v", o.ratio)
	}
	if o.protect != "" {
		text += ", protecting " + o.protect
	}
	return text
}

// byRanking takes the order from a file.
func (o pruneOptions) byRanking(spec *model.Spec, protect []int, n int) (prune.Plan, error) {
	r, err := o.readRanking()
	if err != nil {
		return prune.Plan{}, err
	}
	if len(r.Scores) != spec.Layers {
		return prune.Plan{}, fmt.Errorf("%s ranks %d layers, and this model has %d", o.ranking, len(r.Scores), spec.Layers)
	}
	drop, err := prune.Select(r.Order, slices.Concat(protect, r.Protected), n)
	if err != nil {
		return prune.Plan{}, usage("--ranking %s: %w", o.ranking, err)
	}
	return prune.New(spec, drop, fmt.Sprintf("%s of %s, %d layers", r.Metric, o.ranking, n))
}

func (o pruneOptions) readRanking() (report.Ranking, error) {
	rankings, err := report.ReadRankings(o.ranking)
	if err != nil {
		return report.Ranking{}, err
	}
	var names []string
	for _, r := range rankings {
		if o.given("by") && r.Metric == o.by {
			return r, nil
		}
		names = append(names, r.Metric)
	}
	switch {
	case o.given("by"):
		return report.Ranking{}, usage("--by %s: %s holds rankings by %s", o.by, o.ranking, strings.Join(names, ", "))
	case len(rankings) > 1:
		return report.Ranking{}, usage("--ranking %s holds rankings by %s", o.ranking, strings.Join(names, ", ")).withHint("pick one with --by")
	}
	return rankings[0], nil
}

func printPlan(a *app, p prune.Plan) error {
	if a.json {
		return a.line(report.Plan{
			Layers: p.Layers, Keep: p.Keep, Drop: p.Drop,
			Parameters: p.Parameters, ParametersBefore: p.ParametersBefore,
			Bytes: p.Bytes, BytesBefore: p.BytesBefore, Source: p.Source,
		})
	}
	t := &report.Table{Header: []string{"", "before", "after", "layers"}}
	t.Add(report.String("keep"), report.Int(p.Layers), report.Int(len(p.Keep)), report.Layers(p.Keep))
	t.Add(report.String("drop"), report.Int(0), report.Int(len(p.Drop)), report.Layers(p.Drop))
	t.Add(report.String("parameters"), report.Count(p.ParametersBefore), report.Count(p.Parameters), report.String(""))
	t.Add(report.String("bytes"), report.Bytes(p.BytesBefore), report.Bytes(p.Bytes), report.String(""))
	if err := a.table(t); err != nil {
		return err
	}
	a.note("by %s", p.Source)
	return nil
}

func (o pruneOptions) write(ctx context.Context, a *app, s *session, plan prune.Plan) error {
	start := time.Now()
	written, err := prune.Write(ctx, s.c, s.m.Spec, plan, o.out, prune.Options{
		Force: o.force, Progress: a.byteProgress("writing"), Version: version().Version, SourceName: o.name,
	})
	a.stopProgress()
	if err != nil {
		return err
	}
	l := report.Written{Path: written.Path, Bytes: written.Bytes, Seconds: seconds(start)}
	if a.json {
		return stillWork(a.line(l))
	}
	a.note("wrote %s (%s)", l.Path, report.FormatBytes(l.Bytes))
	return nil
}
