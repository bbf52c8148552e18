package model

import (
	"encoding/json"
	"strings"
)

// gemma3Wrapped covers the text model inside Gemma 3's multimodal wrapper, as 4B, 12B
// and 27B are published: its config is the wrapper's text_config, its tensors have
// the wrapper's names. What sees images is no part of it and is left alone.
// Source: transformers' modeling_gemma3.py and configuration_gemma3.py.
func gemma3Wrapped() *family {
	f := gemma3()
	f.name, f.architectures, f.refused = "gemma3", []string{"Gemma3ForConditionalGeneration"}, nil
	f.layerPrefix = "language_model.model.layers."
	f.parse = parseGemma3Wrapped
	f.top = renamedTop("language_model.model.", "language_model.lm_head.weight")
	f.inside = "text_config"
	f.renamed = func() *family { // by transformers from 4.52 on, in memory and in some files
		g := gemma3Wrapped()
		g.layerPrefix, g.top, g.renamed = "model.language_model.layers.", renamedTop("model.language_model.", "lm_head.weight"), nil
		return g
	}
	return f
}

// renamedTop is decoderTop under other names.
func renamedTop(prefix, head string) func(*Spec) []Weight {
	return func(s *Spec) []Weight {
		ws := decoderTop(s)
		for i := range ws {
			if ws[i].Name = prefix + strings.TrimPrefix(ws[i].Name, "model."); ws[i].Role == LMHead {
				ws[i].Name = head
			}
		}
		return ws
	}
}

func parseGemma3Wrapped(c *config) *Spec {
	text := &config{name: c.name, keys: map[string]json.RawMessage{}}
	if !c.has("text_config") {
		c.problem("text_config is missing")
	} else if keys, err := keysOf(c.keys["text_config"]); err != nil {
		c.problem("text_config = %s: want an object in braces", abridged(c.keys["text_config"]))
	} else {
		text.keys = keys
	}
	// The text model's class has defaults for all that the published files leave out.
	for key, def := range map[string]string{
		"hidden_size": "2304", "intermediate_size": "9216", "num_hidden_layers": "26", "num_attention_heads": "8", "vocab_size": "262208",
	} {
		if !text.has(key) {
			text.keys[key] = json.RawMessage(def)
		}
	}
	if c.has("tie_word_embeddings") { // which transformers 5 goes by, and older ones by the text model's
		text.keys["tie_word_embeddings"] = c.keys["tie_word_embeddings"]
	}
	s := parseGemma3(text)
	for key, def := range map[string]string{"bos_token_id": "2", "eos_token_id": "1"} {
		switch {
		case c.has(key):
		case text.has(key):
			c.keys[key] = text.keys[key]
		default:
			c.keys[key] = json.RawMessage(def)
		}
	}
	c.problems, c.unknown = append(c.problems, text.problems...), append(c.unknown, text.unknown...)
	return s
}
