package tokenizer

const (
	cacheWords = 1 << 15 // words kept before the cache starts anew
	cacheBytes = 64      // longer pieces rarely come again
	keepSyms   = 1 << 16 // buffers above this are given back after use
)

// scratch is the working memory of one Encode call: buffers and a bounded cache of words. It is reused by
// later calls but never by two at once.
type scratch struct {
	words map[string][]int32
	arena []int32

	syms, out, next, prev []int32
	heap                  []uint64
}

func newScratch() *scratch { return &scratch{words: make(map[string][]int32)} }

// trim lets go of the buffers that one very long piece left behind.
func (s *scratch) trim() {
	if cap(s.syms) > keepSyms {
		s.syms, s.out, s.next, s.prev, s.heap = nil, nil, nil, nil, nil
	}
}

// remember stores the ids of a word. The key is copied: it must not keep the whole text alive.
func (s *scratch) remember(word string, ids []int32) {
	if len(word) > cacheBytes {
		return
	}
	if len(s.words) >= cacheWords {
		clear(s.words)
		s.arena = nil
	}
	if cap(s.arena)-len(s.arena) < len(ids) {
		s.arena = make([]int32, 0, 4096)
	}
	start := len(s.arena)
	s.arena = append(s.arena, ids...)
	s.words[string([]byte(word))] = s.arena[start:len(s.arena):len(s.arena)]
}

func grow(buf []int32, n int) []int32 {
	if cap(buf) < n {
		return make([]int32, n)
	}
	return buf[:n]
}
