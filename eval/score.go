package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/model"
)

// Scorer runs prunings of a model; *forest.Runner is one.
type Scorer interface {
	// Run evaluates the variants on the work: see forest.Runner.
	Run(ctx context.Context, variants []forest.Variant, work []forest.Work, o forest.RunOptions) error
}

// Encode makes the sequences of a task's requests, which must not be ones to
// generate. of[i] is the request that sequence i belongs to: a rolled text has
// several sequences, and their log-probabilities add up.
func (a *Asked) Encode(e *Encoder) (seqs []Sequence, of []int, err error) {
	p := pair{e: e}
	for i, r := range a.Requests {
		var some []Sequence
		if a.Task.Output == Rolling {
			some, err = e.windows(r.Continuation)
		} else {
			some = make([]Sequence, 1)
			some[0], err = p.encode(r.Context, r.Continuation)
		}
		if err != nil {
			return nil, nil, docError(a.Task, r.Doc, err)
		}
		for _, s := range some {
			seqs, of = append(seqs, s), append(of, i)
		}
	}
	return seqs, of, nil
}

// ScoreAll answers the requests of tasks with log-probabilities, for several
// prunings at once: lists of layers, nil for the whole model. The responses are
// by pruning, task and request. progress, which may be nil, hears how much is done.
func ScoreAll(ctx context.Context, s Scorer, prunings [][]int, asked []*Asked, e *Encoder, batchTokens int, progress func(done, total int64)) ([][][]Response, error) {
	questions := make([]*Encoded, len(asked))
	for i, a := range asked {
		questions[i] = encodeTask(ctx, a, e)
	}
	return scoreEncoded(ctx, s, prunings, questions, batchTokens, progress)
}

// scoreEncoded is ScoreAll of requests that are encoded.
func scoreEncoded(ctx context.Context, s Scorer, prunings [][]int, questions []*Encoded, batchTokens int, progress func(done, total int64)) ([][][]Response, error) {
	if m, ok := s.(interface{ Model() *model.Model }); ok {
		questions = apart(questions, m.Model().Spec.RopeChoice)
	}
	w, err := newWork(questions, batchTokens)
	if err != nil {
		return nil, err
	}
	variants := make([]forest.Variant, len(prunings))
	answers := make([][]Response, len(prunings))
	for v, layers := range prunings {
		answers[v] = w.blank()
		variants[v] = forest.Variant{Layers: layers, Scores: func(i int, scores []engine.TokenScore) error {
			w.packed.Collect(i, scores, answers[v])
			return nil
		}}
	}
	if err := s.Run(ctx, variants, w.packed.Work, forest.RunOptions{Progress: progress}); err != nil {
		return nil, w.named(err)
	}
	out := make([][][]Response, len(prunings))
	for v := range out {
		out[v] = w.responses(answers[v])
	}
	return out, nil
}

// apart says of sequences which may share tokens, given what a model makes of their
// lengths.
func apart(questions []*Encoded, choice func(length int) int) []*Encoded {
	out := make([]*Encoded, len(questions))
	for i, q := range questions {
		own := *q
		own.seqs = slices.Clone(q.seqs)
		for j := range own.seqs {
			own.seqs[j].Choice = choice(len(own.seqs[j].inputs()))
		}
		out[i] = &own
	}
	return out
}

// work is the packed sequences of several tasks and the way back.
type work struct {
	asked  []*Encoded
	packed *Packed
	of     []int // request of each sequence, within its task
	ends   []int // where each task's sequences end
}

func newWork(asked []*Encoded, batchTokens int) (*work, error) {
	w := &work{asked: asked}
	var seqs []Sequence
	var groups []int
	doc := 0
	for _, a := range asked {
		if a.err != nil {
			return nil, a.err
		}
		for _, r := range a.of {
			groups = append(groups, doc+a.Requests[r].Doc)
		}
		doc += len(a.Docs)
		seqs, w.of, w.ends = append(seqs, a.seqs...), append(w.of, a.of...), append(w.ends, len(w.of)+len(a.of))
	}
	w.packed = Pack(seqs, groups, batchTokens)
	return w, nil
}

// named says of which document the sequence is that an error names, and numbers
// it as the task's requests are.
func (w *work) named(err error) error {
	var bad *forest.NotFiniteError
	if !errors.As(err, &bad) {
		return err
	}
	for t, a := range w.asked {
		if bad.Sequence < w.ends[t] {
			request := w.of[bad.Sequence]
			bad.Sequence = request
			return docError(a.Task, a.Requests[request].Doc, err)
		}
	}
	return err
}

// blank are responses to add the scores of sequences to.
func (w *work) blank() []Response {
	out := make([]Response, len(w.of))
	for i := range out {
		out[i].Greedy = true
	}
	return out
}

// responses are the answers of sequences by task and request.
func (w *work) responses(answers []Response) [][]Response {
	out := make([][]Response, len(w.asked))
	at := 0
	for t, a := range w.asked {
		out[t] = make([]Response, len(a.Requests))
		for i := range out[t] {
			out[t][i].Greedy = true
		}
		for ; at < w.ends[t]; at++ {
			r := &out[t][w.of[at]]
			r.LogProb += answers[at].LogProb
			r.Greedy = r.Greedy && answers[at].Greedy
		}
	}
	return out
}

// Generator is what answers are written with; *forest.Runner is one, through
// package generate.
type Generator func(ctx context.Context, prompts [][]int32, maxTokens int, stop []int, emit func(seq int, id int32) error) error

// Generate is a Generator of a runner and a list of layers.
func Generate(run *forest.Runner, layers []int) Generator {
	return func(ctx context.Context, prompts [][]int32, maxTokens int, stop []int, emit func(int, int32) error) error {
		return generate.Run(ctx, run.Resident(), layers, prompts, generate.Options{MaxTokens: maxTokens, Stop: stop}, emit)
	}
}

// maxGenerated is how many answers are written at a time: each holds keys and
// values of its whole length.
const maxGenerated = 32

// WriteAll answers the requests of a task with texts, the longest prompts
// first; progress, which may be nil, hears how many are done. An answer ends
// before the first stop string, or after the task's largest number of tokens.
func WriteAll(ctx context.Context, g Generator, a *Asked, e *Encoder, progress func(done, total int64)) ([]Response, error) {
	t := a.Task
	until := slices.Clone(t.Generation.Until)
	stop := e.stopIDs(until)
	if eos, ok := e.Tokenizer.EOS(); ok {
		stop = append(stop, eos)
		until = append(until, e.Tokenizer.Token(eos))
	}
	prompts, _, err := a.prompts(e)
	if err != nil {
		return nil, err
	}
	order := make([]int, len(prompts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return len(prompts[y]) - len(prompts[x]) })
	out := make([]Response, len(prompts))
	for lo := 0; lo < len(order); lo += maxGenerated {
		some := order[lo:min(lo+maxGenerated, len(order))]
		if err := write(ctx, g, t, e, prompts, some, until, stop, out); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(int64(lo+len(some)), int64(len(order)))
		}
	}
	return out, nil
}

// prompts encodes what a task's answers are written after, and counts those that
// lost their beginnings.
func (a *Asked) prompts(e *Encoder) (out [][]int32, cut int, err error) {
	out = make([][]int32, len(a.Requests))
	for i, r := range a.Requests {
		var lost int
		if out[i], lost, err = e.prompt(r.Context, a.Task.Generation.MaxTokens); err != nil {
			return nil, 0, docError(a.Task, r.Doc, err)
		}
		cut += min(lost, 1)
	}
	return out, cut, nil
}

// write generates some of the answers together.
func write(ctx context.Context, g Generator, t *Task, e *Encoder, prompts [][]int32, which []int, until []string, stop []int, out []Response) error {
	batch := make([][]int32, len(which))
	for i, p := range which {
		batch[i] = prompts[p]
	}
	written := make([][]int, len(which))
	err := g(ctx, batch, t.Generation.MaxTokens, stop, func(seq int, id int32) error {
		written[seq] = append(written[seq], int(id))
		text := e.Tokenizer.Text(written[seq])
		if slices.ContainsFunc(until, func(s string) bool { return s != "" && strings.Contains(text, s) }) {
			return generate.ErrEnd
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("task %s: %w", t.Name, err)
	}
	for i, p := range which {
		out[p].Text = cut(e.Tokenizer.Text(written[i]), until)
	}
	return nil
}
