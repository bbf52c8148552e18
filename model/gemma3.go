package model

import "fmt"

// gemma3 covers Gemma 3's text models: Gemma 2 without soft caps, with norms of
// query and key heads, and rotary embeddings of two bases: one of layers that
// slide, the other, perhaps scaled, of those that see everything.
// Source: transformers' modeling_gemma3.py and configuration_gemma3.py.
func gemma3() *family {
	return &family{
		name:          "gemma3",
		architectures: []string{"Gemma3ForCausalLM"},
		layerPrefix:   "model.layers.",
		parse:         parseGemma3,
		top:           decoderTop,
		layer:         gemma3Layer,
		byIndex:       gemma2ByIndex,
		notes:         gemma3Notes,
		gguf:          gemma3GGUF(),
		refused: map[string]string{
			"Gemma3nForConditionalGeneration": "its layers share keys and values and take embeddings of their own",
			"Gemma3nForCausalLM":              "its layers share keys and values and take embeddings of their own",
			"Gemma3ForSequenceClassification": "it classifies texts and predicts no next token",
			"Gemma3TextModel":                 "it embeds texts and predicts no next token",
		},
	}
}

func parseGemma3(c *config) *Spec {
	d := decoderDefaults{positions: 131072, kvHeads: 4, headDim: 256, tied: true, theta: 1e6}
	if c.nestedRope(fullAttention) {
		d.ropeKind = fullAttention
	}
	s := c.decoder(d)
	c.gemmaBlock(s)
	s.AttnScale = scaleOf(c.positiveOr("query_pre_attn_scalar", 256))
	s.AttnSoftCap = c.softCap("attn_logit_softcapping", 0)
	s.LogitSoftCap = c.softCap("final_logit_softcapping", 0)
	pattern := c.countOr("sliding_window_pattern", c.countOr("_sliding_window_pattern", 6))
	slides := func(i int) bool { return (i+1)%pattern != 0 }
	s.Windows = c.windows(s.Layers, c.window("sliding_window", 4096), slides)
	local := Rope{Theta: c.positiveOr("rope_local_base_freq", 10000), Dim: s.HeadDim}
	if c.nestedRope(slidingAttention) {
		local = c.rope(s.HeadDim, ropeDefaults{theta: local.Theta, kind: slidingAttention})
	}
	s.Ropes = c.ropesByKind(s, local, slides)
	if c.boolOr("use_bidirectional_attention", false) {
		c.cannotRun("use_bidirectional_attention: tokens attend to those after them, so nothing predicts the next one")
	}
	return s
}

// ropesByKind gives layers that slide the local rotary embeddings, others the spec's.
func (c *config) ropesByKind(s *Spec, local Rope, slides func(i int) bool) []Rope {
	types, _ := c.layerTypes(s.Layers)
	ropes := make([]Rope, s.Layers)
	for i := range ropes {
		ropes[i] = s.Rope
		if types == nil && slides(i) || types != nil && types[i] == slidingAttention {
			ropes[i] = local
		}
	}
	return ropes
}

func gemma3Layer(s *Spec) []Weight {
	return append(gemma2Layer(s),
		Weight{Role: QueryNorm, Name: "self_attn.q_norm.weight", Shape: []int{s.HeadDim}},
		Weight{Role: KeyNorm, Name: "self_attn.k_norm.weight", Shape: []int{s.HeadDim}})
}

// gemma3Notes: llama.cpp goes by the number of a layer, and by how many there are:
// it takes 62 for the 27B, whose scale of attention scores is its own.
func gemma3Notes(s *Spec, keep []int) (notes []string) {
	changed := 0
	for i, l := range keep {
		if s.Windows != nil && (s.Window(l) > 0) != ((i+1)%6 != 0) {
			changed++
		}
	}
	if changed > 0 {
		notes = append(notes, fmt.Sprintf("layer_types in config.json keeps sliding and full attention as they were; llama.cpp and older transformers do not read it and "+
			"take every sixth layer for a full one, which is wrong for %d of the %d layers: results differ there", changed, len(keep)))
	}
	if s.AttnScale != scaleOf(float64(s.HeadDim)) && len(keep) != gemma3Largest {
		notes = append(notes, fmt.Sprintf("llama.cpp scales attention scores by query_pre_attn_scalar in a Gemma 3 of %d layers only, and by head_dim in one of %d: the results are wrong there", gemma3Largest, len(keep)))
	}
	return notes
}

func gemma3GGUF() *GGUF {
	return &GGUF{
		Name: "gemma3", Biases: []Role{QueryBias, KeyBias, ValueBias}, Scale: gemma3Scale, Slides: gemma3Slides, Kinds: everyOther(6),
		Keys: []string{"attention.key_length", "attention.value_length", "rope.freq_base", "rope.freq_base_swa", "attention.sliding_window"},
	}
}

// gemma3Largest is how many layers llama.cpp takes for the 27B, whose scale of
// attention scores is its own.
const gemma3Largest = 62

func gemma3Scale(s *Spec, layers int) float64 {
	if layers == gemma3Largest {
		return scaleOf(float64(s.Hidden / s.Heads))
	}
	return scaleOf(float64(s.HeadDim))
}

// gemma3Slides: layers that slide have a base of their own and no scaling.
func gemma3Slides(s *Spec, r Rope) bool {
	return r.Scaling == RopeScaling{} && r.Dim == s.Rope.Dim && s.Rope.Scaling.Kind != "yarn"
}
