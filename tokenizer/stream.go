package tokenizer

import "unicode/utf8"

// decoder turns ids, which are known to be in the vocabulary, into text. What it cannot write yet it keeps in
// the state.
type decoder interface {
	next(dst []byte, st *decodeState, id int) []byte
	flush(dst []byte, st *decodeState) []byte
}

// decodeState is what a decoder remembers between two ids of one text.
type decodeState struct {
	pending []byte // bytes that may yet become a character

	begun    bool // the beginning of the text is past
	stripped bool // the last piece gave up its leading space
	wrote    bool // some text was written

	stripCount int // how often Strip took something away; its limit once that is over
}

// replacement says how many U+FFFD stand for bytes that are no character.
type replacement int

const (
	maximal  replacement = iota // one for the longest start of a character, as Rust and the WHATWG do
	bytewise                    // one for every byte, as Google's sentencepiece does
)

// drain writes the characters that are complete; with final, what is left is replaced.
func (st *decodeState) drain(dst []byte, final bool, how replacement) []byte {
	p := st.pending
	for len(p) > 0 && (final || utf8.FullRune(p)) {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 && how == maximal {
			n = brokenPrefix(p)
		}
		st.wrote = true
		dst = utf8.AppendRune(dst, r)
		p = p[n:]
	}
	st.pending = st.pending[:copy(st.pending, p)]
	return dst
}

// brokenPrefix is the length of the longest start of some character at the head of p, at least 1.
func brokenPrefix(p []byte) int {
	for n := min(len(p), utf8.UTFMax-1); n > 1; n-- {
		if !utf8.FullRune(p[:n]) {
			return n
		}
	}
	return 1
}

// Stream decodes ids one at a time, as they are generated. It is not safe for concurrent use.
type Stream struct {
	t     *Tokenizer
	state decodeState
	index int
	loose bool // ids that name no token are left out
}

// Stream begins a decoding of its own.
func (t *Tokenizer) Stream() *Stream { return &Stream{t: t} }

// Continue decodes what a model writes after prompt: the text that Decode of both together has beyond that of the
// prompt, so that a space before the first word stays. Ids that name no token are left out, as in Text.
func (t *Tokenizer) Continue(prompt []int) *Stream {
	s := &Stream{t: t, loose: true}
	var text []byte
	for _, id := range prompt {
		if t.check(id, 0) == nil {
			text = s.append(text[:0], id)
		}
	}
	return s
}

// Next returns the text that id completes; it is empty while a character is cut between tokens. The texts of
// all calls and of Flush together are what Decode returns.
func (s *Stream) Next(id int) (string, error) {
	if err := s.t.check(id, s.index); err != nil {
		if s.loose && id >= 0 {
			return "", nil
		}
		return "", err
	}
	s.index++
	return string(s.append(nil, id)), nil
}

// Flush ends the text: bytes that never became a character are replaced by U+FFFD. The stream can then be
// used for another text.
func (s *Stream) Flush() string {
	rest := s.t.dec.flush(nil, &s.state)
	*s = Stream{t: s.t, loose: s.loose}
	return string(rest)
}

func (s *Stream) append(dst []byte, id int) []byte {
	return s.t.dec.next(dst, &s.state, id)
}
