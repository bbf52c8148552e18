package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repeated joins n copies with commas.
func repeated(text string, n int) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }

// nested puts a stage into n sequences.
func nested(list, stage string, n int) string {
	return strings.Repeat(`{"type":"Sequence","`+list+`":[`, n) + stage + strings.Repeat("]}", n)
}

func quoted(text string) string {
	out, _ := json.Marshal(text)
	return string(out)
}

// TestHostileJSON: what would cost more than the file and the texts warrant is refused, and says why.
func TestHostileJSON(t *testing.T) {
	double := `{"type":"Replace","pattern":{"String":"a"},"content":"aa"}`
	long := strings.Repeat("x", 1000)
	decoder := `{"type":"Sequence","decoders":[%s,{"type":"Fuse"}]}`
	characters := func(parts map[string]string) map[string]string {
		parts["pre_tokenizer"] = "null"
		return parts
	}
	tests := []struct {
		name, message string
		parts         map[string]string
	}{
		{"normaliser that doubles", "may make a text 1073741824 times as long", map[string]string{"normalizer": `{"type":"Sequence","normalizers":[` + repeated(double, 30) + `]}`}},
		{"long replacement", "writes 1000 bytes at a place", map[string]string{"normalizer": `{"type":"Replace","pattern":{"String":"a"},"content":"` + long + `"}`}},
		{"replacement of nothing", "may make a text 40401 times", map[string]string{"normalizer": `{"type":"Sequence","normalizers":[` + repeated(`{"type":"Replace","pattern":{"Regex":""},"content":"`+long[:200]+`"}`, 2) + `]}`}},
		{"long Prepend", "normalizer Prepend: writes 1000 bytes", map[string]string{"normalizer": `{"type":"Prepend","prepend":"` + long + `"}`}},
		{"many normalisers", "normalizer: more than 64 stages", map[string]string{"normalizer": `{"type":"Sequence","normalizers":[` + repeated(`{"type":"NFC"}`, 1000) + `]}`}},
		{"nested normalisers", "normalizer: more than 16 stages inside", map[string]string{"normalizer": nested("normalizers", `{"type":"NFC"}`, 4000)}},
		{"many pre-tokenizers", "pre_tokenizer: more than 64 stages", map[string]string{"pre_tokenizer": `{"type":"Sequence","pretokenizers":[` + repeated(`{"type":"Punctuation"}`, 10000) + `]}`}},
		{"nested pre-tokenizers", "pre_tokenizer: more than 16 stages inside", map[string]string{"pre_tokenizer": nested("pretokenizers", `{"type":"ByteLevel"}`, 4000)}},
		{"long Metaspace", "the replacement is not one character", map[string]string{"pre_tokenizer": `{"type":"Metaspace","replacement":"` + long + `"}`}},
		{"nested post-processors", "post_processor: more than 16 stages inside", map[string]string{"post_processor": nested("processors", `{"type":"ByteLevel"}`, 4000)}},
		{"many post-processors", "post_processor: more than 64 stages", map[string]string{"post_processor": `{"type":"Sequence","processors":[` + repeated(`{"type":"ByteLevel"}`, 10000) + `]}`}},
		{"a million ids", "puts 257 ids around a text", map[string]string{"post_processor": `{"type":"TemplateProcessing","single":[` + repeated(`{"SpecialToken":{"id":"a"}}`, 100000) + `,{"Sequence":{"id":"A"}}],"special_tokens":{"a":{"ids":[0]}}}`}},
		{"ids of one token", "puts 100000 ids around a text", map[string]string{"post_processor": `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}},{"Sequence":{"id":"A"}}],"special_tokens":{"a":{"ids":[` + repeated("0", 100000) + `]}}}`}},
		{"decoder that doubles", "makes more than 65536 bytes of a token", characters(map[string]string{"decoder": fmt.Sprintf(decoder, repeated(double, 60))})},
		{"nested decoders", "decoder: more than 16 stages inside", characters(map[string]string{"decoder": nested("decoders", `{"type":"Fuse"}`, 4000)})},
		{"many decoders", "decoder: more than 64 stages", characters(map[string]string{"decoder": fmt.Sprintf(decoder, repeated(`{"type":"Replace","pattern":{"String":"a"},"content":"b"}`, 10000))})},
		{"long added token", "5000 bytes is too long for a token", map[string]string{"added_tokens": `[{"id":3,"content":"` + strings.Repeat("y", 5000) + `"}]`}},
		{"back reference", `\1, a back reference`, map[string]string{"pre_tokenizer": `{"type":"Split","behavior":"Isolated","pattern":{"Regex":"(a*)*\\1b"}}`}},
		{"repeats of repeats", "at most 1000 steps", map[string]string{"normalizer": `{"type":"Replace","content":"","pattern":{"Regex":"(((a{100}){100}){100}){100}"}}`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseJSON([]byte(jsonWith(tt.parts)), config{})
			if err == nil || !strings.Contains(err.Error(), tt.message) || len(err.Error()) > 1000 {
				t.Errorf("error %.300v; want %q", err, tt.message)
			}
		})
	}
}

// TestPatternsThatBacktrack: they cost no more than the text, whatever stage they are in.
func TestPatternsThatBacktrack(t *testing.T) {
	text := strings.Repeat("a", 30000)
	for _, pattern := range []string{"(a+)+b", "(a|a)*b", "(?:a|aa)+$b", "(?=.*b)a|c", "((a*)*)*b"} {
		for section, stage := range map[string]string{
			"pre_tokenizer": `{"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Removed","pattern":{"Regex":%s}},{"type":"ByteLevel","use_regex":false}]}`,
			"normalizer":    `{"type":"Replace","content":"b","pattern":{"Regex":%s}}`,
		} {
			tok, err := parseJSON([]byte(jsonWith(map[string]string{section: fmt.Sprintf(stage, quoted(pattern))})), config{})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(tok.Encode(text, false)); got != len(text) {
				t.Errorf("%s in %s: %d ids for %d characters", pattern, section, got, len(text))
			}
		}
	}
}

// TestCrowdedMerges: pairs chosen to lie at one place of the table.
func TestCrowdedMerges(t *testing.T) {
	p := newPairTable(4000)
	place, found := p.slot(pairKey(1, 1)), 0
	rng := rand.New(rand.NewPCG(1, 2))
	for found < maxProbes+1 {
		left, right := rng.Int32N(maxTokens), rng.Int32N(maxTokens)
		if p.slot(pairKey(left, right)) == place {
			p.put(left, right, uint32(found), 0)
			found++
		}
	}
	if err := p.check(); !errors.Is(err, ErrUnsupported) {
		t.Errorf("error %v", err)
	}
	if rank, _ := p.get(maxTokens, maxTokens); rank != noRank {
		t.Error("found what was not put")
	}
}

func TestHostileVocabularies(t *testing.T) {
	var model []byte
	model = appendPiece(model, "<unk>", 0, pieceUnknown)
	for i := range 200 {
		model = appendPiece(model, fmt.Sprintf("%04d", i)+strings.Repeat("a", 4000), -1, pieceNormal)
	}
	model = appendSpecs(model, false, true, true)
	if _, err := parseSentencePiece(model, config{}); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "squares") {
		t.Errorf("long pieces: %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, jsonName), 0o700); err != nil { // as a pipe would be
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("no file: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, jsonName)); err != nil {
		t.Fatal(err)
	}
	big, err := os.Create(filepath.Join(dir, configName))
	if err != nil {
		t.Fatal(err)
	}
	defer big.Close()
	if err := big.Truncate(maxConfig + 1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "at most 33554432 are read") {
		t.Errorf("a large configuration: %v", err)
	}
}
