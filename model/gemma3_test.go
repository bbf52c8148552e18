package model

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/safetensors"
)

// gemma34b is what google/gemma-3-4b-pt says: most follows from the class.
const gemma34b = `{
  "architectures": ["Gemma3ForConditionalGeneration"],
  "boi_token_index": 255999,
  "eoi_token_index": 256000,
  "image_token_index": 262144,
  "initializer_range": 0.02,
  "mm_tokens_per_image": 256,
  "model_type": "gemma3",
  "text_config": {
    "hidden_size": 2560,
    "intermediate_size": 10240,
    "model_type": "gemma3_text",
    "num_hidden_layers": 34,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
    "sliding_window": 1024
  },
  "torch_dtype": "bfloat16",
  "vision_config": {"hidden_size": 1152, "intermediate_size": 4304, "model_type": "siglip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 27}
}`

// The text model inside the wrapper has its parameters, and pruning it leaves the
// tower that sees images as it was.
func TestGemma3Wrapped(t *testing.T) {
	s := parse(t, gemma34b, nil)
	if got := s.Parameters(); got != 3_880_263_168 {
		t.Errorf("%d parameters", got)
	}
	if s.Window(4) != 1024 || s.Window(5) != 0 || s.RopeOf(4).Theta != 10000 || s.RopeOf(5).Theta != 1e6 || s.RopeOf(5).Scaling.Factor != 8 || s.RopeOf(4).Scaling.Kind != "" {
		t.Errorf("layers 4 and 5: windows %d, %d, %+v, %+v", s.Window(4), s.Window(5), s.RopeOf(4), s.RopeOf(5))
	}
	for _, old := range []string{gemma34b, strings.Replace(gemma34b, `"sliding_window"`, `"tie_word_embeddings": true, "sliding_window"`, 1)} {
		untied, err := s.HealedConfig([]byte(old), true, "")
		if err != nil || !s.Tied || parse(t, string(untied), nil).Tied {
			t.Errorf("untied, it is read as tied: %v\n%s", err, untied)
		}
	}
	pruned, err := s.PruneConfig([]byte(gemma34b), []int{0, 5, 6})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Text struct {
			Layers int      `json:"num_hidden_layers"`
			Types  []string `json:"layer_types"`
		} `json:"text_config"`
		Vision struct {
			Layers int `json:"num_hidden_layers"`
		} `json:"vision_config"`
	}
	if err := json.Unmarshal(pruned, &got); err != nil {
		t.Fatal(err)
	}
	if got.Text.Layers != 3 || got.Vision.Layers != 27 || strings.Join(got.Text.Types, " ") != "sliding_attention full_attention sliding_attention" {
		t.Errorf("pruned: %+v\n%s", got, pruned)
	}
	rename := s.Renamer([]int{0, 5, 6})
	for from, want := range map[string]string{
		"language_model.model.layers.5.mlp.up_proj.weight":              "language_model.model.layers.1.mlp.up_proj.weight",
		"vision_tower.vision_model.encoder.layers.7.layer_norm1.weight": "vision_tower.vision_model.encoder.layers.7.layer_norm1.weight",
	} {
		if to, kept := rename(from); to != want || !kept {
			t.Errorf("%s becomes %s", from, to)
		}
	}
	s.nameAs([]checkpoint.TensorInfo{{Tensor: safetensors.Tensor{Name: "model.language_model.layers.0.mlp.up_proj.weight"}}})
	if name := s.LayerWeights(2)[0].Name; name != "model.language_model.layers.2.input_layernorm.weight" || s.TopWeights()[0].Name != "model.language_model.embed_tokens.weight" {
		t.Errorf("by its other names: %s, %s", name, s.TopWeights()[0].Name)
	}
}
