package engine

import (
	"fmt"

	"github.com/coppice-ml/coppice/model"
)

// Batch is a packed, ragged set of token sequences: one flat run of N tokens cut
// into segments, without padding. Independent sequences are segments without a
// parent; a segment with a parent also attends to the parent's tokens (and its
// parent's, and so on), which is how several continuations share one context.
type Batch struct {
	Tokens    []int32   // [N] ids
	Positions []int32   // [N] position of each token for rotary embeddings
	Segments  []Segment // in order, covering the tokens exactly
}

// Segment is a run of consecutive tokens of a batch that attend causally to
// each other and to what came before them.
type Segment struct {
	Start, Len int
	Parent     int // index of an earlier segment, or NoParent
	Slot       int // sequence of the KV cache this segment continues; used only with a cache
	Past       int // tokens of the sequence already in the cache slot; 0 without a cache
	// Length is how many tokens the whole sequence has, from root to leaf, 0 if it
	// ends with the segment: some models choose by it how they rotate queries and
	// keys (model.Rope.Choice). It is the sequence's own, never the batch's longest,
	// so that results do not depend on packing. A parent whose children differ in
	// their choice cannot be shared by them: each choice needs a copy of it, and
	// engines refuse other batches. With a cache, the keys there stay as they were
	// rotated; whoever generates decides when to begin anew.
	Length int
}

// NoParent marks a segment that starts a sequence.
const NoParent = -1

// Add appends a segment and returns its index. Its positions continue the
// parent's, or start at 0; its ancestors become as long as it, if they were not.
func (b *Batch) Add(tokens []int32, parent int) int {
	first := 0
	if parent != NoParent {
		p := b.Segments[parent]
		first = int(b.Positions[p.Start+p.Len-1]) + 1
	}
	length := first + len(tokens)
	b.add(tokens, Segment{Parent: parent, Length: length}, first)
	for p := parent; p != NoParent; p = b.Segments[p].Parent {
		b.Segments[p].Length = max(b.Segments[p].Length, length)
	}
	return len(b.Segments) - 1
}

// Continue appends a segment that continues cache slot by tokens after past
// tokens already there.
func (b *Batch) Continue(tokens []int32, slot, past int) {
	b.add(tokens, Segment{Parent: NoParent, Slot: slot, Past: past, Length: past + len(tokens)}, past)
}

func (b *Batch) add(tokens []int32, s Segment, first int) {
	s.Start, s.Len = len(b.Tokens), len(tokens)
	b.Tokens = append(b.Tokens, tokens...)
	for i := range tokens {
		b.Positions = append(b.Positions, int32(first+i))
	}
	b.Segments = append(b.Segments, s)
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.Tokens, b.Positions, b.Segments = b.Tokens[:0], b.Positions[:0], b.Segments[:0]
}

// Len is the number of tokens N.
func (b *Batch) Len() int { return len(b.Tokens) }

// Context is the number of tokens segment i attends to before its own first
// one: its ancestors' and those in the cache.
func (b *Batch) Context(i int) int {
	n := b.Segments[i].Past
	for p := b.Segments[i].Parent; p != NoParent; p = b.Segments[p].Parent {
		n += b.Segments[p].Len + b.Segments[p].Past
	}
	return n
}

// Choices appends to list which rotary embeddings each segment gets. It fails
// where a segment's are not its parent's.
func (b *Batch) Choices(r model.Rope, list []int) ([]int, error) {
	for i, s := range b.Segments {
		length := max(s.Length, b.Context(i)+s.Len)
		choice := r.Choice(length)
		if s.Parent != NoParent && list[s.Parent] != choice {
			return nil, fmt.Errorf("segment %d is of a sequence of %d tokens, its parent of one of another length, and the model rotates their keys differently (rope_scaling of type %s): each needs a copy of the parent", i, length, r.Scaling.Kind)
		}
		list = append(list, choice)
	}
	return list, nil
}

// Continues makes sure that a batch continues what a cache holds: so many tokens in
// each slot of a capacity.
func (b *Batch) Continues(used []int, capacity int) error {
	for i, s := range b.Segments {
		switch {
		case s.Parent != NoParent:
			return fmt.Errorf("segment %d has a parent: with a cache, segments continue slots", i)
		case s.Slot < 0 || s.Slot >= len(used):
			return fmt.Errorf("segment %d: cache slot %d does not exist, there are %d", i, s.Slot, len(used))
		case s.Past != used[s.Slot]:
			return fmt.Errorf("segment %d continues slot %d after %d tokens, but it holds %d", i, s.Slot, s.Past, used[s.Slot])
		case s.Past+s.Len > capacity:
			return fmt.Errorf("segment %d: %d tokens do not fit cache slot %d of %d", i, s.Past+s.Len, s.Slot, capacity)
		}
	}
	return nil
}

// Reach fails where a token lies past the positions that a model learned.
func (b *Batch) Reach(positions int) error {
	for i, p := range b.Positions {
		if int(p) >= positions {
			return fmt.Errorf("position %d at index %d is past the %d that the model learned", p, i, positions)
		}
	}
	return nil
}

// Validate checks the batch against a vocabulary of size vocab. Every engine
// may assume a batch that passed.
func (b *Batch) Validate(vocab int) error {
	if len(b.Tokens) == 0 {
		return fmt.Errorf("batch is empty")
	}
	if len(b.Positions) != len(b.Tokens) {
		return fmt.Errorf("batch has %d positions for %d tokens", len(b.Positions), len(b.Tokens))
	}
	next := 0
	for i, s := range b.Segments {
		if s.Start != next || s.Len < 1 || s.Past < 0 {
			return fmt.Errorf("segment %d (start %d, length %d, past %d): want start %d and at least one token", i, s.Start, s.Len, s.Past, next)
		}
		if s.Parent != NoParent && (s.Parent < 0 || s.Parent >= i) {
			return fmt.Errorf("segment %d names segment %d as its parent: a parent comes before its children", i, s.Parent)
		}
		next += s.Len
	}
	if next != len(b.Tokens) {
		return fmt.Errorf("segments cover %d of %d tokens", next, len(b.Tokens))
	}
	for i, t := range b.Tokens {
		if t < 0 || int(t) >= vocab {
			return fmt.Errorf("token id %d at index %d is outside the vocabulary of %d", t, i, vocab)
		}
		if b.Positions[i] < 0 {
			return fmt.Errorf("position %d at index %d is negative", b.Positions[i], i)
		}
	}
	return nil
}
