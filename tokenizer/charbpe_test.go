package tokenizer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// llamaJSON is a tokenizer.json as converters write it from a SentencePiece model.
func llamaJSON(model string) string {
	return `{"added_tokens":[{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true}],
"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},
"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<s>":{"ids":[1]}}},
"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
"model":` + model + `}`
}

// randomBPE invents characters, merges that cross word boundaries, and sometimes byte tokens.
func randomBPE(rng *rand.Rand) (model string, vocab map[string]int, merges [][2]string, fallback bool) {
	tokens := []string{"<unk>", "<s>", "</s>", "a", "b", "c", "é"}
	if rng.IntN(5) > 0 {
		tokens = append(tokens, space)
	}
	have := len(tokens)
	if fallback = rng.IntN(2) == 0; fallback {
		for b := range 256 {
			tokens = append(tokens, byteToken(byte(b)))
		}
	}
	vocab = map[string]int{}
	for id, token := range tokens {
		vocab[token] = id
	}
	parts := slices.Clone(tokens[3:have])
	for range 30 {
		left, right := parts[rng.IntN(len(parts))], parts[rng.IntN(len(parts))]
		if whole := left + right; vocab[whole] == 0 && len(whole) < 20 {
			vocab[whole] = len(vocab)
			parts = append(parts, whole)
			merges = append(merges, [2]string{left, right})
		}
	}
	rng.Shuffle(len(merges), func(i, j int) { merges[i], merges[j] = merges[j], merges[i] })
	v, _ := json.Marshal(vocab)
	m, _ := json.Marshal(merges)
	if merges == nil {
		m = []byte("[]")
	}
	return fmt.Sprintf(`{"type":"BPE","unk_token":"<unk>","fuse_unk":%v,"byte_fallback":%v,"vocab":%s,"merges":%s}`, rng.IntN(2) == 0, fallback, v, m), vocab, merges, fallback
}

// referenceBPE knows no words, tables or caches.
func referenceBPE(vocab map[string]int, merges [][2]string, fallback, fuse bool, text string) []int {
	var syms []string
	for _, r := range text {
		_, known := vocab[string(r)]
		switch {
		case known:
			syms = append(syms, string(r))
		case fallback:
			for _, b := range []byte(string(r)) {
				syms = append(syms, byteToken(b))
			}
		case !fuse || len(syms) == 0 || syms[len(syms)-1] != "<unk>":
			syms = append(syms, "<unk>")
		}
	}
	for {
		best, at := len(merges), -1
		for i := 0; i+1 < len(syms); i++ {
			if rank := slices.Index(merges, [2]string{syms[i], syms[i+1]}); rank >= 0 && rank < best {
				best, at = rank, i
			}
		}
		if at < 0 {
			break
		}
		syms = slices.Replace(syms, at, at+2, syms[at]+syms[at+1])
	}
	var ids []int
	for _, sym := range syms {
		ids = append(ids, vocab[sym])
	}
	return ids
}

func TestCharacterBPEAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	alphabet := []string{"a", "b", "c", "a", " ", " ", "é", "x", "\U0001f600"}
	for range 100 {
		model, vocab, merges, fallback := randomBPE(rng)
		tok, err := parseJSON([]byte(llamaJSON(model)), config{})
		if err != nil {
			t.Fatalf("%v in %s", err, model)
		}
		for range 10 {
			text := randomText(rng, alphabet, rng.IntN(100))
			want := referenceBPE(vocab, merges, fallback, strings.Contains(model, `"fuse_unk":true`), tok.normalize.normalize(text))
			if diff := cmp.Diff(want, tok.Encode(text, false), equateEmpty); diff != "" {
				t.Fatalf("%s\n%q (-want +got):\n%s", model, text, diff)
			}
			if _, spaces := vocab[space]; !fallback || !spaces {
				continue
			}
			if back, err := tok.Decode(tok.Encode(text, true)); err != nil || back != text {
				t.Fatalf("%q came back as %q (%v)", text, back, err)
			}
		}
	}
}

func TestChain(t *testing.T) {
	tokens := []string{"<unk>", "<s>", "</s>", "▁a", "b", "<0xE6>", "<0xBC>", "<0xA2>", "<0x0A>", "▁", "▁▁c"}
	added := []addedToken{{ID: 1, Content: "<s>", Special: true}, {ID: 2, Content: "</s>", Special: true}}
	const (
		llama     = `{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}`
		gemma     = `{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}]}`
		metaspace = `{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}`
		bare      = `{"type":"Metaspace","replacement":"▁","prepend_scheme":"never"}`
		each      = `{"type":"Sequence","decoders":[{"type":"Strip","content":"▁","start":1,"stop":1}]}`
	)
	tests := []struct {
		name, decoder string
		ids           []int
		want          string
	}{
		{"prefix goes", llama, []int{1, 3, 4, 3, 2}, "ab a"},
		{"one space goes", llama, []int{10, 3}, " c a"},
		{"bytes", llama, []int{3, 5, 6, 7, 8, 4}, "a漢\nb"},
		{"a special token inside a character", llama, []int{5, 2, 6, 7}, "漢"},
		{"broken bytes, each replaced", llama, []int{5, 6, 8, 4}, "\ufffd\ufffd\ufffdb"},
		{"cut off", llama, []int{3, 5, 6}, "a\ufffd\ufffd"},
		{"nothing goes", gemma, []int{3, 10}, " a  c"},
		{"metaspace", metaspace, []int{1, 10, 3, 9}, "c a "},
		{"metaspace without prefix", bare, []int{3, 3}, " a a"},
		{"no fallback", bare, []int{5, 4}, "<0xE6>b"},
		{"each token", each, []int{3, 9, 10, 4}, "a▁cb"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dec, err := newChain([]byte(tt.decoder), tokens, added)
			if err != nil {
				t.Fatal(err)
			}
			tok := &Tokenizer{tokens: tokens, known: slices.Repeat([]bool{true}, len(tokens)), dec: dec}
			got, err := tok.Decode(tt.ids)
			if err != nil || got != tt.want || streamed(t, tok, tt.ids) != tt.want {
				t.Errorf("Decode = %q, %v; stream %q; want %q", got, err, streamed(t, tok, tt.ids), tt.want)
			}
		})
	}
}

func TestChainErrors(t *testing.T) {
	for _, decoder := range []string{
		`null`, `{"type":"CTC"}`,
		`{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"ByteFallback"}]}`,
		`{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"Strip","content":" ","start":0,"stop":1}]}`,
	} {
		if _, err := newChain([]byte(decoder), nil, nil); err == nil || !strings.Contains(err.Error(), "not supported") {
			t.Errorf("%s: %v", decoder, err)
		}
	}
}

// TestConfigClasses: what a tokenizer class puts around a text itself.
func TestConfigClasses(t *testing.T) {
	model := `{"type":"BPE","vocab":{"<unk>":0,"<s>":1,"</s>":2,"▁":3,"a":4,"▁a":5},"merges":["▁ a"]}`
	tests := []struct {
		name, config string
		want         []int
		message      string
	}{
		{"no configuration", ``, []int{1, 5}, ""},
		{"class of its own", `{"tokenizer_class":"LlamaTokenizer","add_bos_token":false,"add_eos_token":true}`, []int{5, 2}, ""},
		{"class's default", `{"tokenizer_class":"LlamaTokenizerFast"}`, []int{1, 5}, ""},
		{"class's default without BOS", `{"tokenizer_class":"GPTNeoXTokenizerFast"}`, []int{5}, ""},
		{"other classes leave it to the file", `{"tokenizer_class":"PreTrainedTokenizerFast","add_bos_token":false}`, []int{1, 5}, ""},
		{"no such token", `{"tokenizer_class":"LlamaTokenizer","bos_token":"<x>"}`, nil, `BOS token "<x>"`},
		{"more tokens", `{"added_tokens_decoder":{"6":{"content":"a","special":false},"7":{"content":"<x>","special":true}}}`, nil, `has id 6, but 4`},
		{"not an id", `{"added_tokens_decoder":{"x":{"content":"a"}}}`, nil, `"x" is no token id`},
		{"another id", `{"added_tokens_decoder":{"9":{"content":"<s>"}}}`, nil, `token "<s>" has id 9, but 1 in tokenizer.json`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tok, err := loadFrom(t, map[string]string{jsonName: llamaJSON(model), configName: tt.config})
			if tt.message != "" {
				if err == nil || !strings.Contains(err.Error(), tt.message) {
					t.Fatalf("error %v, want %q", err, tt.message)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := tok.Encode("a", true); !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
	tok, err := loadFrom(t, map[string]string{jsonName: llamaJSON(model), configName: `{"added_tokens_decoder":{"6":{"content":"<x>","lstrip":true,"special":true},"1":{"content":"<s>","rstrip":true,"special":true}}}`})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Encode("a  <x><s>  a", false), []int{5, 6, 1, 5}; !slices.Equal(got, want) {
		t.Errorf("options of added_tokens_decoder: %v, want %v", got, want)
	}
}

// loadFrom loads a directory with files of this content; an empty text leaves a file out.
func loadFrom(t *testing.T, files map[string]string) (*Tokenizer, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(dir)
}

func TestChatGLM(t *testing.T) {
	_, model := loadStories(t)
	for name, files := range map[string]map[string]string{
		"tokenizer_config.json": {configName: `{"tokenizer_class":"ChatGLMTokenizer","added_tokens_decoder":{"513":{"content":"[gMASK]"}}}`},
		"config.json":           {checkpoint: `{"model_type":"chatglm"}`},
	} {
		t.Run(name, func(t *testing.T) {
			files[modelName] = string(model)
			tok, err := loadFrom(t, files)
			if err != nil {
				t.Fatal(err)
			}
			want := append([]int{513, 515}, tok.Encode("a sop", false)...)
			if got := tok.Encode("a sop", true); !slices.Equal(got, want) || tok.VocabSize() != 517 || tok.AddsBOS() {
				t.Errorf("%v, want %v; vocabulary %d", got, want, tok.VocabSize())
			}
			if got := tok.EncodeMarked("a sop"); !slices.Equal(got, want) {
				t.Errorf("marked %v, want %v", got, want)
			}
			if text, err := tok.Decode(want); err != nil || text != "a sop" {
				t.Errorf("Decode = %q, %v", text, err)
			}
		})
	}
}

func prefixOfChatGLM2(t *testing.T, dir string) {
	model, err := os.ReadFile(filepath.Join(dir, modelName))
	if err != nil {
		t.Fatal(err)
	}
	tok, err := loadFrom(t, map[string]string{modelName: string(model), configName: `{"tokenizer_class":"ChatGLMTokenizer"}`})
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode("", true); !slices.Equal(got, []int{64790, 64792}) {
		t.Errorf("[gMASK] sop = %v", got)
	}
}

// TestMarkedSentencePiece: a tokenizer.model finds special tokens in text where they are asked for, or where
// added_tokens_decoder lists them, as transformers does.
func TestMarkedSentencePiece(t *testing.T) {
	_, model := loadStories(t)
	tests := []struct {
		name, config   string
		encode, marked string // tokens of "<s>a</s>a<x>"
	}{
		{"without configuration", "", "▁ < s > a < / s > a < x >", "<s> ▁a </s> ▁a < x >"},
		{"added, each part with a space", `{"added_tokens_decoder":{"1":{"content":"<s>","special":true},"512":{"content":"<x>","special":true}}}`, "<s> ▁a < / s > a <x>", "<s> ▁a </s> ▁a <x>"},
		{"added, space at the start only", `{"legacy":false,"added_tokens_decoder":{"1":{"content":"<s>","special":true},"2":{"content":"</s>","special":true},"512":{"content":"<x>","special":false}}}`, "<s> a </s> a <x>", "<s> a </s> a <x>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tok, err := loadFrom(t, map[string]string{modelName: string(model), configName: tt.config})
			if err != nil {
				t.Fatal(err)
			}
			spell := func(ids []int) string {
				var all []string
				for _, id := range ids {
					all = append(all, tok.Token(id))
				}
				return strings.Join(all, " ")
			}
			const text = "<s>a</s>a<x>"
			if got := spell(tok.Encode(text, false)); got != tt.encode {
				t.Errorf("Encode %s, want %s", got, tt.encode)
			}
			if got := spell(tok.EncodeMarked(text)); got != tt.marked {
				t.Errorf("EncodeMarked %s, want %s", got, tt.marked)
			}
		})
	}
	for message, config := range map[string]string{
		"ids must follow one another": `{"added_tokens_decoder":{"600":{"content":"<x>"}}}`,
		`token 1 is "<y>", but "<s>"`: `{"added_tokens_decoder":{"1":{"content":"<y>"}}}`,
	} {
		if _, err := loadFrom(t, map[string]string{modelName: string(model), configName: config}); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("error %v, want %q", err, message)
		}
	}
}
