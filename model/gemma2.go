package model

import "fmt"

// gemma2 covers Gemma 2: Gemma with norms after attention and feed-forward too,
// soft caps on attention scores and logits, a scale of scores that is a key of
// its own, and a window in every other layer.
// Source: transformers' modeling_gemma2.py and configuration_gemma2.py.
func gemma2() *family {
	return &family{
		name:          "gemma2",
		architectures: []string{"Gemma2ForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseGemma2,
		top:           decoderTop,
		layer:         gemma2Layer,
		byIndex:       gemma2ByIndex,
		notes:         gemma2Notes,
		gguf:          gemma2GGUF(),
		refused: map[string]string{
			"PaliGemma2ForConditionalGeneration": "it is multimodal",
		},
	}
}

func parseGemma2(c *config) *Spec {
	s := c.decoder(decoderDefaults{positions: 8192, kvHeads: 4, headDim: 256, tied: true})
	c.gemmaBlock(s)
	s.AttnScale = scaleOf(c.positiveOr("query_pre_attn_scalar", 256))
	s.AttnSoftCap = c.softCap("attn_logit_softcapping", 50)
	s.LogitSoftCap = c.softCap("final_logit_softcapping", 30)
	pattern := c.countOr("sliding_window_pattern", 2)
	s.Windows = c.windows(s.Layers, c.window("sliding_window", 4096), func(i int) bool { return (i+1)%pattern != 0 })
	if c.boolOr("use_bidirectional_attention", false) {
		c.cannotRun("use_bidirectional_attention: tokens attend to those after them, so nothing predicts the next one")
	}
	return s
}

// softCap reads a soft cap; null turns it off.
func (c *config) softCap(key string, def float64) float64 {
	if raw, given := c.keys[key]; given && string(raw) == "null" || !given && def == 0 {
		return 0
	}
	return c.positiveOr(key, def)
}

func gemma2Layer(s *Spec) []Weight {
	ws := decoderLayer(s)
	for i := range ws {
		if ws[i].Role == MLPNorm {
			ws[i].Name = "pre_feedforward_layernorm.weight"
		}
	}
	return append(ws,
		Weight{Role: AttnPostNorm, Name: "post_attention_layernorm.weight", Shape: []int{s.Hidden}},
		Weight{Role: MLPPostNorm, Name: "post_feedforward_layernorm.weight", Shape: []int{s.Hidden}})
}

// gemma2ByIndex writes each kept layer's kind, which readers without
// layer_types take from the parity of its index.
func gemma2ByIndex(s *Spec, keep []int) []configKey {
	if s.Windows == nil {
		return nil
	}
	types := make([]string, len(keep))
	for i, l := range keep {
		types[i] = fullAttention
		if s.Window(l) > 0 {
			types[i] = slidingAttention
		}
	}
	return []configKey{{"layer_types", types}}
}

// gemma2Notes: llama.cpp goes by the parity of layers, and by their number: it
// takes 46 for the 27B, whose scale of attention scores is its own.
func gemma2Notes(s *Spec, keep []int) []string {
	notes := gemma2Windows(s, keep)
	if s.AttnScale != scaleOf(float64(s.HeadDim)) && len(keep) != gemma2Largest {
		notes = append(notes, fmt.Sprintf("llama.cpp scales attention scores by query_pre_attn_scalar in a Gemma 2 of %d layers only, and by head_dim in one of %d: the results are wrong there", gemma2Largest, len(keep)))
	}
	return notes
}

// gemma2Largest is how many layers llama.cpp takes for the 27B.
const gemma2Largest = 46

// gemma2Scale is the scale of attention scores in llama.cpp.
func gemma2Scale(s *Spec, layers int) float64 {
	if layers == gemma2Largest {
		return scaleOf(float64(s.Hidden / s.Heads))
	}
	return scaleOf(float64(s.HeadDim))
}

// gemma2Windows: kept layers may change places between even and odd.
func gemma2Windows(s *Spec, keep []int) []string {
	changed, window := 0, 0
	for i, l := range keep {
		if window = max(window, s.Window(l)); s.Windows != nil && (s.Window(l) > 0) != (i%2 == 0) {
			changed++
		}
	}
	if changed == 0 {
		return nil
	}
	note := fmt.Sprintf("layer_types in config.json keeps sliding and full attention as they were; llama.cpp and older transformers do not read it and go by "+
		"even and odd layer numbers, which is the other kind for %d of the %d layers: results differ there for texts longer than the window", changed, len(keep))
	if window > 0 {
		note += fmt.Sprintf(" (%d tokens)", window)
	}
	return []string{note}
}

// gemma2GGUF: llama.cpp has no Gemma 2 without soft caps.
func gemma2GGUF() *GGUF {
	return &GGUF{
		Name: "gemma2", Tied: true, Scale: gemma2Scale, Kinds: everyOther(2),
		Keys: []string{"attention.key_length", "attention.value_length", "attn_logit_softcapping", "final_logit_softcapping", "attention.sliding_window"},
	}
}
