package cli

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

type pruneOptions struct {
	stage.Prune
	given *cobra.Command
}

func newPrune(a *app) *cobra.Command {
	o := pruneOptions{Prune: stage.DefaultPrune()}
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
			o.Model, o.given = args[0], c
			return o.run(c.Context(), a)
		},
	}
	a.workFlags(c)
	f := c.Flags()
	f.StringVar(&o.Out, "out", "", "directory to write")
	layerFlags(c, flagsNamed, &o.Layers)
	f.StringVar(&o.By, "by", "", "metric that orders the layers: "+strings.Join(stage.MetricNames(), ", "))
	f.Lookup("by").DefValue = stage.DefaultMetric
	f.StringVar(&o.Ranking, "ranking", "", "file that orders the layers, as score --json prints it (several in it: --by picks one)")
	f.IntVar(&o.Count, "count", 0, "number of layers to drop")
	o.Ratio = stage.DefaultRatio
	f.Var((*share)(&o.Ratio), "ratio", "share of the layers to drop, .25 or 25%, rounded down")
	f.StringVar(&o.Params, "params", "", "drop layers until at most this many parameters are left, such as 6.3B")
	f.StringVar(&o.Protect, "protect", "", "layers that are never dropped, such as 0-3,30-31")
	f.StringVar(&o.Iterative, "iterative", "", "STEP:TOTAL, drop STEP layers at a time and rank anew")
	f.BoolVar(&o.DryRun, "dry-run", false, "print the plan and write nothing")
	f.BoolVar(&o.Force, "force", false, "replace an output that exists")
	a.yesFlag(c)
	nonEmpty(c, "out", "by", "ranking", "params", "protect", "iterative")
	dataFlags(c, &o.Data, true)
	engineFlags(c, &o.Engine)
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
	if err := o.Check(); err != nil {
		return err
	}
	if err := atLeastOne(o.given, "count", o.Count); err != nil {
		return err
	}
	if o.given.Flags().Changed("ratio") && o.Ratio == 0 {
		return usage("--ratio %v: want a share between 0 and 1, such as .25", o.Ratio)
	}
	a.warnOfUnused(o.given, o.Unused())
	written, err := o.Run(ctx, a.env(), func(p report.Plan) error { return stillWork(printPlan(a, p)) })
	if err != nil || written == nil {
		return err
	}
	return stillWork(a.wrote(written))
}

// share is a flag's number between 0 and 1, which may be written in per cent.
type share float64

func (s *share) String() string { return strconv.FormatFloat(float64(*s), 'g', -1, 64) }

// Type is what help calls the value.
func (s *share) Type() string { return "share" }

func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil {
		return errors.New("want a share between 0 and 1, such as .25, or 25%")
	}
	if percent {
		v /= 100
	}
	*s = share(v)
	return nil
}

// stillWork: that nobody reads the plan is no reason not to write.
func stillWork(err error) error {
	if errors.Is(err, errClosedOutput) {
		return nil
	}
	return err
}

func printPlan(a *app, p report.Plan) error {
	if a.json {
		return a.line(p)
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
