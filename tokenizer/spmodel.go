package tokenizer

import (
	"slices"
	"unicode/utf8"
)

// spModel is SentencePiece's BPE: symbols start as characters, and the adjacent pair whose concatenation is
// the piece of the highest score merges first, the leftmost among equals.
//
// Symbols are numbers: a piece has its id, a character that occurs in pieces without being one has a number
// above them, and a character in no piece at all is negative (unknownRune) and never merges.
type spModel struct {
	unk          int
	byteFallback bool
	bytes        [256]int32
	user         trie // user-defined pieces, which nothing merges with

	runes runeTable
	ids   []int32 // symbol -> id, or unknownRune for a character that is not a piece
	pairs *pairTable
}

// build numbers the symbols and lists every pair of symbols that makes a piece.
func (m *spModel) build(f *spFile, pieces, reserved map[string]int32) {
	m.ids = make([]int32, len(f.pieces))
	for i, p := range f.pieces {
		m.ids[i] = int32(i)
		_, isReserved := reserved[p.text]
		if !isReserved || utf8.RuneCountInString(p.text) == 1 {
			m.addRunes(p.text, pieces, reserved)
		}
	}
	rank := scoreRanks(f)
	count := 0
	eachPair(f, pieces, func(_, _, _ int32) { count++ })
	m.pairs = newPairTable(count)
	eachPair(f, pieces, func(left, right, whole int32) {
		m.pairs.put(left, right, rank[f.pieces[whole].score], whole)
	})
}

// addRunes gives every character of a piece a symbol.
func (m *spModel) addRunes(text string, pieces, reserved map[string]int32) {
	for i, r := range text {
		one := text[i : i+utf8.RuneLen(r)]
		sym, ok := pieces[one]
		if !ok {
			sym = int32(len(m.ids))
			id := unknownRune(r)
			if have, ok := reserved[one]; ok && int(have) != m.unk {
				id = have
			}
			m.ids = append(m.ids, id)
			pieces[one] = sym
		}
		m.runes.put(r, sym)
	}
}

// eachPair visits every way to cut a piece into two symbols.
func eachPair(f *spFile, symbols map[string]int32, visit func(left, right, whole int32)) {
	for i, p := range f.pieces {
		if p.kind != pieceNormal {
			continue // user-defined pieces are found whole, before any merge
		}
		for at := range p.text {
			if at == 0 {
				continue
			}
			left, ok := symbols[p.text[:at]]
			if !ok {
				continue
			}
			if right, ok := symbols[p.text[at:]]; ok {
				visit(left, right, int32(i))
			}
		}
	}
}

// scoreRanks numbers the distinct scores from the highest down: equal scores must tie.
func scoreRanks(f *spFile) map[float32]uint32 {
	scores := make([]float32, 0, len(f.pieces))
	for _, p := range f.pieces {
		scores = append(scores, p.score)
	}
	slices.Sort(scores)
	ranks := make(map[float32]uint32, len(scores))
	for i := len(scores) - 1; i >= 0; i-- {
		if _, ok := ranks[scores[i]]; !ok {
			ranks[scores[i]] = uint32(len(ranks))
		}
	}
	return ranks
}

func (m *spModel) encode(ids []int, piece string, s *scratch) []int {
	if id, n := m.user.longest(piece); n == len(piece) && n > 0 {
		return append(ids, id)
	}
	word, ok := s.words[piece]
	if !ok {
		s.syms = s.syms[:0]
		for _, r := range piece {
			s.syms = append(s.syms, m.runes.get(r))
		}
		word = m.expand(s.out[:0], m.pairs.merge(s.syms, s))
		s.out = word
		s.remember(piece, word)
	}
	return m.append(ids, word)
}

// unknownRune is the symbol of a character that no piece stands for; it keeps the character.
func unknownRune(r rune) int32 { return -3 - r }

// expand writes the ids of symbols: an unknown character becomes its byte pieces, or the unknown piece.
func (m *spModel) expand(out, syms []int32) []int32 {
	for _, sym := range syms {
		id := sym
		if sym >= 0 {
			id = m.ids[sym]
		}
		switch {
		case id >= 0:
			out = append(out, id)
		case m.byteFallback:
			var buf [utf8.UTFMax]byte
			for _, b := range utf8.AppendRune(buf[:0], -3-id) {
				out = append(out, m.bytes[b])
			}
		default:
			out = append(out, int32(m.unk))
		}
	}
	return out
}

// append adds ids, a run of unknown pieces becoming one as in Google's library.
func (m *spModel) append(ids []int, word []int32) []int {
	for _, id := range word {
		if int(id) == m.unk && len(ids) > 0 && ids[len(ids)-1] == m.unk {
			continue
		}
		ids = append(ids, int(id))
	}
	return ids
}

// runeTable maps characters to symbols; the Basic Multilingual Plane is an array because every character of
// the text is looked up.
type runeTable struct {
	low  []int32
	high map[rune]int32
}

// noSymbol is never stored, so a zero entry of the array means "absent".
const noSymbol = 0

func newRuneTable() runeTable {
	return runeTable{low: make([]int32, 1<<16), high: make(map[rune]int32)}
}

func (t *runeTable) put(r rune, sym int32) {
	if int(r) < len(t.low) {
		t.low[r] = sym + 1
		return
	}
	t.high[r] = sym + 1
}

func (t *runeTable) get(r rune) int32 {
	var entry int32
	if int(r) < len(t.low) {
		entry = t.low[r]
	} else {
		entry = t.high[r]
	}
	if entry == noSymbol {
		return unknownRune(r)
	}
	return entry - 1
}
