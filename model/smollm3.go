package model

import "fmt"

// smollm3 covers SmolLM3: Llama with every fourth layer without rotary embeddings,
// and windows, where use_sliding_window is set, in the layers without.
// Source: transformers' modeling_smollm3.py and configuration_smollm3.py.
func smollm3() *family {
	return &family{
		name:          "smollm3",
		architectures: []string{"SmolLM3ForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseSmolLM3,
		top:           decoderTop,
		layer:         decoderLayer,
		byIndex:       smollm3ByIndex,
		notes:         smollm3Notes,
		gguf: &GGUF{
			Name: "smollm3", Pairs: true, Biases: []Role{QueryBias, KeyBias, ValueBias}, Instead: smollm3Instead,
			Keys:   []string{"rope.freq_base", "rope.dimension_count", "vocab_size"},
			Slides: func(_ *Spec, r Rope) bool { return r.Dim == 0 },
		},
		refused: map[string]string{
			"SmolVLMForConditionalGeneration":  "it is multimodal",
			"Idefics3ForConditionalGeneration": "it is multimodal",
		},
	}
}

func parseSmolLM3(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 32768, kvHeads: 4, tied: true, theta: 2e6})
	s.AttnBias = c.boolOr("attention_bias", false)
	s.OutBias = s.AttnBias
	s.MLPBias = c.boolOr("mlp_bias", false)
	c.mustBeOneOf("hidden_act", "silu", "silu", "swish")
	rotates := c.noRopeLayers(s.Layers)
	s.Ropes = make([]Rope, s.Layers)
	for i, is := range rotates {
		if is {
			s.Ropes[i] = s.Rope
		}
	}
	window := 0
	if c.boolOr("use_sliding_window", false) {
		window = c.window("sliding_window", 0)
	}
	s.Windows = c.windows(s.Layers, window, func(i int) bool { return !rotates[i] })
	return s
}

// noRopeLayers reads which layers rotate queries and keys: in spite of its name
// no_rope_layers says 1 for those that do.
func (c *config) noRopeLayers(layers int) []bool {
	rotates, given := make([]bool, layers), c.numbers("no_rope_layers")
	interval := c.countOr("no_rope_layer_interval", 4)
	if len(given) > 0 && len(given) != layers {
		c.problem("no_rope_layers has %d entries for %d layers", len(given), layers)
		return rotates
	}
	for i := range rotates {
		rotates[i] = (i+1)%interval != 0
		if len(given) > 0 {
			rotates[i] = given[i] != 0
		}
	}
	return rotates
}

// smollm3ByIndex writes each kept layer's kind, which follows from its index where
// the key is absent.
func smollm3ByIndex(s *Spec, keep []int) []configKey {
	kinds := make([]int, len(keep))
	for i, l := range keep {
		if s.Ropes[l].Dim > 0 {
			kinds[i] = 1
		}
	}
	return []configKey{{"no_rope_layers", kinds}}
}

// smollm3Notes: llama.cpp goes by the number of a layer.
func smollm3Notes(s *Spec, keep []int) []string {
	changed := 0
	for i, l := range keep {
		if (s.Ropes[l].Dim > 0) != ((i+1)%4 != 0) {
			changed++
		}
	}
	if changed == 0 {
		return nil
	}
	return []string{fmt.Sprintf("no_rope_layers in config.json keeps layers with and without rotary embeddings as they were; llama.cpp does not read it and "+
		"leaves them out in every fourth layer, which is wrong for %d of the %d layers: results differ there", changed, len(keep))}
}

// smollm3Instead: llama.cpp's own architecture goes by the number of a layer, and
// has neither windows nor biases but those of queries, keys and values. Granite's
// with windows is told of each layer, and else the same with sinks that take nothing.
func smollm3Instead(s *Spec, keep []int) *GGUF {
	if smollm3Notes(s, keep) == nil && s.Windows == nil && !s.OutBias && !s.MLPBias {
		return nil
	}
	g := llamaGGUF(func(*Spec, []int) []string {
		return []string{"llama.cpp's smollm3 cannot be told which layers have rotary embeddings, windows or biases: the file is of its granite_swa, for llama.cpp v0.5.0 or later"}
	})
	g.Name, g.Rotates, g.Sinks = "granite_swa", true, true
	g.Slides = func(_ *Spec, r Rope) bool { return r.Dim == 0 }
	g.Keys = append(g.Keys, "logit_scale", "attention.rope_pattern", "attention.sliding_window", "attention.sliding_window_pattern")
	return g
}
