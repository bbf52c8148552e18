package tokenizer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// extend adds the tokens that the configuration names to those of the vocabulary's own file, as transformers
// does: added_tokens_decoder, whose options win, or else added_tokens.json; then the special tokens by name. A
// name the vocabulary has stands for its token, another gets the next free id. find looks in the vocabulary,
// which has size ids.
func (c *config) extend(own []addedToken, size int, find func(string) (int, bool)) ([]addedToken, error) {
	listed, err := c.ids()
	if err != nil {
		return nil, err
	}
	e := extension{all: slices.Clone(own), at: make(map[string]int, len(own)+len(listed))}
	for i, tok := range own {
		e.at[tok.Content] = i
	}
	for _, tok := range listed {
		if err := e.add(tok); err != nil {
			return nil, err
		}
	}
	for _, tok := range e.all {
		size = max(size, tok.ID+1)
	}
	for i, name := range c.list() {
		tok := name.token
		if _, have := e.at[tok.Content]; have {
			continue
		}
		id, known := find(tok.Content)
		if !known {
			if i == 0 && c.BOS.token.Content == tok.Content {
				continue // what begins texts must be a token the model was trained with: surround says so
			}
			id = size
			size++
		}
		tok.ID, tok.Special = id, true
		if err := e.add(tok); err != nil {
			return nil, err
		}
	}
	return e.all, nil
}

// extension is a list of tokens in the making.
type extension struct {
	all []addedToken
	at  map[string]int // content -> place in all
}

func (e *extension) add(tok addedToken) error {
	at, have := e.at[tok.Content]
	if !have {
		e.at[tok.Content] = len(e.all)
		e.all = append(e.all, tok)
		return nil
	}
	if e.all[at].ID != tok.ID {
		return fmt.Errorf("%s: token %q has id %d, but %d in %s: copy both files from the same checkpoint", configName, tok.Content, tok.ID, e.all[at].ID, jsonName)
	}
	e.all[at] = tok
	return nil
}

// ids lists added_tokens_decoder, or added_tokens.json, by id.
func (c *config) ids() ([]addedToken, error) {
	var all []addedToken
	for key, tok := range c.Added {
		id, err := strconv.Atoi(key)
		if err != nil || id < 0 || id > maxID {
			return nil, fmt.Errorf("%s: added_tokens_decoder: %q is no token id: correct it or copy the file again", configName, key)
		}
		if tok.Content == "" {
			return nil, fmt.Errorf("%s: added_tokens_decoder: token %d has no content: correct it or copy the file again", configName, id)
		}
		tok.ID = id
		all = append(all, tok)
	}
	special := make(map[string]bool)
	for _, name := range c.list() {
		special[name.token.Content] = true
	}
	for text, id := range c.listed {
		if text == "" || id < 0 || id > maxID {
			return nil, fmt.Errorf("%s: token %q has id %d: correct it or copy the file again", addedName, text, id)
		}
		all = append(all, addedToken{ID: id, Content: text, Special: special[text], Normalized: !special[text]})
	}
	slices.SortFunc(all, func(a, b addedToken) int { return cmp.Or(a.ID-b.ID, cmp.Compare(a.Content, b.Content)) })
	return all, nil
}
