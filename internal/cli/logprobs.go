package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newLogProbs(a *app) *cobra.Command {
	o := stage.DefaultLogProbs()
	c := &cobra.Command{
		Use:   "logprobs MODEL (--tokens FILE | --data DATA)",
		Short: "Log-probability of every token given those before it",
		Long: `Print the log-probability of every token given those before it, by the model or
by a pruning of it that is never written (--drop, --keep, --plan).

A sequence of T tokens has T-1 of them; the first token has none. The windows that
--data draws are the same for the same texts, seed and tokenizer; the summary has
their SHA-256, and --tokens-out writes them down.`,
		Example: `  coppice logprobs ./model --tokens ids.json
  coppice logprobs ./model --data text.txt --drop 24-31 --json`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.Model = args[0]
			return runLogProbs(c.Context(), a, o)
		},
	}
	a.workFlags(c)
	dataFlags(c, &o.Data, false)
	layerFlags(c, flagsLayers, &o.Layers)
	engineFlags(c, &o.Engine)
	adapterFlag(c, &o.Engine)
	return c
}

func runLogProbs(ctx context.Context, a *app, o stage.LogProbs) error {
	t := &report.Table{Header: []string{"sequence", "tokens", "loss", "perplexity", "greedy"}}
	row := func(name report.Cell, s report.Summary) {
		t.Add(name, report.Int(s.Tokens), report.Float(s.Loss), report.Float(s.Perplexity), report.Float(s.Greedy))
	}
	all, err := o.Run(ctx, a.env(), func(line report.LogProbs, one report.Summary) error {
		if a.json {
			return a.line(line)
		}
		row(report.Int(line.Index), one)
		return nil
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.line(all)
	}
	row(report.String("all"), all)
	return a.table(t)
}
