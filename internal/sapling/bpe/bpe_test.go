package bpe

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/tokenizer"
)

// TestLearn: the pairs that a count by hand gives. "low" 5, "lower" 2, "newest" 6,
// "widest" 3: the example of Sennrich et al. 2016, without their end of words.
func TestLearn(t *testing.T) {
	var texts []string
	for word, n := range map[string]int{"low": 5, "lower": 2, "newest": 6, "widest": 3} {
		texts = append(texts, slices.Repeat([]string{word}, n)...)
	}
	got := Learn(texts, 4)
	want := [][2]string{{"e", "s"}, {"es", "t"}, {"l", "o"}, {"lo", "w"}}
	if !slices.Equal(got, want) {
		t.Errorf("merges %v, want %v", got, want)
	}
	if n := len(Learn([]string{"ab"}, 5)); n != 1 {
		t.Errorf("%d merges of two letters", n)
	}
}

// TestFile: the file loads, gives whole words that are frequent, and any text back.
func TestFile(t *testing.T) {
	texts := slices.Repeat([]string{"Question: Where is it?\nAnswer: here"}, 20)
	raw, err := File(Learn(texts, 40))
	if err != nil {
		t.Fatal(err)
	}
	config, err := Config(256)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"tokenizer.json": raw, "tokenizer_config.json": config} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if ids := tok.Encode("Question: Where", false); len(ids) != 3 {
		t.Errorf("%v, want 3 tokens", ids)
	}
	for _, text := range []string{"Question: here\n\nAnswer", "  tabs\t and ünïcödé 漢字"} {
		if back, err := tok.Decode(tok.Encode(text, false)); err != nil || back != text {
			t.Errorf("%q came back as %q (%v)", text, back, err)
		}
	}
	var file struct {
		Model struct{ Vocab map[string]int }
	}
	if err := json.Unmarshal(raw, &file); err != nil || len(file.Model.Vocab)+1 != Size(len(Learn(texts, 40))) {
		t.Errorf("vocabulary of %d (%v)", len(file.Model.Vocab), err)
	}
	if eos, ok := tok.EOS(); !ok || eos != len(file.Model.Vocab) {
		t.Errorf("texts end in %d", eos)
	}
}
