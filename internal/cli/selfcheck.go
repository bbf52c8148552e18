package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/selfcheck"
	"github.com/coppice-ml/coppice/report"
)

type selfcheckOptions struct {
	dir, ref  string
	tolerance float64
	engine    engineFlags
}

func newSelfcheck(a *app) *cobra.Command {
	var o selfcheckOptions
	c := &cobra.Command{
		Use:   "selfcheck MODEL REF.json",
		Short: "Compare logits with those another program computed",
		Long: `Compare the model's logits with reference logits of the same weights, which
docs/reference.py of the source makes with transformers:

  python reference.py MODEL > ref.json
  coppice selfcheck MODEL ref.json

It computes in float32 unless --dtype says otherwise: bfloat16 alone moves logits
by much more than the default tolerance. Exits with 1 when the largest difference
is above the tolerance, after printing it.`,
		Example: `  python docs/reference.py ./model > ref.json && coppice selfcheck ./model ref.json
  coppice selfcheck ./model ref.json --dtype bfloat16 --tolerance 0.5`,
		Args: selfcheckArgs,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.ref = args[0], args[1]
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	o.engine.register(c)
	o.engine.dtype = "float32"
	c.Flags().Lookup("dtype").DefValue = o.engine.dtype
	c.Flags().Float64Var(&o.tolerance, "tolerance", .01, "largest difference of a logit that is taken for rounding")
	return c
}

func selfcheckArgs(c *cobra.Command, args []string) error {
	if len(args) != 2 {
		return usage("selfcheck takes a MODEL and a file of reference logits, not %s", plural(len(args), "argument")).withHint("coppice selfcheck MODEL REF.json")
	}
	return nil
}

func (o selfcheckOptions) run(ctx context.Context, a *app) error {
	if err := o.engine.check(); err != nil {
		return err
	}
	if !(o.tolerance > 0) {
		return usage("--tolerance %v: want a positive number", o.tolerance)
	}
	dir, err := a.findModel(ctx, o.dir, hub.NeedAll)
	if err != nil {
		return err
	}
	o.dir = dir
	s, err := openModel(o.dir)
	if err != nil {
		return err
	}
	defer s.close()
	ref, err := selfcheck.Read(o.ref, s.m.Spec.Vocab)
	if err != nil {
		return err
	}
	if ref.DType != "float32" {
		a.warn("%s was computed in %q: its own rounding is part of the difference", o.ref, ref.DType)
	}
	if err := s.start(a, o.engine, a.progress("logits")); err != nil {
		return err
	}
	got, err := selfcheck.Run(ctx, s.run, ref)
	a.stopProgress()
	if err != nil {
		return err
	}
	l := report.Selfcheck{
		MaxError: report.Number(got.MaxError), MeanError: report.Number(got.MeanError), Tolerance: o.tolerance, Greedy: report.Number(got.Greedy),
		OK: got.MaxError <= o.tolerance, Sequences: len(ref.Sequences), Positions: got.Rows,
		Reference: ref.Model, RefDType: ref.DType, Versions: ref.Versions, Compute: s.compute(),
	}
	if err := o.print(a, l); err != nil || l.OK {
		return err
	}
	return failed("%s: logits differ from %s by up to %.3g, more than %g", o.dir, o.ref, got.MaxError, o.tolerance).
		withHint("look whether both read the same files and dtype; if they do, please report it with the line of `selfcheck --json`")
}

func (o selfcheckOptions) print(a *app, l report.Selfcheck) error {
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
	add("positions", report.String(fmt.Sprintf("%d of %s", l.Positions, plural(l.Sequences, "sequence"))))
	add("reference", report.String(l.Reference))
	add("reference dtype", report.String(l.RefDType))
	for _, name := range slices.Sorted(maps.Keys(l.Versions)) {
		add("reference "+name, report.String(l.Versions[name]))
	}
	return a.table(t)
}
