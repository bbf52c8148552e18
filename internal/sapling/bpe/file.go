package bpe

import (
	"bytes"
	"encoding/json"
)

// End is the token that ends a text.
const End = "<|end|>"

// alphabet lists GPT-2's printable stand-ins for the bytes: first the bytes that
// print, which stand for themselves, then the others from U+0100 on.
func alphabet() []string {
	var out []string
	for b := range 256 {
		if '!' <= b && b <= '~' || 0xa1 <= b && b <= 0xac || 0xae <= b && b <= 0xff {
			out = append(out, string(rune(b)))
		}
	}
	for i := range 256 - len(out) {
		out = append(out, string(rune(256+i)))
	}
	return out
}

// Size is the number of ids of a tokenizer with so many merges.
func Size(merges int) int { return 256 + merges + 1 }

// File is tokenizer.json as the tokenizers library reads it: the bytes, the
// merges, End.
func File(merges [][2]string) ([]byte, error) {
	type object = map[string]any
	vocab := map[string]int{}
	for i, s := range alphabet() {
		vocab[s] = i
	}
	pairs := []string{}
	for _, m := range merges {
		vocab[m[0]+m[1]] = len(vocab)
		pairs = append(pairs, m[0]+" "+m[1])
	}
	end := object{"id": len(vocab), "content": End, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
	byteLevel := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	return encode(object{
		"version": "1.0", "truncation": nil, "padding": nil, "normalizer": nil, "post_processor": nil,
		"added_tokens": []object{end}, "pre_tokenizer": byteLevel, "decoder": byteLevel,
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": pairs,
		},
	})
}

// Config is tokenizer_config.json.
func Config(length int) ([]byte, error) {
	return encode(map[string]any{
		"add_bos_token": false, "bos_token": nil, "eos_token": End, "unk_token": nil, "clean_up_tokenization_spaces": false,
		"model_max_length": length, "tokenizer_class": "PreTrainedTokenizerFast",
	})
}

// encode writes JSON as Python's json.dumps(indent=2, ensure_ascii=False) does.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}
