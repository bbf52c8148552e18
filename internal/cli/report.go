package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/page"
	"github.com/coppice-ml/coppice/run/rundir"
)

func newReport(a *app) *cobra.Command {
	out := ""
	c := &cobra.Command{
		Use:   "report RUN[/TRIAL]…",
		Short: "Write a run as a page: what was cut, what it cost, what came back",
		Long: `Write what runs came to: report.html, a page that is all in one file and asks for
nothing, report.md, report.tex (tables for a paper, with booktabs) and results.csv (a
row for every number). ` + "`coppice run`" + ` does this at its end; this command does it again,
of a run at work too, of one trial, or of several runs side by side.

Differences are paired, document by document, with 95 % intervals; where there are
several, p values are corrected by Holm's method. Results at chance are marked.`,
		Example: `  coppice report runs/sapling
  coppice report runs/healing/llama/+last3 --out last3
  coppice report runs/metrics runs/metrics-half --out both`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("report: which run?").withHint("%s", useLine(c))
			}
			if len(args) > 1 && out == "" {
				return usage("report: %d runs side by side need a directory of their own", len(args)).withHint("pass --out DIR")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := page.Report(out, args...)
			switch {
			case errors.Is(err, rundir.ErrNone):
				return failed("%w", err).withHint("name a directory that `coppice run` wrote")
			case err != nil:
				return err
			case a.json:
				return a.line(report.Written{Path: path})
			}
			return a.printf("%s\n", path)
		},
	}
	a.outputFlags(c)
	c.Flags().StringVar(&out, "out", "", "directory for the files (default the run, or the trial in it)")
	nonEmpty(c, "out")
	return c
}
