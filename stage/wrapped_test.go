package stage

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/safetensors"
)

// wrappedConfig is a small Gemma 3 in its multimodal wrapper.
const wrappedConfig = `{
  "architectures": ["Gemma3ForConditionalGeneration"],
  "boi_token_index": 100,
  "mm_tokens_per_image": 4,
  "model_type": "gemma3",
  "text_config": {
    "hidden_size": 32, "intermediate_size": 48, "model_type": "gemma3_text", "num_hidden_layers": 7, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 16, "vocab_size": 128, "max_position_embeddings": 256, "sliding_window": 8,
    "rope_scaling": {"factor": 8.0, "rope_type": "linear"}
  },
  "torch_dtype": "bfloat16",
  "vision_config": {"hidden_size": 16, "num_hidden_layers": 3, "model_type": "siglip_vision_model"}
}
`

// wrapped writes it, its tensors under either of the names that files have them by.
func wrapped(t *testing.T, rename func(string) string) string {
	t.Helper()
	spec, err := model.ParseConfig([]byte(wrappedConfig))
	if err != nil {
		t.Fatal(err)
	}
	weights := slices.Collect(spec.Weights())
	for _, name := range []string{"vision_tower.vision_model.encoder.layers.2.mlp.fc1.weight", "multi_modal_projector.mm_input_projection_weight"} {
		weights = append(weights, model.Weight{Name: name, Shape: []int{16, 8}})
	}
	var entries []safetensors.Entry
	for n, w := range weights {
		data := make([]byte, 2*w.Elements())
		for i := range data {
			data[i] = byte((i*i + 31*n) % 61) // small bfloat16 values, others in every tensor
		}
		entries = append(entries, safetensors.Entry{Name: rename(w.Name), DType: safetensors.BF16, Shape: w.Shape, Data: data})
	}
	dir := filepath.Join(t.TempDir(), "gemma")
	write(t, filepath.Join(dir, "config.json"), wrappedConfig)
	write(t, filepath.Join(dir, "preprocessor_config.json"), `{"image_seq_length": 4}`)
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := safetensors.Write(f, map[string]string{"format": "pt"}, entries); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestPruneInsideAWrapper: of a multimodal model the text layers are pruned in place;
// all else is copied byte for byte, and that is said.
func TestPruneInsideAWrapper(t *testing.T) {
	for name, rename := range map[string]func(string) string{
		"as published": func(s string) string { return s },
		"by transformers from 4.52 on": func(s string) string {
			if rest, ok := strings.CutPrefix(s, "language_model.model."); ok {
				return "model.language_model." + rest
			}
			return "model." + s
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := wrapped(t, rename)
			env, talk := testEnv(t)
			p := DefaultPrune()
			p.Model, p.Out, p.Drop = dir, filepath.Join(t.TempDir(), "pruned"), "1,3"
			if _, err := p.Run(t.Context(), env, func(report.Plan) error { return nil }); err != nil {
				t.Fatal(err)
			}
			if !talk.has("are not part of this model and are left alone") {
				t.Errorf("not said that the rest is left alone: %q", talk.said)
			}
			samePlaces(t, dir, p.Out, rename)
			cutInside(t, p.Out)
			if _, err := os.Stat(filepath.Join(p.Out, "preprocessor_config.json")); err != nil {
				t.Error(err)
			}
		})
	}
}

// samePlaces compares every tensor with the one that it comes from.
func samePlaces(t *testing.T, dir, out string, rename func(string) string) {
	t.Helper()
	before, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	after, err := checkpoint.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer after.Close()
	prefix := strings.TrimSuffix(rename("language_model.model.layers.0.x"), "0.x")
	kept, found := map[string]string{"0": "0", "2": "1", "4": "2", "5": "3", "6": "4"}, 0
	for _, b := range before.Tensors() {
		to := b.Name
		if rest, ok := strings.CutPrefix(b.Name, prefix); ok {
			number, rest, _ := strings.Cut(rest, ".")
			if kept[number] == "" {
				continue
			}
			to = prefix + kept[number] + "." + rest
		}
		old, err := before.Data(b.Name)
		if err != nil {
			t.Fatal(err)
		}
		now, err := after.Data(to)
		if err != nil || !bytes.Equal(old, now) {
			t.Errorf("%s is not %s as it was (%v)", to, b.Name, err)
		}
		found++
	}
	if found != len(after.Tensors()) {
		t.Errorf("%d tensors, want %d", len(after.Tensors()), found)
	}
}

// cutInside reads the pruned config: text_config lost two layers, and nothing else
// changed.
func cutInside(t *testing.T, out string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(out, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(wrappedConfig), &want); err != nil {
		t.Fatal(err)
	}
	text := want["text_config"].(map[string]any)
	text["num_hidden_layers"] = 5.
	text["layer_types"] = []any{"sliding_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("config of the pruned model:\n%s", raw)
	}
	spec, err := model.ParseConfig(raw)
	if err != nil || spec.Layers != 5 || spec.Window(3) != 0 || spec.Window(4) != 8 {
		t.Errorf("read again: %+v, %v", spec, err)
	}
}
