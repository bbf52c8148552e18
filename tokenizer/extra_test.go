package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

// TestNamedTokens: tokens that only the files beside a vocabulary name, with the ids that transformers gives them.
func TestNamedTokens(t *testing.T) {
	_, model := loadStories(t)
	json := jsonWith(map[string]string{"added_tokens": `[{"id":3,"content":"<z>","special":true}]`})
	tests := []struct {
		name    string
		files   map[string]string
		text    string
		want    []int
		decoded string
	}{
		{"added_tokens.json", map[string]string{modelName: string(model), addedName: `{"<y>":513,"<x>":512}`}, "<x><y>", []int{512, 513}, "<x><y>"},
		{"ids as floats and strings", map[string]string{modelName: string(model), addedName: `{"<y>":"513","<x>":512.0}`}, "<x><y>", []int{512, 513}, "<x><y>"},
		{"special by special_tokens_map.json", map[string]string{modelName: string(model), addedName: `{"<y>":513,"<x>":512}`, mapName: `{"pad_token":{"content":"<x>"}}`}, "<x><y>", []int{512, 513}, "<y>"},
		{"pad_token", map[string]string{modelName: string(model), configName: `{"pad_token":"<pad>"}`}, "<pad>", []int{512}, ""},
		{"additional_special_tokens", map[string]string{modelName: string(model), configName: `{"additional_special_tokens":["<x>",{"content":"<y>"},"<s>"]}`}, "<y><x><s>", []int{513, 512, 1}, ""},
		{"extra_special_tokens by part", map[string]string{modelName: string(model), configName: `{"extra_special_tokens":{"image_token":"<x>"}}`}, "<x>", []int{512}, ""},
		{"before the others, in their order", map[string]string{modelName: string(model), configName: `{"additional_special_tokens":["<y>"],"pad_token":"<x>","eos_token":"<e>"}`}, "<e><x><y>", []int{512, 513, 514}, ""},
		{"added_tokens_decoder takes the place of added_tokens.json", map[string]string{modelName: string(model), addedName: `{"<w>":512}`, configName: `{"added_tokens_decoder":{"512":{"content":"<x>","special":true}}}`}, "<x>", []int{512}, ""},
		{"Infinity beside it", map[string]string{modelName: string(model), configName: `{"model_max_length":Infinity,"x":[NaN,-Infinity],"pad_token":"<pad>"}`}, "<pad>", []int{512}, ""},
		{"white space taken along", map[string]string{modelName: string(model), configName: `{"mask_token":{"content":"<x>","lstrip":true}}`}, "  <x>", []int{512}, ""},

		{"json: added_tokens.json", map[string]string{jsonName: json, addedName: `{"<x>":4}`}, "a<x><z>b", []int{0, 4, 3, 1}, "a<x>b"},
		{"json: pad_token", map[string]string{jsonName: json, configName: `{"pad_token":"<x>"}`}, "a<x>b", []int{0, 4, 1}, "ab"},
		{"json: a token of the vocabulary", map[string]string{jsonName: json, configName: `{"additional_special_tokens":["ab"]}`}, "aab", []int{0, 2}, "a"},
		{"json: ids as strings", map[string]string{jsonName: jsonWith(map[string]string{"added_tokens": `[{"id":"3","content":"<z>"},{"id":4.0,"content":"<y>"}]`})}, "<y><z>", []int{4, 3}, "<y><z>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tok, err := loadFrom(t, tt.files)
			if err != nil {
				t.Fatal(err)
			}
			got := tok.Encode(tt.text, false)
			if !slices.Equal(got, tt.want) {
				t.Errorf("Encode(%q) = %v, want %v", tt.text, got, tt.want)
			}
			if text, err := tok.Decode(tt.want); text != tt.decoded || err != nil {
				t.Errorf("Decode = %q, %v, want %q", text, err, tt.decoded)
			}
		})
	}
}

// TestNamedTokensErrors: files that do not go together, or are not what they should be, without types of Go.
func TestNamedTokensErrors(t *testing.T) {
	_, model := loadStories(t)
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 499723\n"
	tests := []struct {
		name, message string
		files         map[string]string
	}{
		{"other token", `added token 1 is "<y>", but "<s>"`, map[string]string{modelName: string(model), addedName: `{"<y>":1}`}},
		{"far id", "id 16000000 is outside", map[string]string{modelName: string(model), addedName: `{"<y>":16000000}`}},
		{"far id in the vocabulary", "vocab has an id above", map[string]string{jsonName: jsonWith(map[string]string{"model": `{"type":"BPE","vocab":{"a":0,"b":16000000},"merges":[]}`})}},
		{"no number", `added_tokens.json: not a tokenizer configuration: [1] is no token id`, map[string]string{modelName: string(model), addedName: `{"<y>":[1]}`}},
		{"a list", `added_tokens.json: not a tokenizer configuration: the file is a list, and an object is expected`, map[string]string{modelName: string(model), addedName: `[1]`}},
		{"wrong type", `add_bos_token is a string, and true or false is expected`, map[string]string{modelName: string(model), configName: `{"add_bos_token":"yes"}`}},
		{"pointer model", "it is a Git LFS pointer", map[string]string{modelName: pointer}},
		{"pointer json", "it is a Git LFS pointer", map[string]string{jsonName: pointer, modelName: string(model)}},
		{"pointer config", "tokenizer_config.json: it is a Git LFS pointer", map[string]string{modelName: string(model), configName: pointer}},
		{"web page", "it is a web page", map[string]string{jsonName: "<!DOCTYPE html><html></html>"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadFrom(t, tt.files)
			if err == nil || !strings.Contains(err.Error(), tt.message) {
				t.Fatalf("error %v, want %q", err, tt.message)
			}
			for _, word := range []string{"Go ", "struct", "tokenizer.", "map["} {
				if rest := strings.NewReplacer("tokenizer.json", "", "tokenizer.model", "").Replace(err.Error()); strings.Contains(rest, word) {
					t.Errorf("%q speaks of Go: %q", err, word)
				}
			}
		})
	}
}

// TestGLMRoles: ChatGLM3's code has role tokens, which a chat is written with; ChatGLM2's has not.
func TestGLMRoles(t *testing.T) {
	_, model := loadStories(t)
	class := `{"tokenizer_class":"ChatGLMTokenizer"}`
	const chat = "[gMASK]sop<|user|>\n hi<|assistant|>"
	three := map[string]map[string]string{
		"by code": {modelName: string(model), configName: class, "tokenization_chatglm.py": `role_special_tokens = ["<|system|>", "<|user|>"]`},
		"by name": {modelName: string(model), configName: `{"tokenizer_class":"ChatGLMTokenizer","added_tokens_decoder":{"518":{"content":"<|user|>","special":true}}}`},
	}
	for name, files := range three {
		t.Run(name, func(t *testing.T) {
			tok, err := loadFrom(t, files)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Concat([]int{513, 515, 518}, tok.Encode("\n", false), tok.Encode("hi", false), []int{519})
			if got := tok.EncodeMarked(chat); !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			if got := tok.EncodeMarked(strings.TrimPrefix(chat, "[gMASK]sop")); !slices.Equal(got, want) {
				t.Errorf("without the opening: %v, want %v", got, want)
			}
			if got := tok.TurnEnds(); !slices.Equal(got, []int{518, 520}) {
				t.Errorf("answers end at %v", got)
			}
			if text, err := tok.Decode([]int{518, 519}); text != "" || err != nil {
				t.Errorf("Decode = %q, %v", text, err)
			}
		})
	}
	tok, err := loadFrom(t, map[string]string{modelName: string(model), configName: class})
	if err != nil || tok.VocabSize() != 517 || len(tok.TurnEnds()) != 0 {
		t.Errorf("ChatGLM2: %d tokens, ends %v, %v", tok.VocabSize(), tok.TurnEnds(), err)
	}
}

// TestLeftOut: what StripAccents and a vocabulary without the unknown token leave out, as Hugging Face's library.
func TestLeftOut(t *testing.T) {
	tests := []struct {
		name  string
		parts map[string]string
		text  string
		want  []int
	}{
		{"a dropped character parts no merge", map[string]string{
			"pre_tokenizer": "null", "decoder": `{"type":"Fuse"}`,
			"normalizer": `{"type":"Replace","pattern":{"String":" "},"content":"▁"}`,
			"model":      `{"type":"BPE","vocab":{"a":0,"▁":1,"a▁":2},"merges":["a ▁"]}`,
		}, "ax y a", []int{2, 1, 0}},
		{"bytes stand for it", map[string]string{
			"pre_tokenizer": "null", "decoder": `{"type":"Fuse"}`,
			"normalizer": `{"type":"Replace","pattern":{"String":" "},"content":"▁"}`,
			"model":      `{"type":"BPE","byte_fallback":true,"vocab":{"a":0,"▁":1,"a▁":2,"<0x78>":3},"merges":["a ▁"]}`,
		}, "ax y a", []int{0, 3, 1, 1, 0}},
		{"marks of all kinds", map[string]string{
			"pre_tokenizer": "null", "decoder": `{"type":"Fuse"}`,
			"normalizer": `{"type":"StripAccents"}`,
			"model":      `{"type":"BPE","vocab":{"a":0,"́":1,"ि":2,"⃝":3,"क":4},"merges":[]}`,
		}, "áकिa⃝", []int{0, 4, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tok, err := parseJSON([]byte(jsonWith(tt.parts)), config{})
			if err != nil {
				t.Fatal(err)
			}
			if got := tok.Encode(tt.text, false); !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// TestContinue: a prompt and what follows read as the whole does, and ids without a token are left out.
func TestContinue(t *testing.T) {
	tok, _ := loadStories(t)
	const prompt, rest = "Once upon a", " time, there was"
	ids := tok.Encode(prompt+rest, true)
	head := len(tok.Encode(prompt, true))
	s := tok.Continue(ids[:head])
	text := ""
	for _, id := range append(slices.Clone(ids[head:]), 512, 600) {
		part, err := s.Next(id)
		if err != nil {
			t.Fatal(err)
		}
		text += part
	}
	if text += s.Flush(); text != rest {
		t.Errorf("%q, want %q", text, rest)
	}
	if got := tok.Text([]int{600, ids[1], 512}); got != "Once" {
		t.Errorf("Text %q", got)
	}
	if got, err := tok.Continue(nil).Next(ids[1]); got != "Once" || err != nil {
		t.Errorf("nothing before: %q, %v", got, err)
	}
}

func TestUnmarked(t *testing.T) {
	_, model := loadStories(t)
	tok, err := loadFrom(t, map[string]string{modelName: string(model), addedName: `{"<|im_start|>":512}`})
	if err != nil {
		t.Fatal(err)
	}
	got := tok.Unmarked("<|im_start|>user\na <| b |> <|own|><|im_end|>\n<|im_start|>x<|im_end|>", "a <| b |> <|own|>", "")
	if !slices.Equal(got, []string{"<|im_end|>"}) {
		t.Errorf("%q", got)
	}
}
