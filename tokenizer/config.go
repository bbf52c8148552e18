package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// config is what tokenizer_config.json says, and the files beside it; the zero value says nothing.
type config struct {
	Class        string                `json:"tokenizer_class"`
	Map          map[string]any        `json:"auto_map"` // code of the checkpoint's own
	AddBOS       *bool                 `json:"add_bos_token"`
	AddEOS       *bool                 `json:"add_eos_token"`
	Prefix       *bool                 `json:"add_prefix_space"`
	Legacy       *bool                 `json:"legacy"` // Llama's: every text after a special token begins with a space
	Added        map[string]addedToken `json:"added_tokens_decoder"`
	specialNames `json:"-"`            // of the same file, read for themselves: errors would call them by the name of this field

	modelType string         // of config.json, where no class is named
	listed    map[string]int // added_tokens.json; nil where added_tokens_decoder takes its place
	roles     bool           // the code of a ChatGLM has role tokens
}

// specialNames are the special tokens by their part; special_tokens_map.json has them too.
type specialNames struct {
	BOS   tokenName `json:"bos_token"`
	EOS   tokenName `json:"eos_token"`
	Unk   tokenName `json:"unk_token"`
	Sep   tokenName `json:"sep_token"`
	Pad   tokenName `json:"pad_token"`
	Cls   tokenName `json:"cls_token"`
	Mask  tokenName `json:"mask_token"`
	More  nameList  `json:"additional_special_tokens"`
	Extra nameList  `json:"extra_special_tokens"`
}

// list has the names that are set, in transformers' order.
func (n *specialNames) list() []tokenName {
	all := []tokenName{n.BOS, n.EOS, n.Unk, n.Sep, n.Pad, n.Cls, n.Mask}
	all = slices.Concat(all, n.More, n.Extra)
	return slices.DeleteFunc(all, func(t tokenName) bool { return t.token.Content == "" })
}

// take lets other names win over these.
func (n *specialNames) take(other *specialNames) {
	from := []tokenName{other.BOS, other.EOS, other.Unk, other.Sep, other.Pad, other.Cls, other.Mask}
	for i, to := range []*tokenName{&n.BOS, &n.EOS, &n.Unk, &n.Sep, &n.Pad, &n.Cls, &n.Mask} {
		if from[i].set {
			*to = from[i]
		}
	}
	n.More, n.Extra = slices.Concat(n.More, other.More), slices.Concat(n.Extra, other.Extra)
}

// tokenName is a token given as a string, as an object with the string in content, or as null for "none".
type tokenName struct {
	set   bool
	token addedToken
}

func (n *tokenName) UnmarshalJSON(data []byte) error {
	n.set = true
	switch {
	case bytes.Equal(data, []byte("null")), bytes.Equal(data, []byte("false")):
		return nil
	case data[0] == '{':
		return json.Unmarshal(data, &n.token)
	}
	return json.Unmarshal(data, &n.token.Content)
}

// nameList is a list of tokens, or an object whose values they are.
type nameList []tokenName

func (l *nameList) UnmarshalJSON(data []byte) error {
	if data[0] != '{' {
		return json.Unmarshal(data, (*[]tokenName)(l))
	}
	var parts map[string]tokenName
	err := json.Unmarshal(data, &parts)
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		*l = append(*l, parts[part])
	}
	return err
}

// around is what a tokenizer class puts around a text by itself.
type around struct {
	bos, eos string // the tokens, unless the configuration names others
	add      bool   // BOS, unless the configuration says otherwise
}

// around reports what the class does, and false for a class that leaves it to the post_processor.
func (c *config) around() (around, bool) {
	switch c.Class {
	case "LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizer", "CodeLlamaTokenizerFast":
		return around{"<s>", "</s>", true}, true
	case "GemmaTokenizer", "GemmaTokenizerFast":
		return around{"<bos>", "<eos>", true}, true
	case "CohereTokenizer", "CohereTokenizerFast":
		return around{"<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", true}, true
	case "GPTNeoXTokenizer", "GPTNeoXTokenizerFast":
		return around{"<|endoftext|>", "<|endoftext|>", false}, true
	}
	return around{}, false
}

func named(text string) tokenName { return tokenName{true, addedToken{Content: text}} }

// name resolves a token the configuration names; fallback is used where it says nothing.
func (t *Tokenizer) name(n tokenName, fallback int) int {
	if !n.set {
		return fallback
	}
	if n.token.Content == "" {
		return -1
	}
	id, ok := t.lookup(n.token.Content)
	if !ok {
		return -1
	}
	return id
}

// surround sets what comes around a text from the configuration; addBOS is its default.
func (t *Tokenizer) surround(cfg config, addBOS bool) error {
	addEOS := false
	if cfg.AddBOS != nil {
		addBOS = *cfg.AddBOS
	}
	if cfg.AddEOS != nil {
		addEOS = *cfg.AddEOS
	}
	t.post = template{}
	if addBOS {
		if t.bos < 0 {
			return fmt.Errorf("%s asks for a BOS token %q that the vocabulary lacks: correct bos_token or set add_bos_token to false", configName, cfg.BOS.token.Content)
		}
		t.post.before = []int{t.bos}
	}
	if addEOS {
		if t.eos < 0 {
			return fmt.Errorf("%s asks for an EOS token %q that the vocabulary lacks: correct eos_token or set add_eos_token to false", configName, cfg.EOS.token.Content)
		}
		t.post.after = []int{t.eos}
	}
	return nil
}

// jsonSpecials decides BOS and EOS: the configuration's word, else its class's, else the template's first and
// last token, else the names published tokenizers use.
func (t *Tokenizer) jsonSpecials(cfg config, added []addedToken) error {
	for _, id := range slices.Concat(t.post.before, t.post.after) {
		if id < 0 || id >= len(t.tokens) || !t.known[id] {
			return fmt.Errorf("post_processor: id %d names no token: correct it or get the file again", id)
		}
	}
	bos := special(added, "<|begin_of_text|>", "<s>", "<bos>", "<|startoftext|>", "[BOS]")
	eos := special(added, "<|end_of_text|>", "</s>", "<eos>", "<|endoftext|>", "[EOS]")
	class, byClass := cfg.around()
	if byClass {
		bos = t.name(named(class.bos), bos)
		eos = t.name(named(class.eos), eos)
	}
	if n := len(t.post.before); n > 0 {
		bos = t.post.before[0]
	}
	if n := len(t.post.after); n > 0 {
		eos = t.post.after[n-1]
	}
	t.bos, t.eos = t.name(cfg.BOS, bos), t.name(cfg.EOS, eos)
	if byClass {
		return t.surround(cfg, class.add)
	}
	return nil
}

// special is the id of the first of names that is a special token, or -1.
func special(added []addedToken, names ...string) int {
	for _, name := range names {
		for _, tok := range added {
			if tok.Special && tok.Content == name {
				return tok.ID
			}
		}
	}
	return -1
}
