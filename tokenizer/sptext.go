package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// spNormalizer is SentencePiece's normaliser with the identity character map.
type spNormalizer struct {
	dummyPrefix bool // begin with one space
	trim        bool // drop leading, trailing and repeated spaces
	escape      bool // write spaces as U+2581
	user        trie // user-defined pieces are copied as they are, spaces inside included
}

func (n *spNormalizer) normalize(text string) string {
	if n.trim {
		text = n.trimLeft(text)
	}
	if text == "" {
		return ""
	}
	out := make([]byte, 0, len(text)+len(text)/2+len(space))
	if n.dummyPrefix {
		out = n.appendSpace(out)
	}
	out = n.appendText(out, text)
	if !n.trim {
		return string(out)
	}
	return n.trimRight(string(out))
}

func (n *spNormalizer) appendSpace(out []byte) []byte {
	if n.escape {
		return append(out, space...)
	}
	return append(out, ' ')
}

// trimLeft drops leading spaces, but not those that begin a user-defined piece.
func (n *spNormalizer) trimLeft(text string) string {
	for text != "" {
		if part := n.next(text); part != " " {
			break
		}
		text = text[1:]
	}
	return text
}

func (n *spNormalizer) trimRight(text string) string {
	suffix := " "
	if n.escape {
		suffix = space
	}
	for strings.HasSuffix(text, suffix) {
		text = strings.TrimSuffix(text, suffix)
	}
	return text
}

func (n *spNormalizer) appendText(out []byte, text string) []byte {
	if n.user.empty() && !n.trim {
		return n.appendEscaped(out, text)
	}
	afterSpace := n.trim
	for text != "" {
		part := n.next(text)
		text = text[len(part):]
		for afterSpace && strings.HasPrefix(part, " ") {
			part = part[1:]
		}
		if part == "" {
			continue
		}
		out = n.appendEscaped(out, part)
		afterSpace = n.trim && strings.HasSuffix(part, " ")
	}
	return out
}

func (n *spNormalizer) appendEscaped(out []byte, text string) []byte {
	if !n.escape {
		return append(out, text...)
	}
	for i := 0; i < len(text); i++ {
		if text[i] == ' ' {
			out = append(out, space...)
		} else {
			out = append(out, text[i])
		}
	}
	return out
}

// next is the user-defined piece or the character that text begins with.
func (n *spNormalizer) next(text string) string {
	if _, size := n.user.longest(text); size > 0 {
		return text[:size]
	}
	_, size := utf8.DecodeRuneInString(text)
	return text[:size]
}

// spSplitter cuts normalised text where no merge can cross, so that words can be encoded apart and cached.
// SentencePiece itself sees the whole text as one piece. Cutting between two characters is exact when no
// piece of the vocabulary holds the two side by side: every merge makes a piece, so none spans the cut, and
// the merges on either side do not touch each other's symbols. It cuts before U+2581 where that holds, and
// around user-defined pieces, which never merge.
type spSplitter struct {
	user  trie
	glued map[rune]bool // characters that some piece has before U+2581
}

func newSPSplitter(f *spFile, user trie) *spSplitter {
	s := &spSplitter{user: user, glued: make(map[rune]bool)}
	for _, p := range f.pieces {
		before := rune(-1)
		for _, r := range p.text {
			if r == '\u2581' && before >= 0 {
				s.glued[before] = true
			}
			before = r
		}
	}
	return s
}

func (s *spSplitter) split(text string, _ bool, yield func(string)) {
	s.user.cut(text, func(part string) { cutWords(part, s.glued, yield) }, func(from, to int) { yield(text[from:to]) })
}

// spDecoder joins pieces as Google's library does: control pieces vanish, byte pieces become characters, and
// the space that the dummy prefix put first is taken away again.
type spDecoder struct {
	text       []string // pieces with U+2581 turned to spaces; for the unknown piece, its surface
	kind       []uint64
	bytes      []byte
	stripFirst bool // one leading space
	stripAll   bool // every leading space
}

// newSPDecoder also decodes the tokens after the pieces: the added ones.
func newSPDecoder(f *spFile, tokens []string, added []addedToken) *spDecoder {
	d := &spDecoder{stripFirst: f.dummyPrefix || f.removeWhitespace, stripAll: f.removeWhitespace}
	d.bytes = make([]byte, len(tokens))
	for i, p := range f.pieces {
		text := strings.ReplaceAll(p.text, space, " ")
		if p.kind == pieceUnknown {
			text = f.unkSurface
		}
		d.text = append(d.text, text)
		d.kind = append(d.kind, p.kind)
		if p.kind == pieceByte {
			d.bytes[i], _ = parseByteToken(p.text)
		}
	}
	for _, text := range tokens[len(f.pieces):] {
		d.text, d.kind = append(d.text, text), append(d.kind, pieceNormal)
	}
	for _, tok := range added {
		if tok.Special && tok.ID >= len(f.pieces) {
			d.kind[tok.ID] = pieceControl
		}
	}
	return d
}

func (d *spDecoder) next(dst []byte, st *decodeState, id int) []byte {
	if d.kind[id] == pieceByte {
		st.pending = append(st.pending, d.bytes[id])
		return st.drain(dst, false, bytewise)
	}
	dst = st.drain(dst, true, bytewise)
	st.begun = st.begun || st.stripped || st.wrote
	st.stripped = false
	if d.kind[id] == pieceControl {
		return dst
	}
	return d.appendText(dst, st, id)
}

// appendText takes a space away at the beginning. Google's decoder looks for it until a piece gave one up or
// any text was written, so that control pieces and an empty first piece do not end the search.
func (d *spDecoder) appendText(dst []byte, st *decodeState, id int) []byte {
	text := d.text[id]
	if !st.begun && d.stripFirst && d.kind[id] != pieceUnknown && strings.HasPrefix(text, " ") {
		text = text[1:]
		st.stripped = !d.stripAll
	}
	st.wrote = st.wrote || text != ""
	return append(dst, text...)
}

func (d *spDecoder) flush(dst []byte, st *decodeState) []byte {
	return st.drain(dst, true, bytewise)
}
