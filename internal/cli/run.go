package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/internal/sapling"
	"github.com/coppice-ml/coppice/internal/shell"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/page"
	"github.com/coppice-ml/coppice/run"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

type runOptions struct {
	recipe, out, only, init string
	set                     []string
	parallel                int
	budget                  time.Duration
	dryRun, list            bool
}

func newRun(a *app) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [MODEL…] [--recipe NAME|FILE]",
		Short: "Score, prune, heal and measure, as a recipe says",
		Long: `Run a recipe: without one, the guide of "Reassessing Layer Pruning in LLMs", which
drops the last quarter of the layers, tunes the head and the last three on Alpaca,
and measures the model dense, cut and healed. --list shows the recipes that ship,
--init NAME writes one to a file to change; a MODEL that ends in .yaml is a recipe.

Everything lies in the directory --out, which is all the state there is: the same
command does what is missing or has changed, and says why, a line a stage. What
trials have in common is done once. A stage that fails leaves the others going (exit
code 3). coppice export RUN/TRIAL --out DIR writes a trial's checkpoint.

--dry-run reads configs and tokenizers alone, and says what would be done, what it
shares, and about what it takes in time, disk and memory. --budget 8h asks fewer
documents and then trains on fewer rows, until the estimate fits; results say so.`,
		Example: `  coppice run meta-llama/Llama-3.1-8B-Instruct
  coppice run ./model --dry-run
  coppice run ./model --set heal.lr=1e-4 --set prune.count=4 --out try
  coppice run --recipe metrics --only 'llama*/bi' --budget 8h
  coppice run mine.yaml --parallel 2
  coppice run --init metrics`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), a, args) },
	}
	a.workFlags(c)
	a.yesFlag(c)
	f := c.Flags()
	f.StringVar(&o.recipe, "recipe", "", "one that ships, or a .yaml file (default guide)")
	f.StringArrayVar(&o.set, "set", nil, "KEY=VALUE of the recipe, such as heal.lr=1e-4; may be repeated")
	f.StringVar(&o.only, "only", "", "trials whose names, or their beginnings, match, such as 'llama*/bi'")
	f.StringVar(&o.out, "out", "", "the run directory (default runs/RECIPE, with one model runs/RECIPE-MODEL)")
	f.IntVar(&o.parallel, "parallel", 1, "calls that work side by side, each with its share of threads and memory, and where there are several a GPU")
	f.DurationVar(&o.budget, "budget", 0, "most time that the run may take by its estimate, such as 8h")
	f.BoolVar(&o.dryRun, "dry-run", false, "say what would be done, and do nothing")
	f.BoolVar(&o.list, "list", false, "list the recipes that ship")
	f.StringVar(&o.init, "init", "", "write a recipe that ships to NAME.yaml here, with its comments")
	nonEmpty(c, "recipe", "only", "out", "init")
	exclusive(c, "dry-run", "list", "init")
	return c
}

func (o runOptions) run(ctx context.Context, a *app, args []string) error {
	switch {
	case o.list:
		return listRecipes(a)
	case o.init != "":
		return initRecipe(a, o.init)
	case o.parallel < 1:
		return usage("--parallel %d: want at least 1", o.parallel)
	}
	opt, err := o.options(a, args)
	if err != nil {
		return runError(err)
	}
	return runError(o.do(ctx, a, opt))
}

// options reads the recipe with what the command line changes.
func (o runOptions) options(a *app, args []string) (run.Options, error) {
	name, models := o.recipe, []string{}
	for _, arg := range args {
		if !run.IsFile(arg) {
			models = append(models, arg)
		} else if name != "" {
			return run.Options{}, usage("%s and %s: two recipes", name, arg).withHint("give one of them")
		} else {
			name = arg
		}
	}
	if name == "" {
		name = "guide"
	}
	l, err := run.Load(name)
	if err != nil {
		return run.Options{}, err
	}
	var changes []run.Change
	for _, text := range o.set {
		c, err := run.ParseChange(text)
		if err != nil {
			return run.Options{}, err
		}
		changes = append(changes, c)
	}
	if l, err = l.With(models, changes); err != nil {
		return run.Options{}, err
	}
	opt := run.Options{
		Embedded: sapling.Make,
		Recipe:   l, Out: o.out, Only: o.only, Parallel: o.parallel, Budget: o.budget,
		Command: append([]string{"coppice", "run"}, commandLine(o, args)...), Tell: a.tellStage,
	}
	if opt.Out == "" {
		opt.Out = filepath.Join("runs", l.DirName())
	}
	return opt, nil
}

// commandLine is what makes a run again.
func commandLine(o runOptions, args []string) []string {
	line := append([]string{}, args...)
	if o.recipe != "" {
		line = append(line, "--recipe", o.recipe)
	}
	for _, s := range o.set {
		line = append(line, "--set", s)
	}
	if o.only != "" {
		line = append(line, "--only", o.only)
	}
	if o.budget > 0 {
		line = append(line, "--budget", o.budget.String())
	}
	return line
}

func (o runOptions) do(ctx context.Context, a *app, opt run.Options) error {
	p, err := run.Prepare(ctx, a.env(), opt)
	if err != nil {
		return err
	}
	if o.dryRun {
		return a.planned(p)
	}
	for _, c := range p.Cuts {
		a.warn("budget: %s", c)
	}
	outcome, err := p.Do(ctx, a.env(), opt)
	if outcome == nil {
		return err
	}
	path, wrote := page.Report("", outcome.Dir)
	shown := a.summary(outcome, path)
	return cmp.Or(err, wrote, shown)
}

// summary is the end of a run, on one screen.
func (a *app) summary(o *run.Outcome, page string) error {
	if a.json {
		return nil
	}
	d, err := rundir.Open(o.Dir)
	if err != nil {
		return err
	}
	t, words, err := run.Summary(d)
	if err != nil {
		return err
	}
	if err := errors.Join(a.printf("\n"), a.tables(t, 3)); err != nil {
		return err
	}
	a.note("report: %s", page)
	for _, line := range words {
		a.note("%s", line)
	}
	if o.Done+o.Failed+o.Skipped == 0 {
		a.note("nothing to do: all of %s are done, in %s", report.Plural(o.Reused, "stage"), o.Dir)
		return nil
	}
	a.note("%s: %d done, %d used again, %d failed, %d left out", o.Dir, o.Done, o.Reused, o.Failed, o.Skipped)
	return nil
}

// tellStage prints a line a stage.
func (a *app) tellStage(s report.Stage) error {
	if a.json {
		return a.line(s)
	}
	trial := s.Trial
	if n := len(s.Trials); n > 1 {
		trial += fmt.Sprintf(" and %d more", n-1)
	}
	return a.printf("%-8s %s  %s  (%s)\n", s.State, trial, s.Stage, s.Because)
}

// runError gives errors of package run their hints and exit codes.
func runError(err error) error {
	var recipe *run.Error
	var partial *run.PartialError
	switch {
	case errors.As(err, &recipe):
		return usage("%w", err).withHint("%s", recipe.Remedy)
	case errors.As(err, &partial):
		return &hinted{err: err, kind: stage.ErrPartial, hint: partial.Remedy}
	case errors.Is(err, run.ErrLocked):
		return failed("%w", err).withHint("wait for it, or name another --out; an owner that is not heard of for two minutes is taken over")
	}
	return err
}

func listRecipes(a *app) error {
	t := &report.Table{Header: []string{"recipe", "what"}}
	for _, name := range run.Shipped() {
		l, err := run.Load(name)
		if err != nil {
			return err
		}
		if a.json {
			if err := a.line(report.Recipe{Name: name, About: l.Recipe.About}); err != nil {
				return err
			}
		}
		t.Add(report.Cell{Text: name, Plain: name}, report.Cell{Text: l.Recipe.About, Plain: l.Recipe.About})
	}
	if a.json {
		return nil
	}
	return a.table(t)
}

// initRecipe writes a recipe that ships to a new file.
func initRecipe(a *app, name string) error {
	raw, err := run.Text(name)
	if err != nil {
		return runError(err)
	}
	path := name + ".yaml"
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return failed("%s exists", path).withHint("remove it, or work in another directory")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Close()); err == nil {
		a.note("wrote %s; run it with `coppice run %s`", path, shell.Quote(path))
	}
	return err
}

// exportTrial writes the checkpoint of a trial of a run; handled is false where the
// argument names none.
func exportTrial(ctx context.Context, a *app, arg, out string, force bool) (handled bool, err error) {
	if _, _, err := run.FindTrial(arg); err != nil {
		return false, nil
	}
	if out == "" {
		return true, usage("export %s: where should the checkpoint go?", arg).withHint("pass --out DIR")
	}
	written, err := run.Export(ctx, a.env(), arg, out, force)
	if err != nil {
		return true, runError(err)
	}
	if a.json {
		return true, a.line(written)
	}
	a.note("wrote %s (%s)", written.Path, report.FormatBytes(written.Bytes))
	return true, nil
}

// planned prints what a run would do.
func (a *app) planned(p *run.Plan) error {
	lines := p.Lines()
	if a.json {
		return a.lines(lines)
	}
	trials, all := report.PlanOf(lines)
	if err := a.table(trials); err != nil {
		return err
	}
	return a.printf("\n%s", all)
}
