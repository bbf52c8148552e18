package stage

import (
	"context"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/score"
)

// LogProbs gives the log-probability of every token given those before it.
type LogProbs struct {
	Model  string `yaml:"model"`
	Data   `yaml:",inline"`
	Layers `yaml:",inline"`
	Engine `yaml:",inline"`
}

// DefaultLogProbs has every field that is not given.
func DefaultLogProbs() LogProbs { return LogProbs{Data: DefaultData()} }

// Check finds what can be wrong before any file is opened.
func (l LogProbs) Check() error {
	if err := l.Data.Check(); err != nil {
		return err
	}
	if !l.Data.Given() {
		return wrong("logprobs: on what?").with("pass {tokens} or {data}")
	}
	return l.Engine.Check()
}

// Run gives emit the scores of every sequence in order, with a summary of them, and
// returns that of all.
func (l LogProbs) Run(ctx context.Context, env Env, emit func(line report.LogProbs, one report.Summary) error) (all report.Summary, err error) {
	if err := l.Check(); err != nil {
		return all, err
	}
	s, err := Open(ctx, env, l.Model, l.Layers)
	if err != nil {
		return all, err
	}
	defer s.Close()
	seqs, info, err := l.Data.read(ctx, env, s.Checkpoint.Dir(), s.Model.Spec)
	if err != nil {
		return all, err
	}
	s.warnOfLength(seqs)
	start := time.Now()
	tell, end := env.Talk.Progress("log-probabilities", Steps)
	defer end()
	if err := s.Start(l.Engine, tell); err != nil {
		return all, err
	}
	var total score.Sum
	greedy := 0
	err = s.logProbs(ctx, seqs, func(i int, scores []engine.TokenScore) error {
		sum := score.Loss(scores)
		line := report.LogProbs{Index: i, LogProbs: make([]report.Number, len(scores)), Greedy: make([]bool, len(scores))}
		likeliest := 0
		for j, one := range scores {
			line.LogProbs[j], line.Greedy[j] = report.Number(one.LogProb), one.Greedy
			if one.Greedy {
				likeliest++
			}
		}
		total.Add(sum)
		greedy += likeliest
		return emit(line, summary(sum, likeliest))
	})
	if err != nil {
		return all, err
	}
	all = summary(total, greedy)
	all.Data, all.Seconds, all.Compute = info, seconds(start), s.Compute()
	return all, nil
}

func summary(s score.Sum, greedy int) report.Summary {
	return report.Summary{
		Tokens: s.Tokens, Loss: report.Number(s.Mean()), Perplexity: report.Number(s.Perplexity()),
		Greedy: report.Number(float64(greedy) / float64(s.Tokens)),
	}
}
