package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newBench(a *app) *cobra.Command {
	o := stage.DefaultBench()
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure speed beside the limit of this machine",
		Long: `Measure speed on weights made up for the purpose, beside the limit taken in the
same run. For a forward pass that is the time the matrix products alone need, dense,
untiled, with weights rotating through memory; for decoding, the time to read
the weights once from memory. The two are measured in turns; the ratio is the
median of the pairs. --profile says what the workers' time goes to.

"score" (bi and angular) and "curve" write a checkpoint to disk, run it on 10 x 128
tokens within --memory, and compare with the larger of what its products and what
reading it from disk take; the peak of the process's memory is in the result.
"metrics", "cka", "ppl" and "tail" run metrics on 10 x 128 tokens beside plain
forward passes: their limit is the time that the count of layers predicts.

"generate" answers 16 prompts together, 16 tokens each, beside the same prompts one at a
time, whose rate stands in the limit's place; answers that differ are an error.

--config measures the shape of a config.json, of any family that can be run; its
weights are made up, too. "llama" is a forward pass beside that of a Llama of the
same widths, in turns: the limit is that one's time for as many products.

"heal" (head and last 3 layers) and "heal-lora" make steps of training on 4 rows of
256 random tokens; their limit is the time of their products. "heal-rows" trains on 64
rows of --data, with masked prompts, beside the same step with every row computed:
its limit is what the count of products predicts of that.`,
		Example: `  coppice bench
  coppice bench --shape smollm-135m --what decode --rounds 15 --profile
  coppice bench --shape llama-3.1-8b --what score --memory 3GiB
  coppice bench --config gemma-3-1b/config.json --what llama`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("tokens") && o.Tokens < 1 {
				return usage("--tokens %d --rounds %d: want at least 1 of each", o.Tokens, o.Rounds)
			}
			results, err := o.Run(c.Context(), a.env())
			if err != nil {
				return err
			}
			return printBench(a, results)
		},
	}
	a.workFlags(c)
	c.Flags().StringVar(&o.Shape, "shape", o.Shape, "shape of the model: "+strings.Join(stage.BenchShapes(), ", "))
	c.Flags().StringVar(&o.Config, "config", "", "a config.json, or a directory that has one: measure a model of this shape")
	c.Flags().StringVar(&o.What, "what", o.What, "what to measure: "+strings.Join(stage.BenchWhats(), ", "))
	c.Flags().IntVar(&o.Tokens, "tokens", 0, "length of the sequence (default 512), or of the context or prompts that decoding and generating start from (default 32)")
	c.Flags().IntVar(&o.Rounds, "rounds", o.Rounds, "pairs of measurements")
	c.Flags().BoolVar(&o.Profile, "profile", false, "also say what the workers' time goes to")
	c.Flags().Uint64Var(&o.Seed, "seed", o.Seed, "seed of weights and tokens")
	c.Flags().StringVar(&o.Dir, "dir", "", "score, curve: keep the weights in this directory for the next run (default: a temporary one)")
	f := c.Flags()
	f.StringSliceVar(&o.Data.Sources, "data", nil, "heal-rows: rows of instructions or texts to train on")
	f.StringVar(&o.Data.Tokens, "train-tokens", "", "heal-rows: or JSON rows of input_ids and labels")
	f.StringVar(&o.Tokenizer, "tokenizer", "", "heal-rows: directory of the tokenizer for --data")
	f.IntVar(&o.Data.MaxLength, "max-length", o.Data.MaxLength, "heal-rows: tokens of a sample")
	exclusive(c, "shape", "config")
	nonEmpty(c, "config", "dir", "train-tokens", "tokenizer")
	engineFlags(c, &o.Engine)
	return c
}

func printBench(a *app, results []report.Bench) error {
	t := &report.Table{Header: []string{"what", "shape", "dtype", "provider", "tokens/s", "GFLOP/s", "limit tokens/s", "ratio", "limit by"}}
	for _, r := range results {
		if a.json {
			if err := a.line(r); err != nil {
				return err
			}
		}
		t.Add(report.String(r.What), report.String(r.Shape), report.String(r.DType), report.String(r.Provider),
			report.Float(r.TokensPerSecond), report.Float(r.GEMMGFLOPS), report.Float(r.LimitTokensPerSecond), report.Float(r.Ratio), report.String(r.LimitWay))
	}
	if a.json {
		return nil
	}
	if err := a.table(t); err != nil {
		return err
	}
	for _, r := range results {
		for _, s := range r.Profile {
			if err := a.printf("%5.1f %%  %s\n", 100*float64(s.Share), s.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
