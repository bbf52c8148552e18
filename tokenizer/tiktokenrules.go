package tokenizer

import (
	"fmt"

	"golang.org/x/text/unicode/norm"
)

// tiktokenRules are what the code beside a tiktoken file says.
type tiktokenRules struct {
	next      func(c *classes, text string) int // the pattern
	normalize normalizer
	// specials are the tokens after a vocabulary of size ids where the configuration names none; nil: none.
	specials func(size int) []string
	ends     []string // end an answer
	before   []string // stand before a text, where there are such tokens
	eos      string
}

// modelRules are those of a tokenizer.model: ChatGLM's, where the class says so, and else Llama 3's, whose pattern
// transformers too takes for such a file.
func modelRules(cfg config) (tiktokenRules, error) {
	switch {
	case cfg.Class == chatGLM4, cfg.Class == chatGLM:
		return tiktokenRules{
			next: nextLlama3, ends: []string{roleUser, "<|observation|>"},
			before: []string{gMask, "<" + sop + ">"}, eos: "<|endoftext|>",
		}, nil
	case len(cfg.Map) > 0:
		return tiktokenRules{}, unsupported("tiktoken vocabulary", fmt.Sprintf("with code of its own (tokenizer_class %q)", cfg.Class), "Llama 3's", chatGLM4)
	}
	return tiktokenRules{
		next: nextLlama3, specials: llama3Specials, ends: []string{"<|eot_id|>"},
		before: []string{"<|begin_of_text|>"}, eos: "<|end_of_text|>",
	}, nil
}

// qwenRules are those of a qwen.tiktoken.
func qwenRules() tiktokenRules {
	return tiktokenRules{
		next: nextQwen2, normalize: unicodeForm(norm.NFC), specials: qwenSpecials,
		ends: []string{"<|im_end|>"}, eos: "<|endoftext|>",
	}
}

// llama3Specials follow the 128000 tokens of Llama 3's file, in the order of the code published with it.
func llama3Specials(size int) []string {
	if size != 128000 {
		return nil
	}
	all := []string{"<|begin_of_text|>", "<|end_of_text|>"}
	next := 0
	reserved := func(n int) {
		for range n {
			all = append(all, fmt.Sprintf("<|reserved_special_token_%d|>", next))
			next++
		}
	}
	reserved(4)
	all = append(all, "<|start_header_id|>", "<|end_header_id|>")
	reserved(1)
	all = append(all, "<|eot_id|>")
	reserved(256 - len(all))
	return all
}

func qwenSpecials(int) []string {
	all := []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}
	for i := range 205 {
		all = append(all, fmt.Sprintf("<|extra_%d|>", i))
	}
	return all
}

// added are the special tokens, those of the configuration before those of the code.
func (r *tiktokenRules) added(cfg config, size int) ([]addedToken, error) {
	var own []addedToken
	if r.specials != nil && cfg.Added == nil && len(cfg.listed) == 0 {
		for i, text := range r.specials(size) {
			own = append(own, addedToken{ID: size + i, Content: text, Special: true})
		}
	}
	return cfg.extend(own, size, func(string) (int, bool) { return -1, false })
}

// around decides BOS, EOS and what comes before a text.
func (r *tiktokenRules) around(t *Tokenizer, cfg config) error {
	for _, text := range r.before {
		if id, ok := t.lookup(text); ok {
			t.post.before = append(t.post.before, id)
		}
	}
	for _, text := range r.ends {
		if id, ok := t.lookup(text); ok {
			t.turnEnds = append(t.turnEnds, id)
		}
	}
	t.bos = -1
	if len(r.before) == 1 && len(t.post.before) == 1 {
		t.bos = t.post.before[0]
	}
	t.bos, t.eos = t.name(cfg.BOS, t.bos), t.name(cfg.EOS, t.name(named(r.eos), -1))
	if cfg.AddBOS != nil || cfg.AddEOS != nil {
		return t.surround(cfg, len(t.post.before) > 0)
	}
	return nil
}
