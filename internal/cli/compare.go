package cli

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newCompare(a *app) *cobra.Command {
	o := stage.DefaultCompare()
	all := false
	c := &cobra.Command{
		Use:   "compare A.json B.json",
		Short: "Say whether two results of eval differ by more than chance",
		Long: `Compare two files that "coppice eval --out" wrote, document by document: the
difference B - A of every metric they share, its 95 % confidence interval (paired
bootstrap), McNemar's exact test (of a mean over tasks, a permutation test), and a
sentence on whether the documents can tell the two models apart. Of many metrics
compared, one in twenty looks different by chance.`,
		Example: `  coppice compare full.json cut.json
  coppice compare full.json cut.json --metric acc --fail-if-worse`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usage("compare: two results are wanted, not %d", len(args)).withHint("%s", useLine(c))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			o.A, o.B = args[0], args[1]
			lines, err := o.Run(a.env())
			if lines == nil {
				return err
			}
			return cmp.Or(printDifferences(a, lines, all), err)
		},
	}
	a.outputFlags(c)
	allFlag(c, &all)
	c.Flags().StringVar(&o.Metric, "metric", "", "this metric only, such as acc")
	c.Flags().IntVar(&o.Resamples, "resamples", 10000, "draws of the bootstrap")
	c.Flags().Uint64Var(&o.Seed, "seed", 42, "seed of the bootstrap")
	c.Flags().BoolVar(&o.FailIfWorse, "fail-if-worse", false, "exit with code 4 when B is worse than A in a metric, beyond chance")
	nonEmpty(c, "metric")
	return c
}

func printDifferences(a *app, lines []report.Difference, all bool) error {
	if a.json {
		return jsonLines(a, lines)
	}
	entries := make([]entry, len(lines))
	for i, l := range lines {
		entries[i] = entry{l.Task, l.Members}
	}
	o := outline(entries, all)
	t := &report.Table{Header: []string{"task", "metric", "A", "B", "difference", "low", "high", "p"}}
	if a.terminal {
		t.Header[4] = "B - A"
	}
	for _, i := range o.rows {
		if o.apart(i) {
			t.Rule()
		}
		l := lines[i]
		t.Add(report.String(l.Task), report.String(l.Metric), report.Rounded(l.A, "%.4g"), report.Rounded(l.B, "%.4g"),
			report.Rounded(l.Difference, "%+.4f"), report.Rounded(l.Low, "%+.4f"), report.Rounded(l.High, "%+.4f"), report.Rounded(l.P, "%.3f"))
	}
	if err := a.table(t); err != nil {
		return err
	}
	verdicts := o.rows
	if o.left > 0 && len(o.last) > 0 { // of what was asked for
		verdicts = o.last
	}
	for n, i := range verdicts {
		text := lines[i].Sentence
		if a.terminal {
			text = wrap(text, a.columns(), "  ")
			if n == 0 {
				text = "\n" + text
			}
		}
		if err := a.printf("%s\n", text); err != nil {
			return err
		}
	}
	a.noteLeft(o)
	return nil
}
