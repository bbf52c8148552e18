package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
)

// config is what tokenizer_config.json says; the zero value says nothing.
type config struct {
	Class  string                `json:"tokenizer_class"`
	AddBOS *bool                 `json:"add_bos_token"`
	AddEOS *bool                 `json:"add_eos_token"`
	BOS    tokenName             `json:"bos_token"`
	EOS    tokenName             `json:"eos_token"`
	Legacy *bool                 `json:"legacy"` // Llama's: every text after a special token begins with a space
	Added  map[string]addedToken `json:"added_tokens_decoder"`
}

// tokenName is a token given as a string, as an object with the string in content, or as null for "none".
type tokenName struct {
	set  bool
	text string
}

func (n *tokenName) UnmarshalJSON(data []byte) error {
	n.set = true
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	if data[0] != '{' {
		return json.Unmarshal(data, &n.text)
	}
	var object struct {
		Content string `json:"content"`
	}
	err := json.Unmarshal(data, &object)
	n.text = object.Content
	return err
}

const chatGLM = "ChatGLMTokenizer"

// loadConfig reads tokenizer_config.json; the class it does not name is taken from the model_type of ChatGLM's
// config.json, the one family whose tokenizer.model does not say what comes before a text.
func loadConfig(dir string) (config, error) {
	var cfg config
	path := filepath.Join(dir, configName)
	data, err := readFile(path)
	if err == nil {
		if err := json.Unmarshal(data, &cfg); err != nil {
			return cfg, &FormatError{path, fmt.Errorf("not a tokenizer configuration: %w; copy the file again or remove it", err)}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return cfg, err
	}
	if cfg.Class == "" {
		var model struct {
			Type string `json:"model_type"`
		}
		data, err := readFile(filepath.Join(dir, checkpoint))
		if err == nil && json.Unmarshal(data, &model) == nil && model.Type == "chatglm" {
			cfg.Class = chatGLM
		}
	}
	return cfg, nil
}

// merge lets added_tokens_decoder add to the added tokens of a tokenizer.json; as in transformers its options
// for a token win.
func (c *config) merge(added []addedToken) ([]addedToken, error) {
	more, err := c.added()
	if err != nil {
		return nil, err
	}
	added = slices.Clone(added)
	for _, tok := range more {
		at := slices.IndexFunc(added, func(have addedToken) bool { return have.Content == tok.Content })
		if at < 0 {
			added = append(added, tok)
			continue
		}
		if added[at].ID != tok.ID {
			return nil, fmt.Errorf("%s: token %q has id %d, but %d in %s: copy both files from the same checkpoint", configName, tok.Content, tok.ID, added[at].ID, jsonName)
		}
		added[at] = tok
	}
	return added, nil
}

// added lists added_tokens_decoder by id.
func (c *config) added() ([]addedToken, error) {
	var all []addedToken
	for key, tok := range c.Added {
		id, err := strconv.Atoi(key)
		if err != nil || id < 0 || id > maxID {
			return nil, fmt.Errorf("%s: added_tokens_decoder: %q is no token id: correct it or copy the file again", configName, key)
		}
		if tok.Content == "" {
			return nil, fmt.Errorf("%s: added_tokens_decoder: token %d has no content: correct it or copy the file again", configName, id)
		}
		tok.ID = id
		all = append(all, tok)
	}
	slices.SortFunc(all, func(a, b addedToken) int { return a.ID - b.ID })
	return all, nil
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

// name resolves a token the configuration names; fallback is used where it says nothing.
func (t *Tokenizer) name(n tokenName, fallback int) int {
	if !n.set {
		return fallback
	}
	if n.text == "" {
		return -1
	}
	id, ok := t.lookup(n.text)
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
			return fmt.Errorf("%s asks for a BOS token %q that the vocabulary lacks: correct bos_token or set add_bos_token to false", configName, cfg.BOS.text)
		}
		t.post.before = []int{t.bos}
	}
	if addEOS {
		if t.eos < 0 {
			return fmt.Errorf("%s asks for an EOS token %q that the vocabulary lacks: correct eos_token or set add_eos_token to false", configName, cfg.EOS.text)
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
			return fmt.Errorf("post_processor: id %d names no token: correct it or download the file again", id)
		}
	}
	bos := special(added, "<|begin_of_text|>", "<s>", "<bos>", "<|startoftext|>", "[BOS]")
	eos := special(added, "<|end_of_text|>", "</s>", "<eos>", "<|endoftext|>", "[EOS]")
	class, byClass := cfg.around()
	if byClass {
		bos = t.name(tokenName{true, class.bos}, bos)
		eos = t.name(tokenName{true, class.eos}, eos)
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
