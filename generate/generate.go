package generate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/resident"
)

// ErrEnd is what emit returns to end one sequence: at a stop string, for one.
var ErrEnd = errors.New("the sequence has ended")

// Options say how sequences are continued.
type Options struct {
	MaxTokens   int     // of each continuation, at least 1
	Temperature float64 // divides logits before the softmax; 0 takes the likeliest token
	TopK        int     // sample from the TopK likeliest tokens; 0 means all
	TopP        float64 // sample from the fewest tokens whose share reaches TopP; 0 and 1 mean all
	Seed        uint64  // of sampling
	Stop        []int   // token ids that end a sequence, such as the model's EOS
	// Finished, if set, is told why each sequence has ended, when it has.
	Finished func(seq int, why Reason)
}

// Reason says why a sequence has ended.
type Reason string

// The reasons.
const (
	EndToken Reason = "eos_token"     // the model wrote one of Options.Stop
	Stopped  Reason = "stop_sequence" // emit ended it
	Length   Reason = "length"        // it has Options.MaxTokens tokens
)

// Run continues the prompts through the listed layers (nil: all of them) and
// gives each new token to emit, with the index of its prompt: step by step,
// prompts in order within a step. A stop token ends its sequence and is not
// emitted. emit ends the sequence it was called for with ErrEnd; any other error
// of it stops everything and is returned.
//
// What follows a prompt depends on that prompt and the options alone: not on the
// other prompts or their order. Only prompts that are repeated word for word get
// continuations of their own each, in order of appearance. Ties between equal
// logits go to the lowest id.
//
// The layers stay in the set if they fit its budget, and else stream past every
// token. Caches hold len(prompts) x (longest prompt + MaxTokens - 1) tokens a
// layer: the last new token is given to nobody. Run fails when that is longer than
// the model's Spec.MaxPositions, or more than fits beside one layer, for empty
// prompts and ids outside the vocabulary, for layers that do not exist, options
// out of range, and for logits that are NaN or infinitely large.
func Run(ctx context.Context, set *resident.Set, layers []int, prompts [][]int32, opt Options, emit func(seq int, id int32) error) error {
	if err := opt.check(); err != nil {
		return err
	}
	layers, err := set.List(layers)
	if err != nil {
		return err
	}
	capacity, err := checkPrompts(set.Model().Spec, prompts, opt.MaxTokens)
	if err != nil {
		return err
	}
	d, err := newDecoder(set, layers, prompts, capacity)
	if err != nil {
		return err
	}
	defer d.release()
	l := newLoop(d, prompts, opt, emit)
	if err := l.prefill(ctx); err != nil {
		return err
	}
	for step := 1; step < opt.MaxTokens && len(l.alive) > 0; step++ {
		if err := l.step(ctx); err != nil {
			return err
		}
	}
	for _, seq := range l.alive {
		l.finish(seq, Length)
	}
	return nil
}

func (o Options) check() error {
	switch {
	case o.MaxTokens < 1:
		return fmt.Errorf("max tokens = %d: want at least 1", o.MaxTokens)
	case !(o.Temperature >= 0) || math.IsInf(o.Temperature, 0):
		return fmt.Errorf("temperature = %v: want 0 (greedy) or a positive number", o.Temperature)
	case o.TopK < 0:
		return fmt.Errorf("top-k = %d: want at least 1, or 0 for all tokens", o.TopK)
	case !(o.TopP >= 0 && o.TopP <= 1):
		return fmt.Errorf("top-p = %v: want a number from 0 to 1", o.TopP)
	}
	return nil
}

// checkPrompts returns how many tokens the longest sequence may come to.
func checkPrompts(spec *model.Spec, prompts [][]int32, maxTokens int) (capacity int, err error) {
	if len(prompts) == 0 {
		return 0, fmt.Errorf("there are no prompts")
	}
	for i, p := range prompts {
		if len(p) == 0 {
			return 0, fmt.Errorf("prompt %d is empty; begin it with the model's BOS token", i)
		}
		for j, id := range p {
			if id < 0 || int(id) >= spec.Vocab {
				return 0, fmt.Errorf("prompt %d: token id %d at index %d is outside the vocabulary of %d", i, id, j, spec.Vocab)
			}
		}
		if maxTokens-1 > spec.MaxPositions-len(p) {
			return 0, fmt.Errorf("prompt %d has %d tokens, and %d more are past the model's %d positions; %s", i, len(p), maxTokens, spec.MaxPositions, remedy(spec, len(p)))
		}
		capacity = max(capacity, len(p)+maxTokens-1)
	}
	return capacity, nil
}

func remedy(spec *model.Spec, prompt int) string {
	if room := spec.MaxPositions - prompt; room >= 0 {
		return fmt.Sprintf("ask for at most %d", room+1)
	}
	return fmt.Sprintf("shorten it to at most %d tokens", spec.MaxPositions)
}

// loop is the state of one call of Run.
type loop struct {
	d       *decoder
	prompts [][]int32
	opt     Options
	emit    func(int, int32) error

	sampler  *sampler
	random   []random // one a prompt
	stop     map[int32]bool
	past     []int   // tokens of each sequence in the caches
	last     []int32 // newest token of each sequence, not in the caches yet
	alive    []int   // prompts that go on, ascending
	finished []bool
	ready    []ready
	whole    [][]int32 // tokens of each sequence, where some length makes it begin anew; else nil
}

// ready is a sequence whose next token the batch's hidden states decide.
type ready struct{ seq, row int }

func newLoop(d *decoder, prompts [][]int32, opt Options, emit func(int, int32) error) *loop {
	n := len(prompts)
	l := &loop{
		d: d, prompts: prompts, opt: opt, emit: emit,
		sampler: newSampler(opt, d.spec.Vocab), random: seeds(prompts, opt.Seed), stop: make(map[int32]bool, len(opt.Stop)),
		past: make([]int, n), last: make([]int32, n), alive: make([]int, 0, n), finished: make([]bool, n),
		ready: make([]ready, 0, n),
	}
	if d.spec.RopeRestarts(0, d.spec.MaxPositions) {
		l.whole = make([][]int32, n)
		for i, p := range prompts {
			l.whole[i] = slices.Clone(p)
		}
	}
	for _, id := range opt.Stop {
		l.stop[int32(id)] = true
	}
	return l
}

// prefill runs the prompts through the layers, packed into batches of at most
// d.rows tokens; a longer prompt is split over several. Every prompt gets its
// first token.
func (l *loop) prefill(ctx context.Context) error {
	for seq, prompt := range l.prompts {
		if err := l.feed(ctx, seq, prompt); err != nil {
			return err
		}
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	l.bury()
	return nil
}

// feed puts tokens that continue a sequence into batches, of which the full ones
// run. The token after them is wanted.
func (l *loop) feed(ctx context.Context, seq int, tokens []int32) error {
	length := l.past[seq] + len(tokens)
	for len(tokens) > 0 {
		n := min(len(tokens), l.d.rows-l.d.batch.Len())
		l.extend(seq, tokens[:n], n == len(tokens), length)
		tokens = tokens[n:]
		if l.d.batch.Len() == l.d.rows {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// step gives every sequence that goes on one more token. One that grows past the
// length up to which its keys were right begins anew.
func (l *loop) step(ctx context.Context) error {
	for _, seq := range l.alive {
		tokens := l.last[seq : seq+1]
		if l.whole != nil {
			l.whole[seq] = append(l.whole[seq], tokens...)
			if l.d.spec.RopeRestarts(l.past[seq], l.past[seq]+1) {
				l.d.walk.Truncate(seq, 0)
				l.past[seq], tokens = 0, l.whole[seq]
			}
		}
		if err := l.feed(ctx, seq, tokens); err != nil {
			return err
		}
	}
	if err := l.flush(ctx); err != nil {
		return err
	}
	l.bury()
	return nil
}

// extend adds tokens of a sequence to the batch, of which length are known.
// complete says that the token after them is wanted.
func (l *loop) extend(seq int, tokens []int32, complete bool, length int) {
	l.d.batch.Continue(tokens, seq, l.past[seq])
	l.d.batch.Segments[len(l.d.batch.Segments)-1].Length = length
	l.past[seq] += len(tokens)
	if complete {
		l.ready = append(l.ready, ready{seq: seq, row: l.d.batch.Len() - 1})
	}
}

// flush runs the batch and picks the next token of the sequences that are ready.
func (l *loop) flush(ctx context.Context) error {
	if l.d.batch.Len() == 0 {
		return nil
	}
	if err := l.d.forward(ctx); err != nil {
		return err
	}
	for lo := 0; lo < len(l.ready); lo += logitRows {
		some := l.ready[lo:min(lo+logitRows, len(l.ready))]
		if err := l.d.head(ctx, some); err != nil {
			return err
		}
		for i, r := range some {
			if err := l.next(r.seq, l.d.logits[i*l.d.spec.Vocab:][:l.d.spec.Vocab]); err != nil {
				return err
			}
		}
	}
	l.d.batch.Reset()
	l.ready = l.ready[:0]
	return nil
}

// next picks a sequence's next token from its logits [V] and gives it out.
func (l *loop) next(seq int, logits []float32) error {
	id, err := l.sampler.pick(logits, &l.random[seq])
	if err != nil {
		return fmt.Errorf("prompt %d, after %d tokens: %w", seq, l.past[seq], err)
	}
	if l.stop[id] {
		l.finish(seq, EndToken)
		return nil
	}
	l.last[seq] = id
	err = l.emit(seq, id)
	if errors.Is(err, ErrEnd) {
		l.finish(seq, Stopped)
		return nil
	}
	return err
}

func (l *loop) finish(seq int, why Reason) {
	l.finished[seq] = true
	if l.opt.Finished != nil {
		l.opt.Finished(seq, why)
	}
}

// bury takes finished sequences out of the running.
func (l *loop) bury() {
	alive := l.alive[:0]
	for seq := range l.prompts {
		if !l.finished[seq] {
			alive = append(alive, seq)
		}
	}
	l.alive = alive
}
