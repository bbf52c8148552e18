package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newSelfcheck(a *app) *cobra.Command {
	o := stage.DefaultSelfcheck()
	c := &cobra.Command{
		Use:   "selfcheck MODEL REF.json",
		Short: "Compare logits with those another program computed",
		Long: `Compare the model's logits with reference logits of the same weights, which
docs/reference.py of the source makes with transformers:

  python3 reference.py MODEL > ref.json
  coppice selfcheck MODEL ref.json

It computes in float32 unless --dtype says otherwise: bfloat16 alone moves logits
by much more than the default tolerance. Exits with 1 when the largest difference
is above the tolerance, after printing it.`,
		Example: `  python3 docs/reference.py ./model > ref.json && coppice selfcheck ./model ref.json
  coppice selfcheck ./model ref.json --dtype bfloat16 --tolerance 0.5`,
		Args: selfcheckArgs,
		RunE: func(c *cobra.Command, args []string) error {
			o.Model, o.Reference = args[0], args[1]
			l, err := o.Run(c.Context(), a.env())
			if l == nil {
				return err
			}
			return cmp.Or(printSelfcheck(a, l), err)
		},
	}
	a.workFlags(c)
	engineFlags(c, &o.Engine)
	c.Flags().Float64Var(&o.Tolerance, "tolerance", o.Tolerance, "largest difference of a logit that is taken for rounding")
	return c
}

func selfcheckArgs(c *cobra.Command, args []string) error {
	if len(args) != 2 {
		return usage("selfcheck takes a MODEL and a file of reference logits, not %s", report.Plural(len(args), "argument")).withHint("coppice selfcheck MODEL REF.json")
	}
	return nil
}

func printSelfcheck(a *app, l *report.Selfcheck) error {
	if a.json {
		return a.line(l)
	}
	t := &report.Table{Header: []string{"", ""}}
	add := func(name string, value report.Cell) {
		value.Right = false
		t.Add(report.String(name), value)
	}
	add("ok", report.String(yesNo(l.OK)))
	add("largest difference", report.Float(l.MaxError))
	add("mean difference", report.Float(l.MeanError))
	add("tolerance", report.Float(report.Number(l.Tolerance)))
	add("same likeliest token", report.Float(l.Greedy))
	add("positions", report.String(fmt.Sprintf("%d of %s", l.Positions, report.Plural(l.Sequences, "sequence"))))
	add("reference", report.String(l.Reference))
	add("reference dtype", report.String(l.RefDType))
	for _, name := range slices.Sorted(maps.Keys(l.Versions)) {
		add("reference "+name, report.String(l.Versions[name]))
	}
	return a.table(t)
}
