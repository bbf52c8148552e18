package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ParseConfig turns the content of config.json into a Spec. Every problem is
// reported, with the offending values; the config is refused by name when its
// architecture is unknown or its weights are quantised (ErrUnsupported).
func ParseConfig(raw []byte) (*Spec, error) {
	c := &config{}
	if err := json.Unmarshal(raw, &c.keys); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	architecture, err := c.architecture()
	if err != nil {
		return nil, err
	}
	f, err := familyOf(architecture)
	if err != nil {
		return nil, err
	}
	if err := c.refuseQuantised(); err != nil {
		return nil, err
	}
	c.name = architecture
	s := f.parse(c)
	s.Architecture, s.Family, s.family = architecture, f.name, f
	if s.AttnScale == 0 {
		s.AttnScale = scaleOf(float64(s.HeadDim))
	}
	s.BOS, s.EOS = c.ids("bos_token_id"), c.ids("eos_token_id")
	s.DType = c.stringOr("torch_dtype", c.stringOr("dtype", ""))
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	return s, nil
}

// config reads keys of config.json and collects what is wrong with them.
type config struct {
	name     string // of the architecture
	keys     map[string]json.RawMessage
	problems []error
}

func (c *config) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// unsupported says that the model is valid but of a kind that cannot be run.
func (c *config) unsupported(format string, args ...any) {
	c.problem("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// has reports whether a key is there and not null.
func (c *config) has(key string) bool {
	raw, ok := c.keys[key]
	return ok && string(raw) != "null"
}

func (c *config) architecture() (string, error) {
	var names []string
	if raw, ok := c.keys["architectures"]; ok {
		if err := json.Unmarshal(raw, &names); err != nil {
			return "", fmt.Errorf("architectures = %s: want a list of names", raw)
		}
	}
	if len(names) == 0 {
		return "", fmt.Errorf("%w: config.json has no \"architectures\"; known architectures: %s", ErrUnsupported, strings.Join(Architectures(), ", "))
	}
	return names[0], nil
}

func (c *config) refuseQuantised() error {
	raw, ok := c.keys["quantization_config"]
	if !ok || string(raw) == "null" {
		return nil
	}
	var q struct {
		Method string `json:"quant_method"`
		Int4   bool   `json:"load_in_4bit"`
		Int8   bool   `json:"load_in_8bit"`
	}
	_ = json.Unmarshal(raw, &q) // whatever it holds, it is refused below
	name := q.Method
	switch {
	case name != "":
	case q.Int4:
		name = "bitsandbytes 4-bit"
	case q.Int8:
		name = "bitsandbytes 8-bit"
	default:
		name = "unnamed"
	}
	return fmt.Errorf("%w: weights are quantised (quantization_config: %s); use the original checkpoint in F32, F16 or BF16", ErrUnsupported, name)
}

func (c *config) get(key string, into any) (present bool) {
	if !c.has(key) {
		return false
	}
	raw := c.keys[key]
	if err := json.Unmarshal(raw, into); err != nil {
		c.problem("%s = %s: want a %T", key, raw, into)
		return false
	}
	return true
}

// maxCount bounds every size in a config, so that products of two fit an int64.
const maxCount = 1 << 30

// count reads a required positive integer; a bad one is reported and becomes 1
// so that later arithmetic is safe.
func (c *config) count(key string) int {
	if !c.has(key) {
		c.problem("%s is missing", key)
		return 1
	}
	return c.countOr(key, 1)
}

func (c *config) countOr(key string, def int) int {
	if !c.has(key) {
		return def
	}
	raw := c.keys[key]
	var v int
	if err := json.Unmarshal(raw, &v); err != nil || v < 1 || v > maxCount {
		c.problem("%s = %s: want an integer from 1 to %d", key, raw, maxCount)
		return 1
	}
	return v
}

// maxLayers bounds the number of layers: lists of them are made from it.
const maxLayers = 1 << 16

// layers reads a required number of layers.
func (c *config) layers(key string) int {
	n := c.count(key)
	if n > maxLayers {
		c.problem("%s = %d: want at most %d layers", key, n, maxLayers)
		return 1
	}
	return n
}

func (c *config) positiveOr(key string, def float64) float64 {
	v := def
	if c.get(key, &v) && v <= 0 {
		c.problem("%s = %g: want a positive number", key, v)
	}
	return v
}

func (c *config) boolOr(key string, def bool) bool {
	v := def
	c.get(key, &v)
	return v
}

func (c *config) stringOr(key, def string) string {
	v := def
	c.get(key, &v)
	return v
}

func (c *config) requireOneOf(key, def string, allowed ...string) {
	if v := c.stringOr(key, def); !slices.Contains(allowed, v) {
		c.problem("%s = %q: only %s is supported", key, v, strings.Join(allowed, ", "))
	}
}

// ids reads a token id or a list of them.
func (c *config) ids(key string) []int {
	if !c.has(key) {
		return nil
	}
	raw := c.keys[key]
	var one int
	if json.Unmarshal(raw, &one) == nil {
		return []int{one}
	}
	var many []int
	if json.Unmarshal(raw, &many) != nil {
		c.problem("%s = %s: want a token id or a list of them", key, raw)
	}
	return many
}

// ropeKeys are the fields of rope_scaling (older configs) and rope_parameters
// (newer ones, which also hold rope_theta).
type ropeKeys struct {
	RopeType string   `json:"rope_type"`
	Type     string   `json:"type"`
	Theta    *float64 `json:"rope_theta"`
	Factor   float64  `json:"factor"`
	Low      float64  `json:"low_freq_factor"`
	High     float64  `json:"high_freq_factor"`
	Original int      `json:"original_max_position_embeddings"`
	Partial  *float64 `json:"partial_rotary_factor"`
}

// rope reads theta and scaling from both places transformers has kept them.
func (c *config) rope(dim int, defaultTheta float64) Rope {
	r := Rope{Dim: dim, Theta: defaultTheta}
	var k ropeKeys
	c.get("rope_scaling", &k)
	c.get("rope_parameters", &k)
	if k.Theta != nil {
		r.Theta = *k.Theta
	}
	top := r.Theta
	if c.get("rope_theta", &top) {
		if k.Theta != nil && *k.Theta != top {
			c.problem("rope_theta = %g at the top level but %g in rope_parameters", top, *k.Theta)
		}
		r.Theta = top
	}
	if r.Theta <= 0 {
		c.problem("rope_theta = %g: want a positive number", r.Theta)
	}
	partial := 1.0
	if k.Partial != nil {
		partial = *k.Partial
	}
	if c.get("partial_rotary_factor", &partial); partial != 1 {
		c.unsupported("partial_rotary_factor = %g: rotary embeddings of a part of each head", partial)
	}
	r.Scaling = c.ropeScaling(k)
	return r
}

func (c *config) ropeScaling(k ropeKeys) RopeScaling {
	kind := k.RopeType
	if kind == "" {
		kind = k.Type
	}
	s := RopeScaling{Kind: kind, Factor: k.Factor, LowFreq: k.Low, HighFreq: k.High, OriginalPosition: k.Original}
	switch kind {
	case "", "default":
		return RopeScaling{}
	case "linear":
		if k.Factor <= 0 {
			c.problem("rope_scaling.factor = %g: want a positive number", k.Factor)
		}
	case "llama3":
		if k.Factor <= 0 || k.Low <= 0 || k.High <= k.Low || k.Original <= 0 {
			c.problem("rope_scaling of type llama3: factor = %g, low_freq_factor = %g, high_freq_factor = %g, original_max_position_embeddings = %d: want positive numbers and high above low", k.Factor, k.Low, k.High, k.Original)
		}
	default:
		c.problem("rope_scaling type %q is not supported; known types: default, linear, llama3", kind)
	}
	return s
}
