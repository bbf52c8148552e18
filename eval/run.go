package eval

import (
	"context"
	"errors"

	"github.com/coppice-ml/coppice/forest"
)

// batchTokens is how many tokens are packed into one batch where nothing says so.
const batchTokens = 2048

// Encoded is a task with its requests as a model's tokens.
type Encoded struct {
	*Asked
	seqs []Sequence // none for tasks whose answers are written
	of   []int      // the request of each
	cut  int        // of tasks whose answers are written: requests that lost their beginnings

	err error // of a request that cannot be asked; said when the task's turn comes
}

// Cut is how many requests have contexts that the model cannot hold: their beginnings
// are left out, as in the harness.
func (q *Encoded) Cut() int {
	n := q.cut
	for _, s := range q.seqs {
		if s.Cut > 0 {
			n++
		}
	}
	return n
}

// Encode makes tokens of the requests of all tasks. A request that the model
// cannot hold is an error that wraps a *LengthError: nothing has to run for that to
// be known.
func Encode(ctx context.Context, asked []*Asked, e *Encoder) ([]*Encoded, error) {
	out := make([]*Encoded, len(asked))
	for i, a := range asked {
		out[i] = encodeTask(ctx, a, e)
		var long *LengthError
		if err := out[i].err; errors.As(err, &long) || ctx.Err() != nil {
			return nil, err
		}
	}
	return out, nil
}

func encodeTask(ctx context.Context, a *Asked, e *Encoder) *Encoded {
	q := &Encoded{Asked: a}
	switch {
	case ctx.Err() != nil:
		q.err = context.Cause(ctx)
	case a.Task.Output == GenerateUntil:
		_, q.cut, q.err = a.prompts(e)
	default:
		q.seqs, q.of, q.err = a.Encode(e)
	}
	return q
}

// Session is a model that can be asked, and the prunings of it that are.
type Session struct {
	Runner   *forest.Runner
	Encoder  *Encoder
	Prunings []Pruning // of several, tasks whose answers are written are asked one after the other
}

// Pruning is a list of layers and what is kept of asking it.
type Pruning struct {
	Keep  []int  // nil: the whole model
	State *State // may be nil
}

// RunOptions say how tasks are asked.
type RunOptions struct {
	Bootstrap   int  // resamples for the standard errors of perplexities
	BatchTokens int  // packed into one batch; 0: 2048
	Together    bool // all tasks in one pass over the weights, in place of one each
	// Progress, if set, hears how many requests are answered, of how many.
	Progress func(done, total int64)
	// Begin, if set, hears of every task that is about to be asked.
	Begin func(a *Asked)
}

// Results are what came of asking, by pruning.
type Results struct {
	Asked    []*Asked
	Prunings []Outcomes // in the order of Session.Prunings
}

// Outcomes are what came of the tasks, and of the groups that hold them.
type Outcomes struct {
	Keep   []int // layers that ran; nil: all
	Tasks  map[string]*Outcome
	Groups []GroupOutcome // outer groups first
}

// Run asks every pruning the questions, which are those of the selection's tasks,
// in order. What prunings share is computed once. Responses that a State has are
// not asked for again, and new ones are kept there task by task; when Run fails,
// the results hold the tasks that were finished.
func Run(ctx context.Context, s Session, selection *Selection, questions []*Encoded, opt RunOptions) (*Results, error) {
	r := &runner{Session: s, opt: opt, results: &Results{}}
	if r.opt.BatchTokens == 0 {
		r.opt.BatchTokens = batchTokens
	}
	for _, q := range questions {
		r.results.Asked = append(r.results.Asked, q.Asked)
		r.total += int64(len(q.Requests))
	}
	for _, p := range s.Prunings {
		r.results.Prunings = append(r.results.Prunings, Outcomes{Keep: p.Keep, Tasks: map[string]*Outcome{}})
	}
	if err := r.askAll(ctx, questions); err != nil {
		return r.results, err
	}
	for i := range r.results.Prunings {
		p := &r.results.Prunings[i]
		var err error
		if p.Groups, err = selection.Aggregate(p.Tasks); err != nil {
			return r.results, err
		}
	}
	return r.results, nil
}

// runner is one call of Run.
type runner struct {
	Session
	opt     RunOptions
	results *Results

	done, current, total int64 // requests: answered, being asked, all
}

func (r *runner) askAll(ctx context.Context, questions []*Encoded) error {
	size := 1
	if r.opt.Together {
		size = max(1, len(questions))
	}
	for lo := 0; lo < len(questions); lo += size {
		some := questions[lo:min(lo+size, len(questions))]
		r.current = 0
		for _, q := range some {
			r.current += int64(len(q.Requests))
		}
		if err := r.ask(ctx, some); err != nil {
			return err
		}
		r.done += r.current
	}
	return nil
}

// progress counts the requests of finished tasks, and of the current ones the share
// that is done.
func (r *runner) progress(done, total int64) {
	if r.opt.Progress != nil {
		r.opt.Progress(r.done+r.current*done/max(total, 1), r.total)
	}
}

// ask asks tasks of the prunings that have not answered all of them before.
func (r *runner) ask(ctx context.Context, questions []*Encoded) error {
	var missing []int
	for p := range r.Prunings {
		known, err := r.recall(p, questions)
		if err != nil {
			return err
		}
		if !known {
			missing = append(missing, p)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.opt.Begin != nil {
		for _, q := range questions {
			r.opt.Begin(q.Asked)
		}
	}
	all, err := r.answer(ctx, missing, questions)
	if err != nil {
		return err
	}
	for i, p := range missing {
		for t, q := range questions {
			if err := r.take(p, q.Asked, all[i][t]); err != nil {
				return err
			}
		}
	}
	return nil
}

// recall takes the responses that a pruning's state has, if it has all of them.
func (r *runner) recall(p int, questions []*Encoded) (known bool, err error) {
	state := r.Prunings[p].State
	if state == nil {
		return false, nil
	}
	kept := make([][]Response, len(questions))
	for i, q := range questions {
		if kept[i], err = state.Responses(q.Asked); kept[i] == nil || err != nil {
			return false, err
		}
	}
	for i, q := range questions {
		if err := r.score(p, q.Asked, kept[i]); err != nil {
			return false, err
		}
	}
	return true, nil
}

// answer gives the responses by pruning and task.
func (r *runner) answer(ctx context.Context, prunings []int, questions []*Encoded) ([][][]Response, error) {
	if len(questions) == 1 && questions[0].Task.Output == GenerateUntil {
		out := make([][][]Response, len(prunings))
		for i, p := range prunings {
			written, err := WriteAll(ctx, Generate(r.Runner, r.Prunings[p].Keep), questions[0].Asked, r.Encoder, r.progress)
			if err != nil {
				return nil, err
			}
			out[i] = [][]Response{written}
		}
		return out, nil
	}
	lists := make([][]int, len(prunings))
	for i, p := range prunings {
		lists[i] = r.Prunings[p].Keep
	}
	return scoreEncoded(ctx, r.Runner, lists, questions, r.opt.BatchTokens, r.progress)
}

// take keeps a pruning's new responses to a task.
func (r *runner) take(p int, asked *Asked, responses []Response) error {
	if state := r.Prunings[p].State; state != nil {
		if err := state.Add(asked, responses); err != nil {
			return err
		}
	}
	return r.score(p, asked, responses)
}

// score makes a task's outcome of its responses.
func (r *runner) score(p int, asked *Asked, responses []Response) error {
	metrics, err := asked.Score(responses, r.opt.Bootstrap)
	if err != nil {
		return err
	}
	r.results.Prunings[p].Tasks[asked.Task.Name] = &Outcome{Asked: asked, Metrics: metrics, Responses: responses}
	return nil
}
