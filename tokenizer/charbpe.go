package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// charBPE is BPE over characters with a list of merges: what a SentencePiece model becomes in a tokenizer.json
// (Llama 2, Mistral, Phi-3, Gemma). A character outside the vocabulary becomes its byte tokens, where the file
// says so, or the unknown token.
type charBPE struct {
	whole    map[string]int32 // pieces that are tokens skip the merges; nil without ignore_merges
	runes    runeTable
	bytes    [256]int32 // -1: missing
	fallback bool
	unk      int32 // -1: unknown characters are left out, as Hugging Face's library does
	fuseUnk  bool
	pairs    *pairTable

	// Words are cut before a space, so that they can be cached, after every character that no merge joins to
	// one; nil where no cut is known to be safe.
	glued map[rune]bool
}

func newCharBPE(m *jsonModel, vocab map[string]int32) (*charBPE, error) {
	c := &charBPE{fallback: m.ByteFallback, fuseUnk: m.FuseUnk, unk: -1, runes: newRuneTable()}
	var err error
	if c.unk, err = m.unknown(vocab); err != nil {
		return nil, err
	}
	for token, id := range vocab {
		if r, n := utf8.DecodeRuneInString(token); n == len(token) && n > 0 {
			c.runes.put(r, id)
		}
	}
	for b := range c.bytes {
		id, ok := vocab[byteToken(byte(b))]
		if !ok {
			id = -1
		}
		c.bytes[b] = id
	}
	if m.IgnoreMerges {
		c.whole = vocab
	}
	c.glued = make(map[rune]bool)
	c.pairs, err = readMerges(m.Merges, vocab, func(left, right string) { c.glue(left, right) })
	if c.runes.get('\u2581') < 0 {
		c.glued = nil
	}
	return c, err
}

// glue notes what a merge joins. A byte token or the unknown token in a merge makes its text say nothing about
// the characters it stands for.
func (c *charBPE) glue(left, right string) {
	if c.glued == nil {
		return
	}
	for _, part := range []string{left, right} {
		if _, ok := parseByteToken(part); ok && c.fallback {
			c.glued = nil
			return
		}
	}
	if !strings.Contains(right, space) && !strings.Contains(left, space) {
		return
	}
	before := rune(-1)
	for _, r := range left + right {
		if r == '\u2581' && before >= 0 {
			c.glued[before] = true
		}
		before = r
	}
}

func (c *charBPE) encode(ids []int, piece string, s *scratch) []int {
	if id, ok := c.whole[piece]; ok {
		return append(ids, int(id))
	}
	if c.glued == nil {
		return c.word(ids, piece, s)
	}
	if c.unk < 0 {
		piece = c.known(piece) // what is left out parts nothing
	}
	cutWords(piece, c.glued, func(word string) { ids = c.word(ids, word, s) })
	return ids
}

func (c *charBPE) word(ids []int, word string, s *scratch) []int {
	merged, ok := s.words[word]
	if !ok {
		s.syms = c.symbols(s.syms[:0], word)
		merged = c.pairs.merge(s.syms, s)
		s.remember(word, merged)
	}
	for _, id := range merged {
		ids = append(ids, int(id))
	}
	return ids
}

// symbols writes the ids of characters. As in Hugging Face's library an unknown token waits for the next known
// character, and byte tokens pass it by.
func (c *charBPE) symbols(syms []int32, word string) []int32 {
	waiting := false
	for i := 0; i < len(word); {
		r, n := utf8.DecodeRuneInString(word[i:])
		text := word[i : i+n]
		i += n
		if sym := c.runes.get(r); sym >= 0 {
			if waiting {
				syms, waiting = append(syms, c.unk), false
			}
			syms = append(syms, sym)
			continue
		}
		if c.fallback && c.haveBytes(text) {
			for j := range len(text) {
				syms = append(syms, c.bytes[text[j]])
			}
			continue
		}
		if c.unk < 0 {
			continue
		}
		if waiting && !c.fuseUnk {
			syms = append(syms, c.unk)
		}
		waiting = true
	}
	if waiting {
		syms = append(syms, c.unk)
	}
	return syms
}

// known leaves out the characters that symbols leaves out without an unknown token.
func (c *charBPE) known(text string) string {
	lost := func(r rune) bool { return c.runes.get(r) < 0 && !(c.fallback && c.haveBytes(string(r))) }
	if strings.IndexFunc(text, lost) < 0 {
		return text
	}
	return strings.Map(func(r rune) rune {
		if lost(r) {
			return -1
		}
		return r
	}, text)
}

func (c *charBPE) haveBytes(text string) bool {
	for i := range len(text) {
		if c.bytes[text[i]] < 0 {
			return false
		}
	}
	return true
}

// byteToken spells a byte as SentencePiece does, "<0x0A>".
func byteToken(b byte) string {
	const digits = "0123456789ABCDEF"
	return "<0x" + string(digits[b>>4]) + string(digits[b&15]) + ">"
}

// cutWords cuts text before spaces (U+2581), except after a character of glued. Cutting between two characters
// is exact when no merge makes a token that holds the two side by side: then none spans the cut, and the
// merges on either side do not touch each other's symbols.
func cutWords(text string, glued map[rune]bool, yield func(string)) {
	start := 0
	for at := 1; at < len(text); {
		next := strings.Index(text[at:], space)
		if next < 0 {
			break
		}
		at += next
		before, _ := utf8.DecodeLastRuneInString(text[:at])
		if at > start && !glued[before] {
			yield(text[start:at])
			start = at
		}
		at += len(space)
	}
	if start < len(text) {
		yield(text[start:])
	}
}
