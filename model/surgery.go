package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/pyjson"
)

// layerKey is a config key whose value depends on which layers exist.
type layerKey struct {
	name string
	kind layerKeyKind
}

type layerKeyKind int

const (
	layerCount   layerKeyKind = iota // the number of layers
	layerIndex                       // a layer index that splits the layers: kept layers below it are counted
	layerPattern                     // one entry a layer
	layerIndices                     // a list of layer indices
)

// commonLayerKeys occur in several families' configs, always with one meaning.
func commonLayerKeys() []layerKey {
	return []layerKey{
		{"num_hidden_layers", layerCount},
		{"num_layers", layerCount},
		{"n_layer", layerCount},
		{"n_layers", layerCount},
		{"max_window_layers", layerIndex},
		{"layer_types", layerPattern},
		{"no_rope_layers", layerPattern},
	}
}

// configKey is a key of config.json and its value.
type configKey struct {
	name  string
	value any
}

// PruneNote is what people should know who run a pruning of the model, written
// as a checkpoint, with other programs; "" where there is nothing to say.
func (s *Spec) PruneNote(keep []int) string {
	if s.family.notes == nil || isWhole(keep, s.Layers) {
		return ""
	}
	return strings.Join(s.family.notes(s, keep), "; ")
}

// windowNote is for families whose windows llama.cpp's graphs leave out.
func windowNote(s *Spec, keep []int) []string {
	for _, l := range keep {
		if window := s.Window(l); window > 0 && window < s.MaxPositions {
			return []string{fmt.Sprintf("llama.cpp leaves out this family's attention windows: results differ there for texts of more than %d tokens", window)}
		}
	}
	return nil
}

// PruneConfig rewrites config.json for a model that keeps the given layers, in
// that order: every key that holds a layer count, index or pattern changes, and
// one is added where the kind of a layer would otherwise follow from its new
// index; all other bytes stay as they are. When keep is the whole model nothing
// changes.
func (s *Spec) PruneConfig(raw []byte, keep []int) ([]byte, error) {
	if isWhole(keep, s.Layers) {
		return bytes.Clone(raw), nil
	}
	out, found, err := s.inside(raw, func(text *Spec, own []byte) ([]byte, error) { return text.PruneConfig(own, keep) })
	if found || err != nil {
		return out, err
	}
	values, err := topLevelValues(raw)
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	out = bytes.Clone(raw)
	keys := append(commonLayerKeys(), s.family.layerKeys...)
	for _, v := range slices.Backward(values) {
		for _, key := range keys {
			if key.name != v.key || string(raw[v.start:v.end]) == "null" {
				continue
			}
			replacement, err := key.rewrite(raw[v.start:v.end], s.Layers, keep)
			if err != nil {
				return nil, fmt.Errorf("config.json: %s: %w", key.name, err)
			}
			out = append(out[:v.start:v.start], append(replacement, out[v.end:]...)...)
		}
	}
	if s.family.byIndex == nil {
		return out, nil
	}
	if out, err = addKeys(out, s.family.byIndex(s, keep)); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	return out, nil
}

// inside rewrites the model's own config where a wrapper's config holds it.
func (s *Spec) inside(raw []byte, rewrite func(text *Spec, own []byte) ([]byte, error)) (out []byte, found bool, err error) {
	values, err := topLevelValues(raw)
	if err != nil {
		return nil, false, fmt.Errorf("config.json: %w", err)
	}
	for _, v := range values {
		if s.family.inside == "" || v.key != s.family.inside {
			continue
		}
		text, family := *s, *s.family
		family.inside, text.family = "", &family
		own, err := rewrite(&text, raw[v.start:v.end])
		return slices.Concat(raw[:v.start], own, raw[v.end:]), true, err
	}
	return raw, false, nil
}

// addKeys gives a JSON object the keys it lacks, or holds as null, in the
// object's own indentation.
func addKeys(raw []byte, keys []configKey) ([]byte, error) {
	return setKeys(raw, keys, func(old []byte) bool { return string(old) == "null" })
}

// setKeys gives a JSON object keys, in place of values that replace asks for.
func setKeys(raw []byte, keys []configKey, replace func(old []byte) bool) ([]byte, error) {
	for _, key := range keys {
		values, err := topLevelValues(raw)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(key.value)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(values, func(v valueRange) bool { return v.key == key.name })
		if i < 0 {
			end := values[len(values)-1].end
			raw = slices.Concat(raw[:end], []byte(","), indentation(raw), []byte(`"`+key.name+`": `), value, raw[end:])
		} else if v := values[i]; replace(raw[v.start:v.end]) {
			raw = slices.Concat(raw[:v.start], value, raw[v.end:])
		}
	}
	return raw, nil
}

// HealedConfig rewrites config.json for weights that were trained: untied says
// that the head has weights of its own now, dtype, where it is not empty, what all
// weights are stored in. A wrapper says so as well as the model inside it, for
// transformers 5 reads the one and older ones the other. All other bytes stay as
// they are.
func (s *Spec) HealedConfig(raw []byte, untied bool, dtype string) ([]byte, error) {
	raw, _, err := s.inside(raw, func(text *Spec, own []byte) ([]byte, error) { return text.HealedConfig(own, untied, dtype) })
	if err != nil {
		return nil, err
	}
	var keys []configKey
	if untied {
		keys = append(keys, configKey{"tie_word_embeddings", false})
	}
	if dtype != "" {
		name := "torch_dtype"
		if values, err := topLevelValues(raw); err == nil && slices.ContainsFunc(values, func(v valueRange) bool { return v.key == "dtype" }) {
			name = "dtype"
		}
		keys = append(keys, configKey{name, dtype})
	}
	out, err := setKeys(raw, keys, func([]byte) bool { return true })
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	return out, nil
}

// indentation is the white space between an object's brace and its first key.
func indentation(raw []byte) []byte {
	_, inside, _ := bytes.Cut(raw, []byte("{"))
	space, _, _ := bytes.Cut(inside, []byte(`"`))
	return space
}

func (k layerKey) rewrite(old []byte, layers int, keep []int) ([]byte, error) {
	switch k.kind {
	case layerCount:
		return json.Marshal(len(keep))
	case layerIndex:
		return k.rewriteIndex(old, keep)
	case layerPattern:
		return k.rewritePattern(old, layers, keep)
	default:
		return k.rewriteIndices(old, keep)
	}
}

// rewriteIndex counts the kept layers below the index; an index that splits
// nothing (at or past the last layer) still splits nothing.
func (k layerKey) rewriteIndex(old []byte, keep []int) ([]byte, error) {
	index, ok := integer(old)
	if !ok {
		return nil, fmt.Errorf("%s is not a layer index", abridged(old))
	}
	below := 0
	for _, l := range keep {
		if l < index {
			below++
		}
	}
	return json.Marshal(below)
}

func (k layerKey) rewritePattern(old []byte, layers int, keep []int) ([]byte, error) {
	var entries []json.RawMessage
	if err := pyjson.Unmarshal(old, &entries); err != nil {
		return nil, fmt.Errorf("%s is not a list", abridged(old))
	}
	if len(entries) == 0 {
		return old, nil
	}
	if len(entries) != layers {
		return nil, fmt.Errorf("has %d entries for %d layers", len(entries), layers)
	}
	kept := make([]json.RawMessage, len(keep))
	for i, l := range keep {
		kept[i] = entries[l]
	}
	return json.Marshal(kept)
}

func (k layerKey) rewriteIndices(old []byte, keep []int) ([]byte, error) {
	var indices []json.RawMessage
	if err := pyjson.Unmarshal(old, &indices); err != nil {
		return nil, fmt.Errorf("%s is not a list of layer indices", abridged(old))
	}
	kept := []int{}
	for _, raw := range indices {
		index, ok := integer(raw)
		if !ok {
			return nil, fmt.Errorf("%s is not a layer index", abridged(raw))
		}
		for i, l := range keep {
			if l == index {
				kept = append(kept, i)
			}
		}
	}
	return json.Marshal(kept)
}

// valueRange is where the value of a top-level key lies in a JSON object.
type valueRange struct {
	key        string
	start, end int
}

// topLevelValues locates the values of a JSON object so that single ones can
// be replaced and the rest of the file kept byte for byte.
func topLevelValues(raw []byte) ([]valueRange, error) {
	d := json.NewDecoder(bytes.NewReader(pyjson.Strict(raw)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not a JSON object")
	}
	var values []valueRange
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		end := int(d.InputOffset())
		key, _ := t.(string)
		values = append(values, valueRange{key: key, start: end - len(v), end: end})
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("something follows the JSON object")
	}
	return values, nil
}

func isWhole(keep []int, layers int) bool {
	for i, l := range keep {
		if l != i {
			return false
		}
	}
	return len(keep) == layers
}
