package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
)

// template is what a post-processor puts around the ids of a text.
type template struct {
	before, after []int
}

func (t *template) check() error {
	if n := len(t.before) + len(t.after); n > maxAround {
		return fmt.Errorf("post_processor: puts %d ids around a text: %w (at most %d)", n, ErrUnsupported, maxAround)
	}
	return nil
}

type postJSON struct {
	Processors []json.RawMessage `json:"processors"`
	Single     []struct {
		Sequence     *struct{ ID string } `json:"Sequence"`
		SpecialToken *struct{ ID string } `json:"SpecialToken"`
	} `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int `json:"ids"`
	} `json:"special_tokens"`
	CLS, SEP namedID
}

// namedID is written ["</s>", 2].
type namedID struct {
	id int
}

func (n *namedID) UnmarshalJSON(data []byte) error {
	var name string
	pair := []any{&name, &n.id}
	if err := json.Unmarshal(data, &pair); err != nil || len(pair) != 2 {
		return fmt.Errorf("%s is not a token and its id", data)
	}
	return nil
}

// newTemplate reads a post_processor; those in a Sequence wrap one another.
func newTemplate(raw json.RawMessage, s *stages) (template, error) {
	if err := s.enter("post_processor"); err != nil {
		return template{}, err
	}
	defer s.leave()
	kind, err := componentType("post_processor", raw)
	if err != nil || kind == "" {
		return template{}, err
	}
	var p postJSON
	if err := readJSON(raw, &p); err != nil {
		return template{}, fmt.Errorf("post_processor %s: %w; correct it or get the file again", kind, err)
	}
	switch kind {
	case "ByteLevel": // moves offsets only
		return template{}, nil
	case "RobertaProcessing", "BertProcessing":
		return template{[]int{p.CLS.id}, []int{p.SEP.id}}, nil
	case "TemplateProcessing":
		return p.template()
	case "Sequence":
		return p.sequence(s)
	}
	return template{}, unsupported("post_processor", kind, "ByteLevel", "TemplateProcessing", "RobertaProcessing", "BertProcessing", "Sequence")
}

func (p *postJSON) sequence(s *stages) (template, error) {
	var all template
	for _, raw := range p.Processors {
		t, err := newTemplate(raw, s)
		if err != nil {
			return all, err
		}
		all.before = append(t.before, all.before...)
		all.after = append(all.after, t.after...)
		if err := all.check(); err != nil {
			return all, err
		}
	}
	return all, nil
}

func (p *postJSON) template() (template, error) {
	var t template
	texts := 0
	for _, item := range p.Single {
		switch {
		case item.Sequence != nil:
			texts++
		case item.SpecialToken != nil:
			special, ok := p.SpecialTokens[item.SpecialToken.ID]
			if !ok {
				return t, fmt.Errorf("post_processor TemplateProcessing: token %q is not in its special_tokens: add it or get the file again", item.SpecialToken.ID)
			}
			if texts == 0 {
				t.before = append(t.before, special.IDs...)
			} else {
				t.after = append(t.after, special.IDs...)
			}
			if err := t.check(); err != nil {
				return t, err
			}
		}
	}
	if texts != 1 {
		return t, errors.New("post_processor TemplateProcessing: single must hold the text exactly once: correct it or get the file again")
	}
	return t, nil
}
