package cli

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/report"
)

type logProbsOptions struct {
	dir    string
	input  sequenceFlags
	layers layerFlags
	engine engineFlags
}

func newLogProbs(a *app) *cobra.Command {
	var o logProbsOptions
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
			o.dir = args[0]
			if err := o.input.check(c); err != nil {
				return err
			}
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	o.input.register(c)
	o.layers.register(c)
	o.engine.register(c)
	return c
}

func (o logProbsOptions) run(ctx context.Context, a *app) error {
	if !o.input.given() {
		return usage("logprobs: on what?").withHint("pass --tokens or --data")
	}
	if err := o.engine.check(); err != nil {
		return err
	}
	dir, err := a.findModel(ctx, o.dir, hub.NeedAll)
	if err != nil {
		return err
	}
	o.dir = dir
	s, err := o.layers.open(o.dir)
	if err != nil {
		return err
	}
	defer s.close()
	seqs, info, err := o.input.read(ctx, a, o.dir, s.m.Spec)
	if err != nil {
		return err
	}
	s.warnOfLength(a, seqs)
	start := time.Now()
	if err := s.start(a, o.engine, a.progress("log-probabilities")); err != nil {
		return err
	}
	var all tally
	t := &report.Table{Header: []string{"sequence", "tokens", "loss", "perplexity", "greedy"}}
	err = s.logProbs(ctx, a, seqs, func(i int, scores []engine.TokenScore) error {
		one, err := count(scores)
		if err != nil {
			return fmt.Errorf("%s: sequence %d: %w", o.dir, i, err)
		}
		all.merge(one)
		if a.json {
			return a.line(logProbsLine(i, scores))
		}
		t.Add(report.Int(i), report.Int(one.tokens), report.Float(one.loss()), report.Float(one.perplexity()), report.Float(one.greedyShare()))
		return nil
	})
	if err != nil {
		return err
	}
	sum := report.Summary{
		Tokens: all.tokens, Loss: all.loss(), Perplexity: all.perplexity(), Greedy: all.greedyShare(),
		Data: info, Seconds: seconds(start), Compute: s.compute(),
	}
	if a.json {
		return a.line(sum)
	}
	t.Add(report.String("all"), report.Int(sum.Tokens), report.Float(sum.Loss), report.Float(sum.Perplexity), report.Float(sum.Greedy))
	return a.table(t)
}

func logProbsLine(i int, scores []engine.TokenScore) report.LogProbs {
	l := report.LogProbs{Index: i, LogProbs: make([]report.Number, len(scores)), Greedy: make([]bool, len(scores))}
	for j, s := range scores {
		l.LogProbs[j], l.Greedy[j] = report.Number(s.LogProb), s.Greedy
	}
	return l
}

// warnOfLength: a model is run as asked, but it was not made for this.
func (s *session) warnOfLength(a *app, seqs [][]int32) {
	for i, seq := range seqs {
		if len(seq) > s.m.Spec.MaxPositions {
			a.warn("sequence %d has %d tokens, more than the model's %d positions: expect bad scores", i, len(seq), s.m.Spec.MaxPositions)
			return
		}
	}
}

// tally adds up scores of tokens, in float64.
type tally struct {
	tokens, greedy int
	sum            float64 // of log-probabilities
}

// count fails for scores that are no numbers.
func count(scores []engine.TokenScore) (tally, error) {
	t := tally{tokens: len(scores)}
	for i, s := range scores {
		if math.IsNaN(s.LogProb) || math.IsInf(s.LogProb, 0) {
			return t, failed("the log-probability of token %d is %v", i+1, s.LogProb).withHint("look for damaged weights with `coppice inspect --deep`, or try --dtype float32")
		}
		t.sum += s.LogProb
		if s.Greedy {
			t.greedy++
		}
	}
	return t, nil
}

func (t *tally) merge(o tally) {
	t.tokens += o.tokens
	t.greedy += o.greedy
	t.sum += o.sum
}

// loss is the mean negative log-probability; NaN where no token was scored.
func (t tally) loss() report.Number { return report.Number(-t.sum / float64(t.tokens)) }

func (t tally) perplexity() report.Number { return report.Number(math.Exp(float64(t.loss()))) }

func (t tally) greedyShare() report.Number {
	return report.Number(float64(t.greedy) / float64(t.tokens))
}
