package tokenizer

// spaced decodes where tokenizer.json has no decoder: tokens as the vocabulary spells
// them, with a space between, as Hugging Face's library does.
type spaced struct {
	tokens []string
	skip   []bool // special tokens
}

func newSpaced(tokens []string, added []addedToken) *spaced {
	d := &spaced{tokens: tokens, skip: make([]bool, len(tokens))}
	for _, t := range added {
		d.skip[t.ID] = t.Special
	}
	return d
}

func (d *spaced) next(dst []byte, st *decodeState, id int) []byte {
	if d.skip[id] {
		return dst
	}
	if st.begun {
		dst = append(dst, ' ')
	}
	st.begun = true
	return append(dst, d.tokens[id]...)
}

func (d *spaced) flush(dst []byte, _ *decodeState) []byte { return dst }
