package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// constructGoldens: what current families' tokenizer.json are made of, put into published
// vocabularies in place of what means the same there, gives the goldens' ids.
func constructGoldens(t *testing.T, published string) {
	split := func(pattern, behavior string, invert bool) map[string]any {
		return map[string]any{"type": "Split", "pattern": map[string]any{"Regex": pattern}, "behavior": behavior, "invert": invert}
	}
	bytes := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
	sequence := func(stages ...map[string]any) map[string]any {
		return map[string]any{"type": "Sequence", "pretokenizers": stages}
	}
	marks := map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": "▁"}
	// one more group leaves the pattern what it was, and unknown to what is written for it
	const apart = `(?:` + patternLlama3 + `)`
	for name, c := range map[string]struct {
		from   string
		change map[string]any
		before string // of the text
		not    string // texts that this matches it does not mean the same for
	}{
		"pieces removed from what is inverted (Phi-4-mini)":   {"llama3", map[string]any{"pre_tokenizer": sequence(split(patternLlama3, "Removed", true), bytes)}, "", ""},
		"any pattern, isolated (OLMo 2, GLM-4, Ministral)":    {"llama3", map[string]any{"pre_tokenizer": sequence(split(apart, "Isolated", false), bytes)}, "", ""},
		"any pattern, inverted":                               {"llama3", map[string]any{"pre_tokenizer": sequence(split(apart, "Removed", true), bytes)}, "", ""},
		"digits apart before the pattern (Granite, Cohere)":   {"qwen2", map[string]any{"pre_tokenizer": sequence(map[string]any{"type": "Digits", "individual_digits": true}, split(patternQwen2, "Isolated", false), bytes)}, "", `\s\s\pN`},
		"Metaspace in place of Prepend and Replace":           {"phi3", map[string]any{"normalizer": nil, "pre_tokenizer": map[string]any{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": false}}, "", `^[ ▁]`},
		"Replace, and a split of the spaces' marks (Gemma 3)": {"phi3", map[string]any{"normalizer": marks, "pre_tokenizer": map[string]any{"type": "Split", "pattern": map[string]any{"String": " "}, "behavior": "MergedWithPrevious", "invert": false}}, " ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(published, c.from)
			tok, err := loadFrom(t, map[string]string{jsonName: changedJSON(t, filepath.Join(dir, jsonName), c.change)})
			if err != nil {
				t.Fatal(err)
			}
			compared := 0
			for _, g := range readGoldens(t, filepath.Join(dir, "goldens.jsonl")) {
				if c.not != "" && regexp.MustCompile(c.not).MatchString(g.Text) {
					continue
				}
				if strings.Contains(g.Text, "<|") || strings.Contains(g.Text, "s>") || g.Text == "" {
					continue // stages see the text between special tokens, each piece from its beginning
				}
				if got := tok.Encode(c.before+g.Text, false); !slices.Equal(got, g.IDs) {
					t.Errorf("%.60q: %v, want %v", g.Text, got, g.IDs)
				}
				compared++
			}
			if compared < 100 {
				t.Errorf("%d goldens compared", compared)
			}
		})
	}
}

// changedJSON is a tokenizer.json with other values of some keys.
func changedJSON(t *testing.T, path string, change map[string]any) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		t.Fatal(err)
	}
	for key, value := range change {
		if keys[key], err = json.Marshal(value); err != nil {
			t.Fatal(err)
		}
	}
	out, err := json.Marshal(keys)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
