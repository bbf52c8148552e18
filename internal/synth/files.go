package synth

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/coppice-ml/coppice/safetensors"
)

// Config returns config.json as transformers writes it.
func (o Options) Config() ([]byte, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return o.config()
}

func (o Options) config() ([]byte, error) {
	bos, eos := o.specials()
	return encode(map[string]any{ // keys are written sorted, as transformers does
		"architectures":           []string{"LlamaForCausalLM"},
		"attention_bias":          o.AttnBias,
		"attention_dropout":       0.0,
		"bos_token_id":            bos,
		"eos_token_id":            eos,
		"head_dim":                o.HeadDim,
		"hidden_act":              "silu",
		"hidden_size":             o.Hidden,
		"initializer_range":       0.02,
		"intermediate_size":       o.FF,
		"max_position_embeddings": o.MaxPositions,
		"mlp_bias":                o.MLPBias,
		"model_type":              "llama",
		"num_attention_heads":     o.Heads,
		"num_hidden_layers":       o.Layers,
		"num_key_value_heads":     o.KVHeads,
		"pretraining_tp":          1,
		"rms_norm_eps":            1e-5,
		"rope_scaling":            o.RopeScaling,
		"rope_theta":              o.RopeTheta,
		"tie_word_embeddings":     o.Tied,
		"torch_dtype":             torchName(o.DType),
		"transformers_version":    "4.46.0",
		"use_cache":               true,
		"vocab_size":              o.Vocab,
	})
}

func torchName(d safetensors.DType) string {
	switch d {
	case safetensors.BF16:
		return "bfloat16"
	case safetensors.F16:
		return "float16"
	default:
		return "float32"
	}
}

// specials returns the ids that begin and end a text.
func (o Options) specials() (bos, eos int) {
	if o.Tokenizer {
		first := byteTokens + len(o.merges())
		return first, first + 1
	}
	return min(1, o.Vocab-1), min(2, o.Vocab-1)
}

// writeJSON writes every file but the weights.
func (o Options) writeJSON(dir string) error {
	config, err := o.config()
	if err != nil {
		return err
	}
	bos, eos := o.specials()
	generation, err := encode(map[string]any{
		"_from_model_config":   true,
		"bos_token_id":         bos,
		"eos_token_id":         eos,
		"transformers_version": "4.46.0",
	})
	if err != nil {
		return err
	}
	files := map[string][]byte{"config.json": config, "generation_config.json": generation}
	if o.Tokenizer {
		if files["tokenizer.json"], err = o.tokenizer(); err != nil {
			return err
		}
		if files["tokenizer_config.json"], err = o.tokenizerConfig(); err != nil {
			return err
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			return err
		}
	}
	return nil
}

func (o Options) writeIndex(dir string, shards [][]safetensors.Tensor) error {
	var total int64
	where := map[string]string{}
	for i, ts := range shards {
		total += totalBytes(ts)
		for _, t := range ts {
			where[t.Name] = o.shardName(i, len(shards))
		}
	}
	data, err := encode(map[string]any{
		"metadata":   map[string]any{"total_size": total},
		"weight_map": where,
	})
	if err != nil {
		return err
	}
	stem, extension := o.form()
	return os.WriteFile(filepath.Join(dir, stem+extension+".index.json"), data, 0o666)
}

// encode writes JSON as Python's json.dumps(indent=2, ensure_ascii=False) does.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
