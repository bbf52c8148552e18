package generate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/resident"
)

// Prompt is one of many.
type Prompt struct {
	Tokens []int32
	Max    int // most new tokens; 0: Options.MaxTokens
}

// Answer is what a model makes of a prompt.
type Answer struct {
	Seq    int // of the prompt
	Tokens []int32
	Finish Reason
}

// maxSlots is how many sequences decode together at most, where memory allows:
// with more, products take longer for each sequence that there is.
const maxSlots = 64

// Watch looks at a new token of a sequence as Run's emit does.
type Watch func(seq int, id int32) error

// Many continues prompts, each as Run does it alone, bit for bit: a prompt that
// is repeated is answered the same way again. As many sequences run together as
// the set's budget has caches for; where one ends, the next prompt takes its place.
// done hears of each answer when it is complete, in no order that could be relied
// on; an error of it stops everything and is returned. watch may be nil. Errors are
// those of Run.
func Many(ctx context.Context, set *resident.Set, layers []int, prompts []Prompt, opt Options, watch Watch, done func(Answer) error) error {
	if err := opt.check(); err != nil {
		return err
	}
	layers, err := set.List(layers)
	if err != nil {
		return err
	}
	if len(prompts) == 0 {
		return nil
	}
	capacity, tokens, err := sizes(set, prompts, opt)
	if err != nil {
		return err
	}
	d, slots, err := manyDecoder(set, layers, len(prompts), tokens, capacity)
	if err != nil {
		return err
	}
	defer d.release()
	m := &many{d: d, prompts: prompts, opt: opt, watch: watch, done: done, sampler: newSampler(opt, d.spec.Vocab), stop: make(map[int32]bool, len(opt.Stop))}
	for _, id := range opt.Stop {
		m.stop[int32(id)] = true
	}
	for slot := range slots {
		m.free = append(m.free, slots-1-slot)
	}
	for len(m.live) > 0 || m.next < len(prompts) {
		if err := m.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sizes checks the prompts and returns the tokens of the longest sequence and of
// all prompts together.
func sizes(set *resident.Set, prompts []Prompt, opt Options) (capacity, tokens int, err error) {
	for i, p := range prompts {
		n, err := checkPrompts(set.Model().Spec, [][]int32{p.Tokens}, p.most(opt))
		if err != nil {
			return 0, 0, fmt.Errorf("of prompt %d: %w", i, err)
		}
		capacity, tokens = max(capacity, n), min(tokens+len(p.Tokens), batchTokens)
	}
	return capacity, tokens, nil
}

func (p Prompt) most(opt Options) int {
	if p.Max > 0 {
		return p.Max
	}
	return opt.MaxTokens
}

// manyDecoder makes as many slots as fit: beside layers that stay, else beside one
// that passes by.
func manyDecoder(set *resident.Set, layers []int, prompts, tokens, capacity int) (*decoder, int, error) {
	best, slots := resident.Fit{Over: true}, 0
	var first resident.Fit
	for n := min(maxSlots, prompts); n > 0; n = n * 3 / 4 {
		fit := set.Plan(decoding(set, layers, n, max(n, tokens), capacity))
		if first = fit; fit.Over {
			continue
		}
		if slots == 0 || fit.Keep {
			best, slots = fit, n
		}
		if fit.Keep {
			break
		}
	}
	if slots == 0 {
		return nil, 0, tooMuch(set, decoding(set, layers, 1, max(1, tokens), capacity), first, 1, capacity)
	}
	d, err := openDecoder(set, best, layers, slots, max(slots, tokens), capacity)
	return d, slots, err
}

// many is the state of one call of Many.
type many struct {
	d       *decoder
	prompts []Prompt
	opt     Options
	watch   Watch
	done    func(Answer) error

	sampler *sampler
	stop    map[int32]bool
	next    int    // prompt that has not begun
	free    []int  // slots
	live    []*one // sequences on their way
	ready   []ready
}

// one is a sequence on its way.
type one struct {
	Answer
	slot   int
	rest   []int32 // of the prompt
	past   int     // tokens in the caches
	random random
	most   int
}

// step runs one batch: the next token of every sequence that has its prompt behind
// it, and of the prompts as much as there is room for.
func (m *many) step(ctx context.Context) error {
	m.begin()
	m.d.batch.Reset()
	m.ready = m.ready[:0]
	for _, decoding := range []bool{true, false} { // or long prompts would hold the others up
		for i, s := range m.live {
			if n := min(len(s.rest), m.d.rows-m.d.batch.Len()); n > 0 && (s.past > 0 && len(s.Tokens) > 0) == decoding {
				m.extend(i, s, n)
			}
		}
	}
	if err := m.d.forward(ctx); err != nil {
		return err
	}
	for lo := 0; lo < len(m.ready); lo += logitRows {
		some := m.ready[lo:min(lo+logitRows, len(m.ready))]
		if err := m.d.head(ctx, some); err != nil {
			return err
		}
		for i, r := range some {
			if err := m.take(m.live[r.seq], m.d.logits[i*m.d.spec.Vocab:][:m.d.spec.Vocab]); err != nil {
				return err
			}
		}
	}
	return m.end()
}

// begin gives free slots to prompts that wait.
func (m *many) begin() {
	for len(m.free) > 0 && m.next < len(m.prompts) {
		p := m.prompts[m.next]
		last := len(m.free) - 1
		m.live = append(m.live, &one{
			Answer: Answer{Seq: m.next}, slot: m.free[last], rest: p.Tokens, most: p.most(m.opt),
			random: seeds([][]int32{p.Tokens}, m.opt.Seed)[0],
		})
		m.free = m.free[:last]
		m.next++
	}
}

func (m *many) extend(i int, s *one, n int) {
	m.d.batch.Continue(s.rest[:n], s.slot, s.past)
	m.d.batch.Segments[len(m.d.batch.Segments)-1].Length = s.past + len(s.rest)
	s.past += n
	if s.rest = s.rest[n:]; len(s.rest) == 0 {
		m.ready = append(m.ready, ready{seq: i, row: m.d.batch.Len() - 1})
	}
}

// take picks the next token of a sequence from its logits [V].
func (m *many) take(s *one, logits []float32) error {
	id, err := m.sampler.pick(logits, &s.random)
	if err != nil {
		return fmt.Errorf("prompt %d, after %d tokens: %w", s.Seq, s.past, err)
	}
	if m.stop[id] {
		s.Finish = EndToken
		return nil
	}
	s.Tokens = append(s.Tokens, id)
	s.rest = s.Tokens[len(s.Tokens)-1:]
	if m.d.spec.RopeRestarts(s.past, s.past+1) { // it grows past the length up to which its keys are right
		m.d.walk.Truncate(s.slot, 0)
		s.past, s.rest = 0, slices.Concat(m.prompts[s.Seq].Tokens, s.Tokens)
	}
	if m.watch != nil {
		if err = m.watch(s.Seq, id); errors.Is(err, ErrEnd) {
			s.Finish = Stopped
			return nil
		}
	}
	if err == nil && len(s.Tokens) == s.most {
		s.Finish = Length
	}
	return err
}

// end hands over what is complete and frees its slots.
func (m *many) end() error {
	live := m.live[:0]
	for _, s := range m.live {
		if s.Finish == "" {
			live = append(live, s)
			continue
		}
		m.d.walk.Truncate(s.slot, 0)
		m.free = append(m.free, s.slot)
		if err := m.done(s.Answer); err != nil {
			return err
		}
	}
	clear(m.live[len(live):])
	m.live = live
	return nil
}
