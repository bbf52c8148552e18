package tokenizer

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func loadStories(tb testing.TB) (*Tokenizer, []byte) {
	tb.Helper()
	data, err := os.ReadFile("testdata/stories260K.model")
	if err != nil {
		tb.Fatal(err)
	}
	tok, err := parseSentencePiece(data, config{})
	if err != nil {
		tb.Fatal(err)
	}
	return tok, data
}

func TestOwnGoldens(t *testing.T) {
	tok, _ := loadStories(t)
	checkGoldens(t, tok, readGoldens(t, "testdata/stories260K.goldens.jsonl"))
}

// TestByteLevel has ids that can be checked by hand: bytes are their own ids, merges and added tokens follow.
func TestByteLevel(t *testing.T) {
	tok, err := LoadFile("testdata/bytelevel.json")
	if err != nil {
		t.Fatal(err)
	}
	const begin, end, mask, sep, wordy = 270, 271, 272, 273, 274
	tests := []struct {
		name, text string
		want       []int
		decoded    string
	}{
		{"empty", "", nil, ""},
		{"merges", "hello world", []int{259, 264}, "hello world"},
		{"lowest rank first", "aaaaaa", []int{268, 267}, "aaaaaa"},
		{"whole token without merges", "xyz", []int{269}, "xyz"},
		{"bytes", "é€", []int{265, 0xe2, 0x82, 0xac}, "é€"},
		{"digits", "1234", []int{266, '3', '4'}, "1234"},
		{"special in text", "a<|end|>b", []int{'a', end, 'b'}, "ab"},
		{"lstrip", "a  <mask> b", []int{'a', mask, ' ', 'b'}, "a b"},
		{"rstrip", "a <sep>  b", []int{'a', ' ', sep, 'b'}, "a b"},
		{"strip meets strip", "<sep>  <mask>", []int{sep, mask}, ""},
		{"single word", "a wordy b", []int{'a', ' ', wordy, ' ', 'b'}, "a wordy b"},
		{"not a single word", "wordyb", []int{'w', 261, 'd', 'y', 'b'}, "wordyb"},
		{"invalid UTF-8", "a\xffb", []int{'a', 0xef, 0xbf, 0xbd, 'b'}, "a\ufffdb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tok.Encode(tt.text, false)
			if diff := cmp.Diff(tt.want, got, equateEmpty); diff != "" {
				t.Errorf("Encode(%q) (-want +got):\n%s", tt.text, diff)
			}
			around := append(append([]int{begin}, tt.want...), end)
			if diff := cmp.Diff(around, tok.Encode(tt.text, true)); diff != "" {
				t.Errorf("Encode(%q) with special (-want +got):\n%s", tt.text, diff)
			}
			text, err := tok.Decode(around)
			if err != nil || text != tt.decoded {
				t.Errorf("Decode = %q, %v; want %q", text, err, tt.decoded)
			}
		})
	}
}

func TestSentencePiece(t *testing.T) {
	tok, _ := loadStories(t)
	id := func(token string) int {
		id, ok := tok.lookup(token)
		if !ok {
			t.Fatalf("no token %q", token)
		}
		return id
	}
	tests := []struct {
		name, text string
		want       []int
	}{
		{"empty", "", nil},
		{"dummy prefix", "a", []int{id("▁a")}},
		{"spaces are kept", "  ", []int{id("▁"), id("▁"), id("▁")}},
		{"byte fallback", "é漢", []int{id("▁"), id("é"), 3 + 0xe6, 3 + 0xbc, 3 + 0xa2}},
		{"line break is a byte", "\n", []int{id("▁"), id("<0x0A>")}},
		{"control symbol is text", "<s>", []int{id("▁"), id("<"), id("s"), id(">")}},
		{"byte symbol is text", "<0x41>", []int{id("▁"), id("<"), id("0"), id("x"), id("4"), id("1"), id(">")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := tt.want
			got := tok.Encode(tt.text, false)
			if diff := cmp.Diff(want, got, equateEmpty); diff != "" {
				t.Errorf("Encode(%q) (-want +got):\n%s", tt.text, diff)
			}
			text, err := tok.Decode(append([]int{1}, got...))
			if err != nil || text != tt.text {
				t.Errorf("Decode = %q, %v; want %q", text, err, tt.text)
			}
		})
	}
}

func TestDecodeBroken(t *testing.T) {
	sp, _ := loadStories(t)
	bl, err := LoadFile("testdata/bytelevel.json")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		tok  *Tokenizer
		ids  []int
		want string
	}{
		{"sentencepiece replaces each byte", sp, []int{3 + 0xe2, 3 + 0x82, 3 + 'x'}, "\ufffd\ufffdx"},
		{"sentencepiece at the end", sp, []int{3 + 0xe2, 3 + 0x82}, "\ufffd\ufffd"},
		{"sentencepiece unknown", sp, []int{0}, " ⁇ "},
		{"byte level replaces the longest start", bl, []int{0xe2, 0x82, 'x'}, "\ufffdx"},
		{"byte level lone continuation", bl, []int{0x82, 0x82}, "\ufffd\ufffd"},
		{"byte level surrogate", bl, []int{0xed, 0xa0, 0x80}, "\ufffd\ufffd\ufffd"},
		{"byte level cut by a special token", bl, []int{0xc3, 271, 0xa9}, "é"},
		{"byte level four bytes", bl, []int{0xf0, 0x9f, 0x98}, "\ufffd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.tok.Decode(tt.ids)
			if err != nil || got != tt.want {
				t.Errorf("Decode = %q, %v; want %q", got, err, tt.want)
			}
			if s := streamed(t, tt.tok, tt.ids); s != tt.want {
				t.Errorf("stream = %q; want %q", s, tt.want)
			}
		})
	}
}

func TestDecodeOutOfRange(t *testing.T) {
	tok, _ := loadStories(t)
	for _, id := range []int{-1, 512} {
		_, err := tok.Decode([]int{5, id})
		if err == nil || !strings.Contains(err.Error(), "at index 1 is outside the vocabulary of 512") {
			t.Errorf("Decode(%d): %v", id, err)
		}
	}
	s := tok.Stream()
	if _, err := s.Next(512); err == nil {
		t.Error("Next(512) gives no error")
	}
}

func TestLoad(t *testing.T) {
	_, model := loadStories(t)
	json, err := os.ReadFile("testdata/bytelevel.json")
	if err != nil {
		t.Fatal(err)
	}
	unigram := `{"model":{"type":"Unigram","vocab":[["a",0]]}}`
	tests := []struct {
		name     string
		files    map[string]string
		kind     string
		bos, eos int
		before   []int
		err      error
		message  string
	}{
		{name: "none", err: ErrNone, message: "copy tokenizer.json or tokenizer.model"},
		{name: "json first", files: map[string]string{jsonName: string(json), modelName: string(model)}, kind: kindByteLevel, bos: 270, eos: 271, before: []int{270}},
		{name: "model", files: map[string]string{modelName: string(model)}, kind: kindSentencePiece, bos: 1, eos: 2, before: []int{1}},
		{name: "json of another kind", files: map[string]string{jsonName: unigram, modelName: string(model)}, kind: kindSentencePiece, bos: 1, eos: 2, before: []int{1}},
		{name: "only json of another kind", files: map[string]string{jsonName: unigram}, err: ErrUnsupported, message: `tokenizer.json: model "Unigram": not supported (known: BPE)`},
		{name: "broken json", files: map[string]string{jsonName: "{", modelName: string(model)}, message: "tokenizer.json: not a tokenizer.json"},
		{name: "broken model", files: map[string]string{modelName: string(model[:1000])}, message: "tokenizer.model: not a SentencePiece model"},
		{name: "config adds nothing", files: map[string]string{modelName: string(model), configName: `{"add_bos_token":false,"bos_token":"</s>","eos_token":{"content":"<s>"}}`}, kind: kindSentencePiece, bos: 2, eos: 1},
		{name: "config without bos", files: map[string]string{jsonName: string(json), configName: `{"bos_token":null}`}, kind: kindByteLevel, bos: -1, eos: 271, before: []int{270}},
		{name: "config with a number for a token", files: map[string]string{jsonName: string(json), configName: `{"bos_token":5}`}, message: "not a tokenizer configuration: bos_token is a number"},
		{name: "config asks for the impossible", files: map[string]string{modelName: string(model), configName: `{"add_bos_token":true,"bos_token":"<x>"}`}, message: `BOS token "<x>"`},
		{name: "broken config", files: map[string]string{modelName: string(model), configName: `[`}, message: "tokenizer_config.json: not a tokenizer configuration"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			tok, err := Load(dir)
			if tt.message != "" {
				if err == nil || !strings.Contains(err.Error(), tt.message) || tt.err != nil && !errors.Is(err, tt.err) {
					t.Fatalf("error %v; want %q", err, tt.message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tok.Kind() != tt.kind || tok.bos != tt.bos || tok.eos != tt.eos || !cmp.Equal(tok.post.before, tt.before) {
				t.Errorf("kind %s, BOS %d, EOS %d, before %v", tok.Kind(), tok.bos, tok.eos, tok.post.before)
			}
			if want := len(tt.before) > 0 && tt.before[0] == tt.bos; tok.AddsBOS() != want {
				t.Errorf("AddsBOS = %v", tok.AddsBOS())
			}
		})
	}
}

func TestLoadFile(t *testing.T) {
	if _, err := LoadFile("testdata/README.md"); err == nil || !strings.Contains(err.Error(), "*.json or a *.model") {
		t.Errorf("unknown name: %v", err)
	}
	if _, err := LoadFile("testdata/absent.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
}

func TestConcurrent(t *testing.T) {
	tok, _ := loadStories(t)
	g := readGoldens(t, "testdata/stories260K.goldens.jsonl")[0]
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if !cmp.Equal(tok.Encode(g.Text, true), g.IDsSpecial) {
					t.Error("another encoding")
				}
			}
		})
	}
	wg.Wait()
}
