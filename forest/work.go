package forest

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
)

// Work is a batch packed by the caller and the scores that are wanted of it.
// Several targets may name one row; rows that none names never reach the head.
type Work struct {
	Batch   engine.Batch
	Targets []engine.Target
}

// Score runs prepared batches through the listed layers (nil: all of them) and
// gives emit the scores of each one's targets, batches in order. The slice is
// only valid during the call. Batches are run as they are, however many tokens
// they hold; how many are in flight at a time is the Runner's choice and
// changes no score.
func (r *Runner) Score(ctx context.Context, layers []int, work []Work, emit func(i int, scores []engine.TokenScore) error) error {
	layers, err := r.list(layers)
	if err != nil {
		return err
	}
	p := &pass{r: r, layers: layers, work: work, emit: emit}
	for i := range work {
		if err := work[i].check(r.m.Spec.Vocab); err != nil {
			return fmt.Errorf("batch %d: %w", i, err)
		}
		p.tokens += int64(work[i].Batch.Len())
	}
	return p.run(ctx)
}

func (w *Work) check(vocab int) error {
	if err := w.Batch.Validate(vocab); err != nil {
		return err
	}
	if len(w.Targets) == 0 {
		return fmt.Errorf("no score is asked for")
	}
	for i, t := range w.Targets {
		if t.Row < 0 || t.Row >= w.Batch.Len() {
			return fmt.Errorf("target %d names row %d of %d", i, t.Row, w.Batch.Len())
		}
		if t.Token < 0 || int(t.Token) >= vocab {
			return fmt.Errorf("target %d: token id %d is outside the vocabulary of %d", i, t.Token, vocab)
		}
	}
	return nil
}

// nextWork is nextGroup for prepared batches.
func (p *pass) nextWork(first, budget int) (g group, end int) {
	tokens := 0
	for end = first; end < len(p.work); end++ {
		w := &p.work[end]
		if tokens > 0 && tokens+w.Batch.Len() > budget {
			break
		}
		g = append(g, &flight{first: end, batch: w.Batch, targets: w.Targets})
		tokens += w.Batch.Len()
	}
	return g, end
}

func (p *pass) scoreWork(ctx context.Context, head engine.Head, f *flight) error {
	scores := make([]engine.TokenScore, len(f.targets))
	if err := head.LogProbs(ctx, f.in, f.targets, scores); err != nil {
		return fmt.Errorf("head: %w", err)
	}
	return p.emit(f.first, scores)
}
