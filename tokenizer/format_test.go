package tokenizer

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// jsonWith is a whole tokenizer.json; parts replace its sections.
func jsonWith(parts map[string]string) string {
	sections := map[string]string{
		"added_tokens":  `[]`,
		"pre_tokenizer": `{"type":"ByteLevel"}`,
		"decoder":       `{"type":"ByteLevel"}`,
		"model":         `{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}`,
	}
	for name, text := range parts {
		sections[name] = text
	}
	var all []string
	for name, text := range sections {
		all = append(all, `"`+name+`":`+text)
	}
	return "{" + strings.Join(all, ",") + "}"
}

// TestNoDecoder: without a decoder tokens are read as they are spelled, a space
// between, as in Hugging Face's library; encoding does not mind.
func TestNoDecoder(t *testing.T) {
	for _, tt := range []struct{ name, pre, decoder string }{
		{"bytes", `{"type":"ByteLevel","add_prefix_space":false}`, `null`},
		{"characters", `null`, `null`},
	} {
		tok, err := parseJSON([]byte(jsonWith(map[string]string{
			"pre_tokenizer": tt.pre, "decoder": tt.decoder,
			"model":        `{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"Ġ":3},"merges":["a b"]}`,
			"added_tokens": `[{"id":4,"content":"<end>","special":true},{"id":5,"content":"<say it>"}]`,
		})), config{})
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := tok.Encode("aba<end>", false); !slices.Equal(got, []int{2, 0, 4}) {
			t.Errorf("%s: ids %v", tt.name, got)
		}
		const want = "ab Ġ a <say it>"
		if got, err := tok.Decode([]int{2, 3, 0, 4, 5}); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, want)
		}
		s, streamed := tok.Stream(), ""
		for _, id := range []int{2, 3, 0, 4, 5} {
			text, err := s.Next(id)
			if err != nil {
				t.Fatal(err)
			}
			streamed += text
		}
		if streamed += s.Flush(); streamed != want {
			t.Errorf("%s, streamed: %q", tt.name, streamed)
		}
	}
}

func TestJSONErrors(t *testing.T) {
	tests := []struct {
		name, section, text, message string
		unsupported                  bool
	}{
		{"model", "model", `{"type":"WordPiece"}`, `model "WordPiece"`, true},
		{"byte fallback after ByteLevel", "model", `{"type":"BPE","byte_fallback":true,"vocab":{},"merges":[]}`, "byte_fallback", true},
		{"prefix", "model", `{"type":"BPE","continuing_subword_prefix":"##"}`, "continuing_subword_prefix", true},
		{"suffix", "model", `{"type":"BPE","end_of_word_suffix":"</w>"}`, "end_of_word_suffix", true},
		{"dropout", "model", `{"type":"BPE","dropout":0.1}`, "dropout", true},
		{"normalizer", "normalizer", `{"type":"BertNormalizer"}`, "normalizer BertNormalizer", true},
		{"inner normalizer", "normalizer", `{"type":"Sequence","normalizers":[{"type":"Precompiled"}]}`, "normalizer Precompiled", true},
		{"pre-tokenizer", "pre_tokenizer", `{"type":"UnicodeScripts"}`, `pre_tokenizer "UnicodeScripts"`, true},
		{"metaspace without replacement", "pre_tokenizer", `{"type":"Metaspace"}`, "no replacement", false},
		{"metaspace scheme", "pre_tokenizer", `{"type":"Metaspace","replacement":"_","prepend_scheme":"last"}`, `prepend_scheme "last"`, true},
		{"ByteLevel decoder alone", "pre_tokenizer", `null`, `decoder "ByteLevel"`, true},
		{"ByteLevel twice", "pre_tokenizer", `{"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"ByteLevel"}]}`, "ByteLevel twice", true},
		{"split behavior", "pre_tokenizer", `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":" "},"behavior":"Dropped"},{"type":"ByteLevel"}]}`, `behavior "Dropped"`, true},
		{"split without pattern", "pre_tokenizer", `{"type":"Split","behavior":"Isolated"}`, "no pattern", false},
		{"split pattern", "pre_tokenizer", `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"},{"type":"ByteLevel"}]}`, `pattern "("`, true},
		{"post-processor", "post_processor", `{"type":"PairProcessing"}`, "post_processor PairProcessing", true},
		{"post-processor id", "post_processor", `{"type":"RobertaProcessing","cls":["a",0],"sep":["x",9]}`, "id 9 names no token", false},
		{"template token", "post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},{"Sequence":{"id":"A"}}]}`, `token "x"`, false},
		{"template id", "post_processor", `{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},{"Sequence":{"id":"A"}}],"special_tokens":{"x":{"ids":[7]}}}`, "id 7 names no token", false},
		{"template without text", "post_processor", `{"type":"TemplateProcessing","single":[]}`, "exactly once", false},
		{"decoder", "decoder", `{"type":"WordPiece"}`, `decoder "WordPiece"`, true},
		{"vocab is a list", "model", `{"type":"BPE","vocab":[],"merges":[]}`, "vocab is not an object", false},
		{"id is a string", "model", `{"type":"BPE","vocab":{"a":"0"},"merges":[]}`, `token "a"`, false},
		{"absurd id", "model", `{"type":"BPE","vocab":{"a":99999999999999999999},"merges":[]}`, `token "a"`, false},
		{"negative id", "model", `{"type":"BPE","vocab":{"a":-1},"merges":[]}`, `token "a"`, false},
		{"fractional id", "model", `{"type":"BPE","vocab":{"a":1.5},"merges":[]}`, `token "a"`, false},
		{"shared id", "model", `{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}`, "share id 0", false},
		{"long token", "model", `{"type":"BPE","vocab":{"` + strings.Repeat("a", 5000) + `":0},"merges":[]}`, "5000 bytes", false},
		{"merge of one", "model", `{"type":"BPE","vocab":{"a":0},"merges":["a"]}`, "merge 0", false},
		{"merge of three", "model", `{"type":"BPE","vocab":{"a":0},"merges":["a a a"]}`, "merge 0", false},
		{"merge not in vocab", "model", `{"type":"BPE","vocab":{"a":0},"merges":[["a","a"]]}`, "not in the vocabulary", false},
		{"merge list of three", "model", `{"type":"BPE","vocab":{"a":0},"merges":[["a","a","a"]]}`, "list of two", false},
		{"merges missing", "model", `{"type":"BPE","vocab":{"a":0}}`, "merges is not a list", false},
		{"unk", "model", `{"type":"BPE","unk_token":"?","vocab":{"a":0},"merges":[]}`, `unk_token "?"`, false},
		{"added id taken", "added_tokens", `[{"id":1,"content":"x"}]`, `added token "x" has the id 1 of "b"`, false},
		{"added token twice", "added_tokens", `[{"id":9,"content":"a"}]`, "has id 9, but 0", false},
		{"added id absurd", "added_tokens", `[{"id":999999999,"content":"x"}]`, "id 999999999", false},
		{"added empty", "added_tokens", `[{"id":3,"content":""}]`, "without content", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseJSON([]byte(jsonWith(map[string]string{tt.section: tt.text})), config{})
			if err == nil || !strings.Contains(err.Error(), tt.message) || errors.Is(err, ErrUnsupported) != tt.unsupported {
				t.Errorf("error %v; want %q, unsupported %v", err, tt.message, tt.unsupported)
			}
		})
	}
}

func TestJSONForms(t *testing.T) {
	tests := []struct {
		name  string
		parts map[string]string
		text  string
		want  []int
	}{
		{"string merges", nil, "ab", []int{2}},
		{"pair merges", map[string]string{"model": `{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}`}, "ab", []int{2}},
		{"version line", map[string]string{"model": `{"vocab":{"a":0,"b":1,"ab":2},"merges":["#version: 0.2","a b"]}`}, "ab", []int{2}},
		{"escaped strings", map[string]string{"model": `{"type":"BPE","vocab":{"\u0061":0,"\"":1,"a\"":2},"merges":["a \""]}`}, `xa"`, []int{0, 1}},
		{"missing bytes vanish", nil, "axb", []int{2}},
		{"unknown token", map[string]string{"model": `{"type":"BPE","unk_token":"?","vocab":{"a":0,"b":1,"?":2},"merges":[]}`}, "axx", []int{0, 2, 2}},
		{"fused unknown", map[string]string{"model": `{"type":"BPE","unk_token":"?","fuse_unk":true,"vocab":{"a":0,"b":1,"?":2},"merges":[]}`}, "axxa", []int{0, 2, 0}},
		{"prefix space", map[string]string{"pre_tokenizer": `{"type":"ByteLevel","add_prefix_space":true}`, "model": `{"type":"BPE","vocab":{"a":0,"Ġ":1},"merges":[]}`}, "a", []int{1, 0}},
		{"no regex", map[string]string{"pre_tokenizer": `{"type":"ByteLevel","use_regex":false}`, "model": `{"type":"BPE","vocab":{"a":0,"Ġ":1,"aĠ":2},"merges":["a Ġ"]}`}, "a a", []int{2, 0}},
		{"other pattern", map[string]string{"pre_tokenizer": `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"a"},"behavior":"Isolated"},{"type":"ByteLevel","use_regex":false}]}`}, "ab", []int{0, 1}},
		{"string pattern", map[string]string{"pre_tokenizer": `{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"String":"b"},"behavior":"Isolated"},{"type":"ByteLevel","use_regex":false}]}`}, "ab", []int{0, 1}},
		{"token in normalised text", map[string]string{"normalizer": `{"type":"NFC"}`, "added_tokens": `[{"id":3,"content":"é","normalized":true}]`}, "ae\u0301b", []int{0, 3, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tok, err := parseJSON([]byte(jsonWith(tt.parts)), config{})
			if err != nil {
				t.Fatal(err)
			}
			if got := tok.Encode(tt.text, true); !slices.Equal(got, tt.want) {
				t.Errorf("Encode(%q) = %v, want %v", tt.text, got, tt.want)
			}
		})
	}
}

func TestSentencePieceErrors(t *testing.T) {
	unk := appendPiece(nil, "<unk>", 0, pieceUnknown)
	bpe := func(pieces []byte) []byte { return appendSpecs(pieces, false, true, false) }
	section := func(number protowire.Number, body []byte) []byte {
		data := protowire.AppendTag(append([]byte(nil), bpe(unk)...), number, protowire.BytesType)
		return protowire.AppendBytes(data, body)
	}
	flag := func(number protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), v)
	}
	charsmap := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "nmt_nfkc")
	charsmap = protowire.AppendString(protowire.AppendTag(charsmap, 2, protowire.BytesType), "xxxx")
	tests := []struct {
		name        string
		data        []byte
		message     string
		unsupported bool
	}{
		{"empty", nil, "no pieces", false},
		{"garbage", []byte("version https://git-lfs.github.com/spec/v1"), "not a SentencePiece model", false},
		{"absurd length", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f}, "offset 0", false},
		{"unigram", unk, "model type unigram", true},
		{"word", section(2, flag(3, 3)), "model type word", true},
		{"another type", section(2, flag(3, 9)), "model type number 9", true},
		{"charsmap", section(3, charsmap), `normaliser "nmt_nfkc"`, true},
		{"suffix", section(2, flag(24, 1)), "treat_whitespace_as_suffix", true},
		{"unused", bpe(appendPiece(unk, "a", 0, pieceUnused)), "piece type UNUSED", true},
		{"unknown piece type", bpe(appendPiece(unk, "a", 0, 17)), "piece type 17", true},
		{"no unknown", bpe(appendPiece(nil, "a", 0, pieceNormal)), "UNKNOWN", false},
		{"two unknown", bpe(appendPiece(unk, "a", 0, pieceUnknown)), "second piece", false},
		{"twice", bpe(appendPiece(unk, "<unk>", 0, pieceNormal)), "same text as piece 0", false},
		{"empty piece", bpe(appendPiece(unk, "", 0, pieceNormal)), "empty piece", false},
		{"long piece", bpe(appendPiece(unk, strings.Repeat("a", 5000), 0, pieceNormal)), "5000 bytes", false},
		{"bytes without fallback", bpe(appendPiece(unk, "<0x00>", 0, pieceByte)), "byte_fallback is off", false},
		{"fallback without bytes", appendSpecs(unk, true, true, false), "256 byte pieces", false},
		{"not a byte", appendSpecs(appendPiece(unk, "<0xG0>", 0, pieceByte), true, true, false), "not a byte piece", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseSentencePiece(tt.data, config{})
			if err == nil || !strings.Contains(err.Error(), tt.message) || errors.Is(err, ErrUnsupported) != tt.unsupported {
				t.Errorf("error %v; want %q, unsupported %v", err, tt.message, tt.unsupported)
			}
		})
	}
}
