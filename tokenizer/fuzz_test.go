package tokenizer

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"
)

// use encodes and decodes with a tokenizer that came from unknown bytes: nothing may panic, and what Encode
// writes Decode must know.
func use(t *testing.T, tok *Tokenizer) {
	for _, text := range []string{"", "Hello  world\n123 é漢\U0001f600 <s>", "\xff"} {
		ids := tok.Encode(text, true)
		whole, err := tok.Decode(ids)
		if err != nil {
			t.Fatalf("Encode(%q) gave ids that Decode refuses: %v", text, err)
		}
		if parts := streamed(t, tok, ids); parts != whole {
			t.Fatalf("stream %q, Decode %q", parts, whole)
		}
	}
}

func FuzzTokenizerJSON(f *testing.F) {
	data, err := os.ReadFile("testdata/bytelevel.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"}}`))
	f.Add([]byte(`{"model":{"type":"BPE","unk_token":"a","vocab":{"a":0},"merges":[["a","a"]]},"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"}]}}`))
	f.Add([]byte(llamaJSON(`{"type":"BPE","byte_fallback":true,"fuse_unk":true,"unk_token":"<unk>","vocab":{"<unk>":0,"<s>":1,"</s>":2,"▁":3,"a":4,"▁a":5,"<0x61>":6},"merges":["▁ a"]}`)))
	f.Add([]byte(jsonWith(map[string]string{"pre_tokenizer": `{"type":"Sequence","pretokenizers":[{"type":"Punctuation","behavior":"Contiguous"},{"type":"ByteLevel"},{"type":"Digits"},{"type":"Split","pattern":{"Regex":"[0-9][0-9][0-9]"},"behavior":"Isolated"}]}`})))
	f.Add([]byte(jsonWith(map[string]string{"pre_tokenizer": `{"type":"Metaspace","replacement":"▁"}`, "decoder": `{"type":"Metaspace","replacement":"▁"}`})))
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := parseJSON(data, config{}); err == nil {
			use(t, tok)
		}
	})
}

func FuzzSentencePiece(f *testing.F) {
	_, data := loadStories(f)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add(appendSpecs(appendPiece(appendPiece(nil, "<unk>", 0, pieceUnknown), "ab", 1, pieceNormal), false, true, true))
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := parseSentencePiece(data, config{}); err == nil {
			use(t, tok)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	tok, err := LoadFile("testdata/bytelevel.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("Hello world")
	f.Add("it's 12345\r\n\r\n  é漢\U0001f600\x00")
	f.Fuzz(func(t *testing.T, text string) {
		for _, special := range []string{"<|begin|>", "<|end|>", "<mask>", "<sep>"} {
			if !utf8.ValidString(text) || strings.Contains(text, special) {
				t.Skip("not valid UTF-8, or holds a special token, which Decode leaves out")
			}
		}
		if back, err := tok.Decode(tok.Encode(text, false)); err != nil || back != text {
			t.Fatalf("%q came back as %q (%v)", text, back, err)
		}
	})
}

func FuzzConfig(f *testing.F) {
	_, model := loadStories(f)
	f.Add([]byte(`{"tokenizer_class":"LlamaTokenizer","legacy":false,"add_bos_token":true,"bos_token":{"content":"<s>"},"added_tokens_decoder":{"512":{"content":"<x>","special":true}}}`))
	f.Add([]byte(`{"tokenizer_class":"ChatGLMTokenizer","eos_token":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var cfg config
		if json.Unmarshal(data, &cfg) != nil {
			return
		}
		if tok, err := parseSentencePiece(model, cfg); err == nil {
			use(t, tok)
		}
	})
}
