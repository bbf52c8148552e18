package tokenizer

import (
	"fmt"
	"math/bits"
)

// noRank marks a pair that does not merge.
const noRank = ^uint32(0)

// longPiece is the number of symbols from which the heap beats scanning for the best pair.
const longPiece = 48

// pairTable maps a pair of symbols to the rank of its merge (lower merges first) and the merged symbol. It
// is an open-addressing table because this look-up is the inner loop of encoding.
type pairTable struct {
	slots   []pairSlot
	shift   uint
	crowded bool // looking some pair up takes more than maxProbes
}

// maxProbes bounds what looking a pair up takes; in a table half full, hundreds come about by intent alone.
const maxProbes = 512

type pairSlot struct {
	key  uint64
	rank uint32
	sym  int32
}

func newPairTable(n int) *pairTable {
	logSize := max(4, bits.Len(uint(2*n)))
	p := &pairTable{slots: make([]pairSlot, 1<<logSize), shift: uint(64 - logSize)}
	for i := range p.slots {
		p.slots[i].rank = noRank
	}
	return p
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

func (p *pairTable) slot(key uint64) int { return int(key * 0x9e3779b97f4a7c15 >> p.shift) }

// put stores a merge; a pair listed twice keeps the later one.
func (p *pairTable) put(left, right int32, rank uint32, sym int32) {
	key := pairKey(left, right)
	i := p.slot(key)
	for range maxProbes {
		if s := &p.slots[i]; s.rank == noRank || s.key == key {
			*s = pairSlot{key, rank, sym}
			return
		}
		i = (i + 1) & (len(p.slots) - 1)
	}
	p.crowded = true
}

// check refuses merges that were made to be slow to find.
func (p *pairTable) check() error {
	run := 0
	for i := range p.slots {
		if p.slots[i].rank == noRank {
			run = 0
			continue
		}
		if run++; run > 8*maxProbes {
			p.crowded = true
			break
		}
	}
	if p.crowded {
		return fmt.Errorf("merges: over %d pairs share a place in the table: %w", maxProbes, ErrUnsupported)
	}
	return nil
}

// get returns the rank and the merged symbol, or noRank.
func (p *pairTable) get(left, right int32) (uint32, int32) {
	key := pairKey(left, right)
	for i := p.slot(key); ; i = (i + 1) & (len(p.slots) - 1) {
		if s := &p.slots[i]; s.key == key || s.rank == noRank {
			return s.rank, s.sym
		}
	}
}

// merge applies merges to syms in place, always the lowest rank first and the leftmost among equals, and
// returns what is left.
func (p *pairTable) merge(syms []int32, s *scratch) []int32 {
	if len(syms) < longPiece {
		return p.mergeShort(syms)
	}
	return p.mergeLong(syms, s)
}

// mergeShort is quadratic, which for a word is faster than keeping a heap.
func (p *pairTable) mergeShort(syms []int32) []int32 {
	var ranks [longPiece]uint32 // of the pair that begins at each symbol
	for i := 0; i+1 < len(syms); i++ {
		ranks[i], _ = p.get(syms[i], syms[i+1])
	}
	for len(syms) > 1 {
		best, at := noRank, 0
		for i, r := range ranks[:len(syms)-1] {
			if r < best {
				best, at = r, i
			}
		}
		if best == noRank {
			break
		}
		_, syms[at] = p.get(syms[at], syms[at+1])
		copy(syms[at+1:], syms[at+2:])
		copy(ranks[at:len(syms)-1], ranks[at+1:len(syms)-1])
		syms = syms[:len(syms)-1]
		if at > 0 {
			ranks[at-1], _ = p.get(syms[at-1], syms[at])
		}
		if at+1 < len(syms) {
			ranks[at], _ = p.get(syms[at], syms[at+1])
		}
	}
	return syms
}

// gone marks a symbol that was merged into its left neighbour.
const gone = -2

// mergeLong keeps candidates in a heap ordered by rank, then position: O(n log n). An entry is stale when
// the pair now at its position has another rank; a pair of equal rank there has an entry of its own with
// the same priority, so merging it early changes nothing.
func (p *pairTable) mergeLong(syms []int32, s *scratch) []int32 {
	n := len(syms)
	s.next, s.prev = grow(s.next, n), grow(s.prev, n)
	next, prev, heap := s.next, s.prev, s.heap[:0]
	for i := range syms {
		prev[i], next[i] = int32(i-1), int32(i+1)
		if i+1 < n {
			if rank, _ := p.get(syms[i], syms[i+1]); rank != noRank {
				heap = append(heap, uint64(rank)<<32|uint64(i))
			}
		}
	}
	heapify(heap)
	for len(heap) > 0 {
		var top uint64
		top, heap = pop(heap)
		at := int32(uint32(top))
		if syms[at] == gone || int(next[at]) == n {
			continue
		}
		right := next[at]
		rank, sym := p.get(syms[at], syms[right])
		if rank == noRank || rank != uint32(top>>32) {
			continue
		}
		syms[at], syms[right] = sym, gone
		next[at] = next[right]
		if int(next[at]) < n {
			prev[next[at]] = at
			heap = p.candidate(heap, syms, at, next[at])
		}
		if prev[at] >= 0 {
			heap = p.candidate(heap, syms, prev[at], at)
		}
	}
	s.heap = heap
	return compact(syms)
}

func (p *pairTable) candidate(heap []uint64, syms []int32, left, right int32) []uint64 {
	rank, _ := p.get(syms[left], syms[right])
	if rank == noRank {
		return heap
	}
	return push(heap, uint64(rank)<<32|uint64(left))
}

func compact(syms []int32) []int32 {
	out := syms[:0]
	for _, sym := range syms {
		if sym != gone {
			out = append(out, sym)
		}
	}
	return out
}
