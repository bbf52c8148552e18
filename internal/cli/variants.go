package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
)

type variantsOptions struct {
	dir    string
	plans  []string
	yes    bool
	input  sequenceFlags
	engine engineFlags
}

func newVariants(a *app) *cobra.Command {
	var o variantsOptions
	c := &cobra.Command{
		Use:   "variants MODEL --plans FILE,… (--tokens FILE | --data FILE)",
		Short: "Many prunings side by side",
		Long: `Measure many prunings of a model side by side: those of plan files, as prune
writes them, after the whole model. None is written; all of them run in one pass, and what they
share is computed once.`,
		Example: "  coppice variants ./model --plans a.json,b.json --data text.txt",
		Args:    modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir, o.input.preset = args[0], true
			if err := o.input.check(c); err != nil {
				return err
			}
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	c.Flags().StringSliceVar(&o.plans, "plans", nil, "plan files, separated by commas")
	c.Flags().BoolVar(&o.yes, "yes", false, "do not ask about work of more than an hour")
	o.input.register(c)
	o.engine.register(c)
	return c
}

func (o variantsOptions) run(ctx context.Context, a *app) error {
	if len(o.plans) == 0 {
		return usage("variants: of what?").withHint("pass --plans with plan files, as prune --dry-run --json prints them")
	}
	if err := o.engine.check(); err != nil {
		return err
	}
	dir, err := a.findModel(ctx, o.dir, hub.NeedAll)
	if err != nil {
		return err
	}
	s, err := openModel(dir)
	if err != nil {
		return err
	}
	defer s.close()
	whole, err := prune.New(s.m.Spec, nil, "")
	if err != nil {
		return err
	}
	plans := []prune.Plan{whole}
	for _, path := range o.plans {
		p, err := readPlan(path, s.m.Spec)
		if err != nil {
			return err
		}
		plans = append(plans, p)
	}
	return o.measure(ctx, a, s, plans)
}

func (o variantsOptions) measure(ctx context.Context, a *app, s *session, plans []prune.Plan) error {
	sc, err := newScorer(ctx, a, s, o.input, o.engine, []string{"variants"})
	if err != nil {
		return err
	}
	defer sc.close()
	cuts := make([][]int, len(plans))
	for i, p := range plans {
		cuts[i] = p.Drop
	}
	sums, err := sc.losses(ctx, "variants", cuts, o.yes)
	if err != nil {
		return err
	}
	took, by := seconds(sc.start), s.compute()
	t := &report.Table{Header: []string{"plan", "dropped", "loss", "perplexity", "parameters", "MACs/token"}}
	spec := s.m.Spec
	head := int64(spec.Vocab) * int64(spec.Hidden)
	for i, p := range plans {
		v := report.Variant{
			Drop: p.Drop, Loss: report.Number(sums[i].Mean()), Perplexity: report.Number(sums[i].Perplexity()), Tokens: sums[i].Tokens,
			Parameters: p.Parameters, MACsPerToken: (spec.MACsPerToken()-head)/int64(spec.Layers)*int64(len(p.Keep)) + head,
			Data: sc.data, Seconds: took, Compute: by,
		}
		if i > 0 {
			v.Plan, v.Keep = o.plans[i-1], p.Keep
		}
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
