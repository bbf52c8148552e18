package tokenizer

import (
	"encoding/json"
	"fmt"

	"golang.org/x/text/unicode/norm"
)

// normalizers applies several in turn.
type normalizers []normalizer

func (ns normalizers) normalize(text string) string {
	for _, n := range ns {
		text = n.normalize(text)
	}
	return text
}

// unicodeForm is a Unicode normalisation form.
type unicodeForm norm.Form

func (f unicodeForm) normalize(text string) string { return norm.Form(f).String(text) }

// newNormalizer reads a normalizer; nil leaves text as it is.
func newNormalizer(raw json.RawMessage) (normalizer, error) {
	kind, err := componentType("normalizer", raw)
	if err != nil || kind == "" {
		return nil, err
	}
	switch kind {
	case "NFC":
		return unicodeForm(norm.NFC), nil
	case "NFD":
		return unicodeForm(norm.NFD), nil
	case "NFKC":
		return unicodeForm(norm.NFKC), nil
	case "NFKD":
		return unicodeForm(norm.NFKD), nil
	case "Sequence":
		return newNormalizers(raw)
	}
	return nil, unsupported("normalizer", kind, "NFC", "NFD", "NFKC", "NFKD", "Sequence")
}

func newNormalizers(raw json.RawMessage) (normalizer, error) {
	var list struct {
		Normalizers []json.RawMessage `json:"normalizers"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("normalizer Sequence: %w; correct it or download the file again", err)
	}
	all := normalizers{}
	for _, item := range list.Normalizers {
		n, err := newNormalizer(item)
		if err != nil {
			return nil, err
		}
		if n != nil {
			all = append(all, n)
		}
	}
	return all, nil
}
