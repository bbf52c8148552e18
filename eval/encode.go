package eval

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Tokenizer is what requests are encoded with.
type Tokenizer interface {
	// Encode returns the ids of a text, with special the tokens that belong
	// around it.
	Encode(text string, special bool) []int
	// Text returns the text of ids that a model wrote, special tokens and ids
	// without a token left out.
	Text(ids []int) string
	BOS() (int, bool)
	EOS() (int, bool)
	AddsBOS() bool
	Token(id int) string
}

// Encoder turns requests into ids as the harness does.
type Encoder struct {
	Tokenizer Tokenizer
	// AddBOS puts special tokens around every text, as the harness does for
	// Gemma alone.
	AddBOS bool
	// Chat says that texts come out of a chat template: where one begins with BOS
	// written out, none is added.
	Chat      bool
	MaxLength int // positions of the model
	Vocab     int // rows of its embedding
}

// NewEncoder is the encoder for a model. addBOS is auto, true or false; with auto
// special tokens stand around every text of a model whose config.json names Gemma
// as its type, and of no other: the harness's rule.
func NewEncoder(t Tokenizer, config []byte, addBOS string, positions, vocab int) (*Encoder, error) {
	e := &Encoder{Tokenizer: t, AddBOS: addBOS == "true", MaxLength: positions, Vocab: vocab}
	if addBOS == "auto" {
		var c struct {
			ModelType string `json:"model_type"`
		}
		e.AddBOS = json.Unmarshal(config, &c) == nil && strings.Contains(c.ModelType, "gemma")
	}
	return e, e.Check()
}

// Sequence is a run of ids of which the last Scored are to be scored, each given
// those before it. It has at least one more.
type Sequence struct {
	Tokens []int32
	Scored int
	// Choice tells sequences apart that may not share their beginnings, because
	// their lengths decide how the model rotates keys (model.Spec.RopeChoice).
	Choice int
	Cut    int // tokens at the beginning of the context that the model has no room for
}

// ErrNoBOS says that special tokens are asked for, and the tokenizer has none to
// begin a text with.
var ErrNoBOS = fmt.Errorf("the tokenizer has no BOS token")

// LengthError is a request that the model cannot hold.
type LengthError struct {
	Tokens, Max int
	What        string
}

func (e *LengthError) Error() string {
	return fmt.Sprintf("%s has %d tokens, and the model has %d positions", e.What, e.Tokens, e.Max)
}

// Check says whether the encoder can do what is asked of it.
func (e *Encoder) Check() error {
	if _, has := e.Tokenizer.BOS(); e.AddBOS && !has {
		return ErrNoBOS
	}
	if _, ok := e.prefix(); !ok {
		return fmt.Errorf("the tokenizer has neither BOS nor EOS to stand before a text without context")
	}
	return nil
}

// encode is the harness's tok_encode.
func (e *Encoder) encode(text string) ([]int32, error) {
	bos, has := e.Tokenizer.BOS()
	add := e.AddBOS && !(e.Chat && has && strings.HasPrefix(text, e.Tokenizer.Token(bos)))
	ids := e.Tokenizer.Encode(text, add)
	if add && has && !e.Tokenizer.AddsBOS() {
		ids = slices.Insert(ids, 0, bos)
	}
	out := make([]int32, len(ids))
	for i, id := range ids {
		if id >= e.Vocab {
			return nil, fmt.Errorf("the tokenizer makes id %d, outside the model's vocabulary of %d: put the tokenizer files that belong to the weights there", id, e.Vocab)
		}
		out[i] = int32(id)
	}
	return out, nil
}

// prefix is what stands before a text without context: BOS, else EOS.
func (e *Encoder) prefix() (int32, bool) {
	if id, ok := e.Tokenizer.BOS(); ok {
		return int32(id), true
	}
	id, ok := e.Tokenizer.EOS()
	return int32(id), ok
}

// pair encodes a context and its continuation: white space at the end of the
// context goes to the continuation, and the ids of both together are cut where
// those of the context alone end.
type pair struct {
	e       *Encoder
	context string // the last one
	ids     []int32
}

func (p *pair) encode(context, continuation string) (Sequence, error) {
	if context == "" {
		return p.bare(continuation)
	}
	trimmed := rstrip(context)
	continuation = context[len(trimmed):] + continuation
	if p.ids == nil || p.context != trimmed {
		ids, err := p.e.encode(trimmed)
		if err != nil {
			return Sequence{}, err
		}
		p.context, p.ids = trimmed, ids
	}
	whole, err := p.e.encode(trimmed + continuation)
	if err != nil {
		return Sequence{}, err
	}
	if len(p.ids) >= len(whole) {
		return Sequence{}, fmt.Errorf("the continuation %q adds no token to its context", continuation)
	}
	if len(p.ids) == 0 { // white space alone
		return Sequence{}, fmt.Errorf("the context %q has no token", context)
	}
	return p.e.fit(slices.Concat(p.ids, whole[len(p.ids):]), len(whole)-len(p.ids))
}

// bare encodes a continuation without context.
func (p *pair) bare(continuation string) (Sequence, error) {
	ids, err := p.e.encode(continuation)
	if err != nil {
		return Sequence{}, err
	}
	if len(ids) == 0 {
		return Sequence{}, fmt.Errorf("the continuation %q has no token", continuation)
	}
	prefix, _ := p.e.prefix()
	return p.e.fit(append([]int32{prefix}, ids...), len(ids))
}

// fit cuts a sequence from the left to what the model holds: its last token is
// scored and never an input.
func (e *Encoder) fit(ids []int32, scored int) (Sequence, error) {
	if scored > e.MaxLength {
		return Sequence{}, &LengthError{Tokens: scored, Max: e.MaxLength, What: "the continuation"}
	}
	cut := max(0, len(ids)-e.MaxLength-1)
	return Sequence{Tokens: ids[cut:], Scored: scored, Cut: cut}, nil
}

// windows cuts a whole text into disjoint runs that are scored, each after as
// much context as fits: one token at least, which before the first is BOS or EOS.
func (e *Encoder) windows(text string) ([]Sequence, error) {
	ids, err := e.encode(text)
	if err != nil {
		return nil, err
	}
	prefix, _ := e.prefix()
	ids = append([]int32{prefix}, ids...)
	var out []Sequence
	for done := 1; done < len(ids); {
		n := min(e.MaxLength, len(ids)-done)
		end := done + n
		out = append(out, Sequence{Tokens: ids[max(0, end-e.MaxLength-1):end], Scored: n})
		done = end
	}
	return out, nil
}

// prompt encodes what an answer is written after, so many tokens of it cut from the
// left that the answer has room.
func (e *Encoder) prompt(context string, room int) (ids []int32, cut int, err error) {
	if ids, err = e.encode(context); err != nil {
		return nil, 0, err
	}
	most := e.MaxLength - room
	if most < 1 {
		return nil, 0, &LengthError{Tokens: room, Max: e.MaxLength, What: "an answer of max_gen_toks"}
	}
	if len(ids) == 0 {
		return nil, 0, fmt.Errorf("the context %q has no token", context)
	}
	cut = max(0, len(ids)-most)
	return ids[cut:], cut, nil
}

// stopIDs are the special tokens among stop strings, which decoding leaves out.
func (e *Encoder) stopIDs(until []string) []int {
	var out []int
	for _, s := range until {
		if ids := e.Tokenizer.Encode(s, false); len(ids) == 1 && e.Tokenizer.Token(ids[0]) == s {
			out = append(out, ids[0])
		}
	}
	return out
}

// cut ends a text before the first of each stop string.
func cut(text string, until []string) string {
	for _, s := range until {
		if s != "" {
			text, _, _ = strings.Cut(text, s)
		}
	}
	return text
}
