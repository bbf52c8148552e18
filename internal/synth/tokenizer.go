package synth

// The tokenizer: one token a byte, a few merges, two specials. Ids 0 to 255
// are the bytes in the order of GPT-2's alphabet.
const (
	byteTokens    = 256
	specialTokens = 2
	bosText       = "<|begin_of_text|>"
	eosText       = "<|end_of_text|>"
)

// merges joins pairs of tokens, in order of priority; Ġ is a space.
func merges() [][2]string {
	return [][2]string{
		{"Ġ", "t"}, {"h", "e"}, {"Ġ", "a"}, {"i", "n"}, {"Ġt", "he"}, {"e", "r"}, {"Ġ", "s"},
		{"o", "n"}, {"r", "e"}, {"a", "t"}, {"n", "d"}, {"Ġ", "w"}, {"Ġa", "nd"}, {"in", "g"},
	}
}

// merges returns as many merges as the vocabulary has room for.
func (o Options) merges() [][2]string {
	all := merges()
	return all[:min(len(all), o.Vocab-byteTokens-specialTokens)]
}

// alphabet lists GPT-2's printable stand-ins for the bytes: first the bytes
// that print, which stand for themselves, then the others from U+0100 on.
func alphabet() []string {
	var out []string
	for b := range 256 {
		if prints(b) {
			out = append(out, string(rune(b)))
		}
	}
	for i := range 256 - len(out) {
		out = append(out, string(rune(256+i)))
	}
	return out
}

func prints(b int) bool {
	return '!' <= b && b <= '~' || 0xa1 <= b && b <= 0xac || 0xae <= b && b <= 0xff
}

// tokenizer returns tokenizer.json.
func (o Options) tokenizer() ([]byte, error) {
	type object = map[string]any
	vocab := map[string]int{}
	for i, s := range alphabet() {
		vocab[s] = i
	}
	pairs := []string{}
	for _, m := range o.merges() {
		vocab[m[0]+m[1]] = len(vocab)
		pairs = append(pairs, m[0]+" "+m[1])
	}
	bos, eos := o.specials()
	added := func(id int, text string) object {
		return object{"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}
	}
	special := func(text string, kind int) object {
		return object{"SpecialToken": object{"id": text, "type_id": kind}}
	}
	sequence := func(id string, kind int) object {
		return object{"Sequence": object{"id": id, "type_id": kind}}
	}
	byteLevel := object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	return encode(object{
		"version":       "1.0",
		"truncation":    nil,
		"padding":       nil,
		"added_tokens":  []object{added(bos, bosText), added(eos, eosText)},
		"normalizer":    nil,
		"pre_tokenizer": byteLevel,
		"post_processor": object{
			"type":           "TemplateProcessing",
			"single":         []object{special(bosText, 0), sequence("A", 0)},
			"pair":           []object{special(bosText, 0), sequence("A", 0), special(bosText, 1), sequence("B", 1)},
			"special_tokens": object{bosText: object{"id": bosText, "ids": []int{bos}, "tokens": []string{bosText}}},
		},
		"decoder": byteLevel,
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocab, "merges": pairs,
		},
	})
}

// tokenizerConfig returns tokenizer_config.json.
func (o Options) tokenizerConfig() ([]byte, error) {
	return encode(map[string]any{
		"add_bos_token":                true,
		"bos_token":                    bosText,
		"clean_up_tokenization_spaces": false,
		"eos_token":                    eosText,
		"model_max_length":             o.MaxPositions,
		"tokenizer_class":              "PreTrainedTokenizerFast",
	})
}
