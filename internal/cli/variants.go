package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newVariants(a *app) *cobra.Command {
	o := stage.DefaultVariants()
	c := &cobra.Command{
		Use:   "variants MODEL --plans FILE,… (--tokens FILE | --data FILE)",
		Short: "Many prunings side by side",
		Long: `Measure many prunings of a model side by side: those of plan files, as prune
writes them, after the whole model. None is written; all of them run in one pass, and what they
share is computed once.`,
		Example: "  coppice variants ./model --plans a.json,b.json --data text.txt",
		Args:    modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.Model = args[0]
			return runVariants(c.Context(), a, o)
		},
	}
	a.workFlags(c)
	c.Flags().StringSliceVar(&o.Plans, "plans", nil, "plan files, separated by commas")
	a.yesFlag(c)
	dataFlags(c, &o.Data, true)
	engineFlags(c, &o.Engine)
	return c
}

func runVariants(ctx context.Context, a *app, o stage.Variants) error {
	lines, err := o.Run(ctx, a.env())
	if err != nil {
		return err
	}
	t := &report.Table{Header: []string{"plan", "dropped", "loss", "perplexity", "parameters", "MACs/token"}}
	for _, v := range lines {
		if a.json {
			if err := a.line(v); err != nil {
				return err
			}
			continue
		}
		name := v.Plan
		if name == "" {
			name = "(the whole model)"
		}
		t.Add(report.String(name), report.Layers(v.Drop), report.Float(v.Loss), report.Float(v.Perplexity), report.Count(v.Parameters), report.Count(v.MACsPerToken))
	}
	if a.json {
		return nil
	}
	return a.table(t)
}
