// Package tokenizer turns text into token ids and back, exactly as the tokenizer files that travel with a
// checkpoint say: Hugging Face tokenizer.json and SentencePiece tokenizer.model.
//
// A tokenizer is a pipeline of five stages, each a small interface in this package: normaliser,
// pre-tokenizer, model, post-processor and decoder. A file that asks for a stage this package does not
// know is refused by name (ErrUnsupported); it is never approximated.
//
// Here belong file parsing, encoding, decoding and streamed decoding. Prompts, chat templates, truncation,
// padding and batching do not: the truncation and padding sections of tokenizer.json are ignored.
//
// Text that is not valid UTF-8 is read with every bad byte replaced by U+FFFD. Special tokens written in
// the text of a tokenizer.json are recognised, as Hugging Face's library does; control symbols written in
// text for a tokenizer.model are plain text, as Google's library does, unless tokenizer_config.json lists
// them in added_tokens_decoder or the caller asks for them (EncodeMarked).
package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Kinds of tokenizer, as Kind reports them.
const (
	kindSentencePiece = "sentencepiece-bpe"
	kindByteLevel     = "byte-level-bpe"
	kindCharacter     = "character-bpe"
)

// Tokenizer encodes and decodes text. It is immutable after loading and safe for concurrent use.
type Tokenizer struct {
	kind   string
	tokens []string
	known  []bool // an id inside the vocabulary may name no token

	added       addedTokens
	marked      addedTokens // what EncodeMarked finds in text
	opening     []string    // what stands for always at the head of EncodeMarked's text
	always      []int       // what EncodeMarked begins with
	turnEnds    []int       // tokens that end an answer, besides EOS
	normalize   normalizer  // nil: text is left as it is
	inner       normalizer  // for text after an added token; nil: normalize
	pre         preTokenizer
	headMatters bool // pre treats the beginning of a text apart
	model       model
	post        template
	dec         decoder

	bos, eos int // -1: none
	scratch  sync.Pool
}

// normalizer rewrites text before it is cut into pieces.
type normalizer interface {
	normalize(text string) string
}

// preTokenizer cuts text into pieces that no token crosses. Pieces are yielded in order and never empty; first
// says that nothing precedes the text.
type preTokenizer interface {
	split(text string, first bool, yield func(piece string))
}

// model appends the ids of one piece to ids. The scratch belongs to the calling goroutine.
type model interface {
	encode(ids []int, piece string, s *scratch) []int
}

// Encode returns the ids of text. With special, the tokens that the files put around a text (BOS, EOS,
// template) are added. The caller owns the result.
func (t *Tokenizer) Encode(text string, special bool) []int {
	var ids []int
	if special {
		ids = append(make([]int, 0, len(text)/4+8), t.post.before...)
	}
	ids = t.encode(ids, text, &t.added)
	if special {
		ids = append(ids, t.post.after...)
	}
	return ids
}

// EncodeMarked returns the ids of text in which special tokens are written out, as chat templates do: each is
// found, and none is added. It differs from Encode only for a tokenizer.model, whose control symbols Encode
// takes for plain text. Of ChatGLM's, only the roles of ChatGLM3 are found, "sop" being a part of words, and [gMASK] sop
// is put before every text, as its own code does, once where the text begins with it.
func (t *Tokenizer) EncodeMarked(text string) []int {
	for _, head := range t.opening {
		if rest, ok := strings.CutPrefix(text, head); ok {
			text = rest
			break
		}
	}
	return t.encode(append(make([]int, 0, len(text)/4+8), t.always...), text, &t.marked)
}

// Unmarked lists the markers of a chat template ("<|im_start|>") in text that are none of EncodeMarked's tokens. Those
// that are in the users' own words do not count.
func (t *Tokenizer) Unmarked(text string, own ...string) []string {
	var lost []string
	for rest := text; ; {
		_, after, ok := strings.Cut(rest, "<|")
		if !ok {
			return lost
		}
		rest = after
		name, _, ok := strings.Cut(after, "|>")
		marker := "<|" + name + "|>"
		if !ok || name == "" || len(name) > 64 || strings.ContainsAny(name, " \n<|>") || slices.Contains(lost, marker) {
			continue
		}
		if _, known := t.lookup(marker); !known && !slices.ContainsFunc(own, func(s string) bool { return strings.Contains(s, marker) }) {
			lost = append(lost, marker)
		}
	}
}

func (t *Tokenizer) encode(ids []int, text string, added *addedTokens) []int {
	s := t.scratch.Get().(*scratch)
	defer t.release(s)
	if ids == nil {
		ids = make([]int, 0, len(text)/4+8)
	}
	first := true
	added.raw.cut(validUTF8(text), func(part string) {
		ids = t.encodePart(ids, part, first, added, s)
		first = false
	}, func(id int) { ids, first = append(ids, id), false })
	return ids
}

// encodePart encodes text that holds no token found before normalisation.
func (t *Tokenizer) encodePart(ids []int, part string, first bool, added *addedTokens, s *scratch) []int {
	switch {
	case !first && t.inner != nil:
		part = t.inner.normalize(part)
	case t.normalize != nil:
		first = first && !(t.headMatters && beheads(t.normalize, part))
		part = t.normalize.normalize(part)
	}
	added.normalized.cut(part, func(text string) {
		t.pre.split(text, first, func(piece string) { ids = t.model.encode(ids, piece, s) })
		first = false
	}, func(id int) { ids, first = append(ids, id), false })
	return ids
}

func (t *Tokenizer) release(s *scratch) {
	s.trim()
	t.scratch.Put(s)
}

// Decode returns the text of ids with special tokens left out. An id outside the vocabulary is an error.
func (t *Tokenizer) Decode(ids []int) (string, error) {
	s := t.Stream()
	out := make([]byte, 0, 4*len(ids))
	for i, id := range ids {
		if err := t.check(id, i); err != nil {
			return "", err
		}
		out = s.append(out, id)
	}
	return string(t.dec.flush(out, &s.state)), nil
}

// Text is Decode for what a model wrote. Ids that name no token are left out, as transformers does: an embedding
// may have more rows than the vocabulary has tokens.
func (t *Tokenizer) Text(ids []int) string {
	s := t.Stream()
	var out []byte
	for _, id := range ids {
		if t.check(id, 0) == nil {
			out = s.append(out, id)
		}
	}
	return string(t.dec.flush(out, &s.state))
}

func (t *Tokenizer) check(id, index int) error {
	if id < 0 || id >= len(t.tokens) {
		return fmt.Errorf("id %d at index %d is outside the vocabulary of %d tokens: use the tokenizer that belongs to the checkpoint", id, index, len(t.tokens))
	}
	if !t.known[id] {
		return fmt.Errorf("id %d at index %d names no token in the vocabulary of %d: use the tokenizer that belongs to the checkpoint", id, index, len(t.tokens))
	}
	return nil
}

// VocabSize is one more than the largest id, added tokens included. A checkpoint's embedding may have more rows.
func (t *Tokenizer) VocabSize() int { return len(t.tokens) }

// BOS returns the id that begins a text, and whether there is one.
func (t *Tokenizer) BOS() (int, bool) { return t.bos, t.bos >= 0 }

// EOS returns the id that ends a text, and whether there is one.
func (t *Tokenizer) EOS() (int, bool) { return t.eos, t.eos >= 0 }

// TurnEnds lists the tokens that end an answer besides EOS: those that begin somebody else's message, where the
// files do not list them as ends of text.
func (t *Tokenizer) TurnEnds() []int { return slices.Clone(t.turnEnds) }

// AddsBOS reports whether Encode with special puts BOS before the text.
func (t *Tokenizer) AddsBOS() bool {
	return t.bos >= 0 && len(t.post.before) > 0 && t.post.before[0] == t.bos
}

// Kind names the family, for instance "sentencepiece-bpe", "byte-level-bpe" or "character-bpe".
func (t *Tokenizer) Kind() string { return t.kind }

// Token returns the vocabulary's own spelling of an id ("Ġthe", "▁the", "<0x0A>"), or "" where there is none.
func (t *Tokenizer) Token(id int) string {
	if id < 0 || id >= len(t.tokens) {
		return ""
	}
	return t.tokens[id]
}

// lookup finds the id of a token by its spelling; it is for loading, not for encoding.
func (t *Tokenizer) lookup(token string) (int, bool) {
	for id, have := range t.tokens {
		if t.known[id] && have == token {
			return id, true
		}
	}
	return -1, false
}

// extend makes room for tokens beyond those there are.
func (t *Tokenizer) extend(added []addedToken) error {
	for _, tok := range added {
		if tok.Content == "" {
			return errors.New("added token without content: get the file again")
		}
		if err := checkID(tok, len(t.tokens)+len(added)); err != nil {
			return err
		}
		if more := tok.ID + 1 - len(t.tokens); more > 0 {
			t.tokens = append(t.tokens, make([]string, more)...)
			t.known = append(t.known, make([]bool, more)...)
		}
		if t.known[tok.ID] && t.tokens[tok.ID] != tok.Content {
			return fmt.Errorf("added token %q has the id %d of %q: correct added_tokens or get the file again", tok.Content, tok.ID, t.tokens[tok.ID])
		}
		t.tokens[tok.ID], t.known[tok.ID] = tok.Content, true
	}
	return nil
}

// checkID bounds ids by the number of tokens, so that a small file cannot ask for tables of a large vocabulary.
func checkID(tok addedToken, count int) error {
	if most := min(maxID, sparse*count+maxGap); tok.ID < 0 || tok.ID > most {
		return fmt.Errorf("added token %q: id %d is outside 0..%d, which %d tokens are allowed: correct it or get the file again", tok.Content, tok.ID, most, count)
	}
	return nil
}

func (t *Tokenizer) finish() {
	t.scratch.New = func() any { return newScratch() }
}

// validUTF8 replaces every byte that is not part of a valid encoding by U+FFFD.
func validUTF8(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	out := make([]byte, 0, len(text)+16)
	for _, r := range text {
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}
