package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

type decoderJSON struct {
	Decoders       []json.RawMessage `json:"decoders"`
	Pattern        patternJSON       `json:"pattern"`
	Content        string            `json:"content"`
	Start          int               `json:"start"`
	Stop           int               `json:"stop"`
	Replacement    string            `json:"replacement"`
	PrependScheme  string            `json:"prepend_scheme"`
	AddPrefixSpace *bool             `json:"add_prefix_space"`
}

// chain decodes tokens that are text: rewritten one by one, bytes put together, the start of the text trimmed.
type chain struct {
	text  []string // what each token reads as; "" for special ones
	first []string // the same for the first token of a text; nil: no difference
	bytes []int16  // the byte that a token stands for, -1: none; nil without ByteFallback
	skip  []bool   // special tokens

	strip      string // taken away from the start of the whole text …
	stripCount int    // … up to so many times
}

// chainSteps reads decoder stages in order.
type chainSteps struct {
	rewrite  []func(token string, first bool) string
	differs  bool // the first token of a text reads differently
	fallback bool
	fused    bool
	out      chain
	count    stages
}

// newChain reads a decoder other than ByteLevel.
func newChain(raw json.RawMessage, tokens []string, added []addedToken) (*chain, error) {
	var steps chainSteps
	if err := steps.add(raw); err != nil {
		return nil, err
	}
	c := steps.out
	c.skip = make([]bool, len(tokens))
	for _, tok := range added {
		c.skip[tok.ID] = tok.Special
	}
	var err error
	if c.text, err = steps.read(tokens, false); err != nil {
		return nil, err
	}
	if steps.differs {
		if c.first, err = steps.read(tokens, true); err != nil {
			return nil, err
		}
	}
	if !steps.fallback {
		return &c, nil
	}
	c.bytes = make([]int16, len(tokens))
	for id, text := range c.text {
		c.bytes[id] = -1
		if b, ok := parseByteToken(text); ok {
			c.bytes[id] = int16(b)
		}
	}
	return &c, nil
}

func (cs *chainSteps) read(tokens []string, first bool) ([]string, error) {
	out := make([]string, len(tokens))
	left := maxDecoded
	for id, text := range tokens {
		for _, step := range cs.rewrite {
			text = step(text, first)
			if left -= len(text); left < 0 || len(text) > maxReading {
				return nil, fmt.Errorf("decoder: makes more than %d bytes of a token, or %d of all: %w", maxReading, maxDecoded, ErrUnsupported)
			}
		}
		out[id] = text
	}
	return out, nil
}

func (cs *chainSteps) add(raw json.RawMessage) error {
	if err := cs.count.enter("decoder"); err != nil {
		return err
	}
	defer cs.count.leave()
	kind, err := componentType("decoder", raw)
	if err != nil {
		return err
	}
	var d decoderJSON
	if kind != "" {
		if err := readJSON(raw, &d); err != nil {
			return fmt.Errorf("decoder %s: %w; correct it or get the file again", kind, err)
		}
	}
	after := cs.fallback || cs.fused // a stage that rewrites tokens would see text put together
	switch {
	case kind == "Sequence":
		for _, item := range d.Decoders {
			if err := cs.add(item); err != nil {
				return err
			}
		}
		return nil
	case kind == "Replace" && !after:
		return cs.addReplace(&d)
	case kind == "Metaspace" && !after:
		cs.addMetaspace(&d)
		return nil
	case kind == "ByteFallback" && !after:
		cs.fallback = true
		return nil
	case kind == "Fuse":
		cs.fused = true
		return nil
	case kind == "Strip" && cs.fused && d.Stop == 0 && cs.out.stripCount == 0:
		cs.out.strip, cs.out.stripCount = d.Content, d.Start
		return nil
	case kind == "Strip" && !after:
		cs.rewrite = append(cs.rewrite, func(token string, _ bool) string { return d.stripped(token) })
		return nil
	}
	return unsupported("decoder", fmt.Sprintf("%q", kind), "ByteLevel", "Metaspace", "Sequence of Replace or Metaspace, ByteFallback, Fuse and Strip at the start, in that order")
}

func (cs *chainSteps) addReplace(d *decoderJSON) error {
	replace, err := newReplace("decoder Replace", d.Pattern, d.Content)
	if err != nil {
		return err
	}
	cs.rewrite = append(cs.rewrite, func(token string, _ bool) string { return replace.normalize(token) })
	return nil
}

// addMetaspace turns replacements to spaces; those of the first token vanish unless nothing was prepended.
func (cs *chainSteps) addMetaspace(d *decoderJSON) {
	never := d.PrependScheme == prependNever || d.PrependScheme == "" && d.AddPrefixSpace != nil && !*d.AddPrefixSpace
	cs.differs = cs.differs || !never
	cs.rewrite = append(cs.rewrite, func(token string, first bool) string {
		if first && !never {
			return strings.ReplaceAll(token, d.Replacement, "")
		}
		return strings.ReplaceAll(token, d.Replacement, " ")
	})
}

func (d *decoderJSON) stripped(token string) string {
	for n := 0; n < d.Start && d.Content != "" && strings.HasPrefix(token, d.Content); n++ {
		token = token[len(d.Content):]
	}
	for n := 0; n < d.Stop && d.Content != "" && strings.HasSuffix(token, d.Content); n++ {
		token = token[:len(token)-len(d.Content)]
	}
	return token
}

func (c *chain) next(dst []byte, st *decodeState, id int) []byte {
	if c.skip[id] {
		return dst
	}
	if c.bytes != nil && c.bytes[id] >= 0 {
		st.pending, st.begun = append(st.pending, byte(c.bytes[id])), true
		return dst
	}
	dst = c.flush(dst, st)
	text := c.text[id]
	if c.first != nil && !st.begun {
		text = c.first[id]
	}
	st.begun = true
	return c.write(dst, st, text)
}

// flush writes a run of byte tokens. Hugging Face's ByteFallback reads a whole run as one text or, where that
// is not UTF-8, replaces every byte of it, so nothing of a run can be written before it ends.
func (c *chain) flush(dst []byte, st *decodeState) []byte {
	if len(st.pending) == 0 {
		return dst
	}
	text := string(st.pending)
	if !utf8.ValidString(text) {
		text = strings.Repeat(string(utf8.RuneError), len(text))
	}
	st.pending = st.pending[:0]
	return c.write(dst, st, text)
}

// write takes away what Strip does from the start of the text.
func (c *chain) write(dst []byte, st *decodeState, text string) []byte {
	for st.stripCount < c.stripCount && text != "" {
		if c.strip == "" || !strings.HasPrefix(text, c.strip) {
			st.stripCount = c.stripCount
			break
		}
		text = text[len(c.strip):]
		st.stripCount++
	}
	return append(dst, text...)
}
