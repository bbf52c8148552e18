package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/bench"
	"github.com/coppice-ml/coppice/internal/doctor"
	"github.com/coppice-ml/coppice/report"
)

type benchOptions struct {
	opt    bench.Options
	engine engineFlags
}

func newBench(a *app) *cobra.Command {
	var o benchOptions
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
forward passes: their limit is the time that the count of layers predicts.`,
		Example: `  coppice bench
  coppice bench --shape smollm-135m --what decode --rounds 15 --profile
  coppice bench --shape llama-3.1-8b --what score --memory 3GiB`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c, a) },
	}
	a.workFlags(c)
	c.Flags().StringVar(&o.opt.Shape, "shape", bench.Shapes()[0], "shape of the model: "+strings.Join(bench.Shapes(), ", "))
	c.Flags().StringVar(&o.opt.What, "what", bench.Whats()[0], "what to measure: "+strings.Join(bench.Whats(), ", "))
	c.Flags().IntVar(&o.opt.Tokens, "tokens", 0, "length of the sequence (default 512), or of the context that decoding starts from (default 32)")
	c.Flags().IntVar(&o.opt.Rounds, "rounds", 5, "pairs of measurements")
	c.Flags().BoolVar(&o.opt.Profile, "profile", false, "also say what the workers' time goes to")
	c.Flags().Uint64Var(&o.opt.Seed, "seed", 42, "seed of weights and tokens")
	c.Flags().StringVar(&o.opt.Streaming.Dir, "dir", "", "score, curve: keep the weights in this directory for the next run (default: a temporary one)")
	nonEmpty(c, "dir")
	o.engine.register(c)
	return c
}

func (o benchOptions) run(c *cobra.Command, a *app) error {
	if err := oneOf("shape", o.opt.Shape, bench.Shapes()...); err != nil {
		return err
	}
	if err := oneOf("what", o.opt.What, bench.Whats()...); err != nil {
		return err
	}
	if c.Flags().Changed("tokens") && o.opt.Tokens < 1 || o.opt.Rounds < 1 {
		return usage("--tokens %d --rounds %d: want at least 1 of each", o.opt.Tokens, o.opt.Rounds)
	}
	if err := o.engine.check(); err != nil {
		return err
	}
	e, err := newEngine(a, o.engine)
	if err != nil {
		return err
	}
	defer func() { _ = e.Close() }()
	o.opt.Engine = e
	o.opt.Memory = o.engine.memoryOrDefault()
	o.opt.Streaming.Bound = func(f forest.Options) forest.Options { return bounded(f, o.opt.Memory) }
	o.opt.Streaming.Peak = func() int64 { _, peak := doctor.Process(); return peak }
	a.note("measuring %s of %s, %s and a warm-up", o.opt.What, o.opt.Shape, plural(o.opt.Rounds, "pair"))
	var results []report.Bench
	err = bench.Run(c.Context(), o.opt, func(r report.Bench) { results = append(results, r) })
	if err != nil {
		return err
	}
	return printBench(a, results)
}

func printBench(a *app, results []report.Bench) error {
	t := &report.Table{Header: []string{"what", "shape", "dtype", "provider", "tokens/s", "GFLOP/s", "limit tokens/s", "ratio"}}
	for _, r := range results {
		if a.json {
			if err := a.line(r); err != nil {
				return err
			}
		}
		t.Add(report.String(r.What), report.String(r.Shape), report.String(r.DType), report.String(r.Provider),
			report.Float(r.TokensPerSecond), report.Float(r.GEMMGFLOPS), report.Float(r.LimitTokensPerSecond), report.Float(r.Ratio))
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
