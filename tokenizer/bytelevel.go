package tokenizer

import (
	"slices"
	"unicode/utf8"
)

// byteLevel is BPE over bytes, as GPT-2 and Llama 3 use it. The vocabulary spells bytes as printable
// characters; it is turned into raw bytes at loading, so that encoding never spells anything.
type byteLevel struct {
	whole   map[string]int32 // raw bytes -> id: pieces that are tokens skip the merges; nil without ignore_merges
	bytes   [256]int32       // byte -> symbol, -1 where the vocabulary lacks it
	pairs   *pairTable
	unk     int32 // for bytes the vocabulary lacks; -1: they are left out, as Hugging Face's library does
	fuseUnk bool
}

func (m *byteLevel) encode(ids []int, piece string, s *scratch) []int {
	if id, ok := m.whole[piece]; ok {
		return append(ids, int(id))
	}
	word, ok := s.words[piece]
	if !ok {
		s.syms = m.symbols(s.syms[:0], piece)
		word = m.pairs.merge(s.syms, s)
		s.remember(piece, word)
	}
	for _, id := range word {
		ids = append(ids, int(id))
	}
	return ids
}

func (m *byteLevel) symbols(syms []int32, piece string) []int32 {
	fused := false
	for i := 0; i < len(piece); i++ {
		sym := m.bytes[piece[i]]
		if sym >= 0 {
			syms, fused = append(syms, sym), false
			continue
		}
		if m.unk >= 0 && !(fused && m.fuseUnk) {
			syms, fused = append(syms, m.unk), true
		}
	}
	return syms
}

// byteSpelling is GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for the characters
// from U+0100 on.
func byteSpelling() (spell [256]rune, read map[rune]byte) {
	read = make(map[rune]byte, 256)
	next := rune(0x100)
	for b := range spell {
		r := rune(b)
		if !(r >= '!' && r <= '~' || r >= 0xa1 && r <= 0xac || r >= 0xae && r <= 0xff) {
			r = next
			next++
		}
		spell[b] = r
		read[r] = byte(b)
	}
	return spell, read
}

// byteReader reads spelled tokens; byteSpelling's characters are all below U+0200.
type byteReader [0x200]int16

func newByteReader() *byteReader {
	var br byteReader
	for i := range br {
		br[i] = -1
	}
	_, read := byteSpelling()
	for r, b := range read {
		br[r] = int16(b)
	}
	return &br
}

// raw returns the bytes that a token spells; false for a token outside the alphabet.
func (br *byteReader) raw(dst []byte, token string) ([]byte, bool) {
	for _, r := range token {
		if r >= rune(len(br)) || br[r] < 0 {
			return dst, false
		}
		dst = append(dst, byte(br[r]))
	}
	return dst, true
}

// byteDecoder writes the bytes that tokens spell. A token outside the alphabet stands for itself.
type byteDecoder struct {
	raw []string // "" for special tokens
}

// newByteDecoder reads the first own tokens as bytes spelled, and the added ones after them as they are.
func newByteDecoder(tokens, raw []string, own int, added []addedToken) *byteDecoder {
	d := &byteDecoder{raw: slices.Clone(raw)}
	for id, token := range tokens {
		if raw[id] == "" {
			d.raw[id] = token
		}
	}
	for _, tok := range added {
		switch {
		case tok.Special:
			d.raw[tok.ID] = ""
		case tok.ID >= own: // "é" is the letter here, not the byte it spells in the vocabulary
			d.raw[tok.ID] = tok.Content
		}
	}
	return d
}

func (d *byteDecoder) next(dst []byte, st *decodeState, id int) []byte {
	if len(st.pending) == 0 && utf8.ValidString(d.raw[id]) {
		return append(dst, d.raw[id]...)
	}
	st.pending = append(st.pending, d.raw[id]...)
	return st.drain(dst, false, maximal)
}

func (d *byteDecoder) flush(dst []byte, st *decodeState) []byte {
	return st.drain(dst, true, maximal)
}
