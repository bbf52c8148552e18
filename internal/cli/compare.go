package cli

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newCompare(a *app) *cobra.Command {
	o := stage.DefaultCompare()
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
			return cmp.Or(printDifferences(a, lines), err)
		},
	}
	a.outputFlags(c)
	c.Flags().StringVar(&o.Metric, "metric", "", "this metric only, such as acc")
	c.Flags().IntVar(&o.Resamples, "resamples", 10000, "draws of the bootstrap")
	c.Flags().Uint64Var(&o.Seed, "seed", 42, "seed of the bootstrap")
	c.Flags().BoolVar(&o.FailIfWorse, "fail-if-worse", false, "exit with code 4 when B is worse than A in a metric, beyond chance")
	nonEmpty(c, "metric")
	return c
}

func printDifferences(a *app, lines []report.Difference) error {
	t := &report.Table{Header: []string{"task", "metric", "A", "B", "difference", "low", "high", "p"}}
	for _, l := range lines {
		if a.json {
			if err := a.line(l); err != nil {
				return err
			}
			continue
		}
		t.Add(report.String(l.Task), report.String(l.Metric), report.Float(l.A), report.Float(l.B), report.Float(l.Difference), report.Float(l.Low), report.Float(l.High), report.Float(l.P))
	}
	if a.json {
		return nil
	}
	if err := a.table(t); err != nil {
		return err
	}
	for _, l := range lines {
		if err := a.printf("%s\n", l.Sentence); err != nil {
			return err
		}
	}
	return nil
}
