package tokenizer

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tiktokenFile writes the vocabulary of a byte-level tokenizer.json in tiktoken's form.
func tiktokenFile(vocab map[string]int32) string {
	reader := newByteReader()
	tokens := slices.SortedFunc(maps.Keys(vocab), func(a, b string) int { return int(vocab[a] - vocab[b]) })
	var out strings.Builder
	for _, token := range tokens {
		raw, _ := reader.raw(nil, token)
		fmt.Fprintf(&out, "%s %d\n", base64.StdEncoding.EncodeToString(raw), vocab[token])
	}
	return out.String()
}

type vocabAndMerges struct {
	Model struct {
		Vocab  map[string]int32 `json:"vocab"`
		Merges []string         `json:"merges"`
	} `json:"model"`
}

func readVocabAndMerges(t *testing.T, path string) vocabAndMerges {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f vocabAndMerges
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// otherFormsGoldens: the published tokenizers written in the older forms give the same ids.
func otherFormsGoldens(t *testing.T, published string) {
	tests := []struct {
		name, from string
		files      func(f vocabAndMerges) map[string]string
	}{
		{"Llama 3's tokenizer.model", "llama3", func(f vocabAndMerges) map[string]string {
			return map[string]string{modelName: tiktokenFile(f.Model.Vocab)}
		}},
		{"qwen.tiktoken", "qwen2", func(f vocabAndMerges) map[string]string {
			return map[string]string{qwenName: tiktokenFile(f.Model.Vocab)}
		}},
		{"Qwen2's vocab.json and merges.txt", "qwen2", func(f vocabAndMerges) map[string]string {
			vocab, _ := json.Marshal(f.Model.Vocab)
			return map[string]string{
				vocabName: string(vocab), mergesName: "#version: 0.2\n" + strings.Join(f.Model.Merges, "\n") + "\n",
				configName: `{"tokenizer_class":"Qwen2Tokenizer","additional_special_tokens":["<|im_start|>","<|im_end|>"]}`,
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(published, tt.from)
			tok, err := loadFrom(t, tt.files(readVocabAndMerges(t, filepath.Join(dir, jsonName))))
			if err != nil {
				t.Fatal(err)
			}
			checkGoldens(t, tok, readGoldens(t, filepath.Join(dir, "goldens.jsonl")))
		})
	}
}

// bytesAnd is a vocabulary of all bytes, in order, and some tokens after them.
func bytesAnd(tokens ...string) map[string]int32 {
	spell, _ := byteSpelling()
	vocab := map[string]int32{}
	for b, r := range spell {
		vocab[string(r)] = int32(b)
	}
	for _, token := range tokens {
		vocab[token] = int32(len(vocab))
	}
	return vocab
}

func TestOtherForms(t *testing.T) {
	ranks := tiktokenFile(bytesAnd("hi", "Ġhi", "ab", "bc"))
	vocab, _ := json.Marshal(bytesAnd("Ġh", "hi", "<|endoftext|>"))
	const merges = "#version: 0.2\nĠ h\nh i\n"
	glm := `{"tokenizer_class":"ChatGLM4Tokenizer","added_tokens_decoder":{"260":{"content":"<|endoftext|>","special":true},"261":{"content":"[gMASK]","special":true},"262":{"content":"<sop>","special":true},"263":{"content":"<|user|>","special":true}},"eos_token":"<|endoftext|>"}`
	tests := []struct {
		name  string
		files map[string]string
		text  string
		want  []int // with what belongs around a text
		ends  []int
		eos   int
	}{
		{"GLM-4", map[string]string{modelName: ranks, configName: glm}, "hi hi<|user|>", []int{261, 262, 256, 257, 263}, []int{263}, 260},
		{"GLM-4 by config.json alone", map[string]string{modelName: ranks, checkpoint: `{"model_type":"chatglm"}`}, "abc", []int{258, 'c'}, nil, -1},
		{"Windows line ends", map[string]string{modelName: strings.ReplaceAll(ranks, "\n", "\r\n")}, "bcab", []int{259, 258}, nil, -1},
		{"qwen.tiktoken", map[string]string{qwenName: ranks}, "hi<|im_end|>", []int{256, 262}, []int{262}, 260},
		{"GPT-2's pair", map[string]string{vocabName: string(vocab), mergesName: merges}, "hi hi<|endoftext|>", []int{257, 256, 'i', 258}, nil, 258},
		{"a space before the text", map[string]string{vocabName: string(vocab), mergesName: merges, configName: `{"tokenizer_class":"GPT2TokenizerFast","add_prefix_space":true}`}, "hi", []int{256, 'i'}, nil, 258},
		{"BOS on demand", map[string]string{vocabName: string(vocab), mergesName: merges, configName: `{"tokenizer_class":"GPT2Tokenizer","add_bos_token":true}`}, "hi", []int{258, 257}, nil, 258},
		{"Qwen2's pair, composed", map[string]string{vocabName: string(vocab), mergesName: merges, checkpoint: `{"model_type":"qwen2"}`}, "e\u0301", []int{0xc3, 0xa9}, nil, 258},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tok, err := loadFrom(t, tt.files)
			if err != nil {
				t.Fatal(err)
			}
			got := tok.Encode(tt.text, true)
			if eos, _ := tok.EOS(); !slices.Equal(got, tt.want) || !slices.Equal(tok.TurnEnds(), tt.ends) || eos != tt.eos {
				t.Errorf("%v, ends %v, EOS %d; want %v, %v, %d", got, tok.TurnEnds(), eos, tt.want, tt.ends, tt.eos)
			}
		})
	}
}

func TestOtherFormsErrors(t *testing.T) {
	ranks := tiktokenFile(bytesAnd("hi"))
	tests := []struct {
		name, message string
		unsupported   bool
		files         map[string]string
	}{
		{"no number", `line 258: "x" is no rank`, false, map[string]string{modelName: ranks + "aGk= x\n"}},
		{"no base64", `line 258: "??"`, false, map[string]string{modelName: ranks + "?? 9\n"}},
		{"twice", `line 258: token "hi" a second time`, false, map[string]string{modelName: ranks + "aGk= 300\n"}},
		{"one id for two", "share id 0", false, map[string]string{modelName: ranks + "aGlp 0\n"}},
		{"a byte is missing", "no token for the byte 0x00", false, map[string]string{modelName: strings.TrimPrefix(ranks, "AA== 0\n")}},
		{"other code", `with code of its own (tokenizer_class "X"): not supported`, true, map[string]string{modelName: ranks, configName: `{"tokenizer_class":"X","auto_map":{"AutoTokenizer":["x.X",null]}}`}},
		{"no merges", "there is no merges.txt beside it", false, map[string]string{vocabName: `{"a":0}`}},
		{"another class", `tokenizer_class "RobertaTokenizer" with vocab.json`, true, map[string]string{vocabName: `{"a":0}`, mergesName: "a b", configName: `{"tokenizer_class":"RobertaTokenizer"}`}},
		{"vocab.json is none", "not JSON", false, map[string]string{vocabName: `{`, mergesName: "a b"}},
		{"three parts", "merge 0: \"a b c\"", false, map[string]string{vocabName: `{"a":0}`, mergesName: "a b c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadFrom(t, tt.files)
			if err == nil || !strings.Contains(err.Error(), tt.message) || errors.Is(err, ErrUnsupported) != tt.unsupported {
				t.Fatalf("error %v, want %q, unsupported %v", err, tt.message, tt.unsupported)
			}
		})
	}
}

func FuzzTiktoken(f *testing.F) {
	f.Add([]byte(tiktokenFile(bytesAnd("hi"))))
	f.Add([]byte("aGk= 0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := parseTiktoken(data, config{}, qwenRules()); err == nil {
			use(t, tok)
		}
	})
}
