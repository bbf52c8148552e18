package model

// qwen2 covers Qwen1.5, Qwen2 and Qwen2.5: Llama with biases on queries, keys
// and values, and windows that are off unless use_sliding_window is set, and
// then on from layer max_window_layers upwards.
// Source: transformers' modeling_qwen2.py and configuration_qwen2.py.
func qwen2() *family {
	return &family{
		name:          "qwen2",
		architectures: []string{"Qwen2ForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseQwen2,
		top:           decoderTop,
		layer:         decoderLayer,
		byIndex:       qwenByIndex,
		notes:         windowNote,
		gguf:          &GGUF{Name: "qwen2", Biases: []Role{QueryBias, KeyBias, ValueBias}, SquareQuery: true, Keys: []string{"rope.freq_base"}, Notes: windowNote},
		refused: map[string]string{
			"QWenLMHeadModel":                    "the first Qwen has a layout of its own; Qwen1.5 and later are supported",
			"Qwen2MoeForCausalLM":                "it is a mixture of experts",
			"Qwen2VLForConditionalGeneration":    "it is multimodal",
			"Qwen2_5_VLForConditionalGeneration": "it is multimodal",
			"Qwen2AudioForConditionalGeneration": "it is multimodal",
		},
	}
}

func parseQwen2(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 32768, kvHeads: 32})
	s.AttnBias = true
	s.Windows = c.qwenWindows(s.Layers)
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	return s
}

// maxWindowLayers is the default of max_window_layers.
const maxWindowLayers = 28

// qwenWindows are Qwen2's and Qwen3's: sliding_window means nothing without
// use_sliding_window.
func (c *config) qwenWindows(layers int) []int {
	window := 0
	if c.boolOr("use_sliding_window", false) {
		window = c.window("sliding_window", 4096)
	}
	first := maxWindowLayers
	if c.has("max_window_layers") {
		var ok bool
		if first, ok = integer(c.keys["max_window_layers"]); !ok || first < 0 {
			c.problem("max_window_layers = %s: want a layer index", abridged(c.keys["max_window_layers"]))
		}
	}
	return c.windows(layers, window, func(i int) bool { return i >= first })
}

// qwenByIndex writes the first sliding layer where the original leaves it to
// the default. Rewriting the key is enough otherwise.
func qwenByIndex(s *Spec, keep []int) []configKey {
	if s.Windows == nil {
		return nil
	}
	below := 0
	for _, l := range keep {
		if l < maxWindowLayers {
			below++
		}
	}
	return []configKey{{"max_window_layers", below}}
}
