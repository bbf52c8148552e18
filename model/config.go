package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/internal/pyjson"
)

// ParseConfig turns the content of config.json into a Spec. Every problem is
// reported, with the offending values; the config is refused by name when its
// architecture is unknown or its weights are quantised (ErrUnsupported).
func ParseConfig(raw []byte) (*Spec, error) { return ParseConfigBeside(raw, nil) }

// Beside gives the content of a small file that lies beside config.json, or nil
// where there is none.
type Beside func(name string) []byte

// ParseConfigBeside is ParseConfig for families one of whose keys means different
// things in different versions of the code that is published beside it.
func ParseConfigBeside(raw []byte, beside Beside) (*Spec, error) {
	s, err := ParseLayout(raw, beside)
	if err != nil {
		return nil, err
	}
	return s, s.Runnable()
}

// ParseLayout is ParseConfigBeside for work that does not run the model: what
// only says that its layers compute something unknown is no error, and left to
// Runnable.
func ParseLayout(raw []byte, beside Beside) (*Spec, error) {
	keys, err := keysOf(raw)
	if err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	c := &config{keys: keys, beside: beside}
	if err := c.refuseQuantised(); err != nil {
		return nil, err
	}
	architecture, err := c.architecture()
	if err != nil {
		return nil, err
	}
	f, err := familyOf(architecture, c.stringOr("model_type", ""))
	if err != nil {
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
		return nil, errors.Join(append(c.problems, c.unknown...)...)
	}
	s.unknown = c.unknown
	return s, nil
}

// Runnable says why the model cannot be run, though its layers can be cut: they
// compute something that no engine knows. Nil: it can.
func (s *Spec) Runnable() error { return errors.Join(s.unknown...) }

// keysOf splits a JSON object into its values, as they are written; of a key that
// is given twice the last counts, as in Python.
func keysOf(raw []byte) (map[string]json.RawMessage, error) {
	values, err := topLevelValues(raw)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]json.RawMessage, len(values))
	for _, v := range values {
		keys[v.key] = raw[v.start:v.end]
	}
	return keys, nil
}

// config reads keys of config.json and collects what is wrong with them.
type config struct {
	name     string // of the architecture
	keys     map[string]json.RawMessage
	beside   Beside
	problems []error
	unknown  []error // problems of running it alone
	within   string  // what stands before keys in messages: "rope_scaling."

	// What the class gives to keys that rotary embeddings depend on.
	positions, original int
}

func (c *config) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// unsupported says that the model is valid but of a kind that is not read.
func (c *config) unsupported(format string, args ...any) {
	c.problem("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// cannotRun says that the layers compute something unknown, of tensors that are
// as usual.
func (c *config) cannotRun(format string, args ...any) {
	c.unknown = append(c.unknown, fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...)))
}

// has reports whether a key is there and not null.
func (c *config) has(key string) bool {
	raw, ok := c.keys[key]
	return ok && string(raw) != "null"
}

// architecture is the class that transformers would make: architectures[0], in
// whatever case an early conversion spelled it, else the one of model_type.
func (c *config) architecture() (string, error) {
	var names []string
	raw := c.keys["architectures"]
	if c.has("architectures") && pyjson.Unmarshal(raw, &names) != nil {
		return "", fmt.Errorf("architectures = %s: want a list of names", abridged(raw))
	}
	if len(names) > 0 && names[0] != "" {
		return spelledAs(names[0]), nil
	}
	kind := c.stringOr("model_type", "")
	if name := architectureOf(kind); name != "" {
		return name, nil
	}
	what := "config.json has no \"architectures\""
	if kind != "" {
		what += fmt.Sprintf(", and its model_type is %q", kind)
	}
	return "", fmt.Errorf("%w: %s; known architectures: %s", ErrUnsupported, what, strings.Join(Architectures(), ", "))
}

// refuseQuantised knows the keys under which transformers, MLX and others say so.
func (c *config) refuseQuantised() error {
	for _, key := range []string{"quantization_config", "quantization", "compression_config", "quant_config"} {
		if c.has(key) && string(c.keys[key]) != "false" {
			return fmt.Errorf("%w: weights are quantised (%s: %s); use the original checkpoint in F32, F16 or BF16", ErrUnsupported, key, quantisation(c.keys[key]))
		}
	}
	return nil
}

// quantisation names the method that a key describes.
func quantisation(raw json.RawMessage) string {
	var q struct {
		Method string   `json:"quant_method"`
		Bits   *float64 `json:"bits"`
		Int4   bool     `json:"load_in_4bit"`
		Int8   bool     `json:"load_in_8bit"`
	}
	_ = pyjson.Unmarshal(raw, &q) // whatever it holds, it is refused
	switch {
	case q.Method != "":
		return q.Method
	case q.Int4:
		return "bitsandbytes 4-bit"
	case q.Int8:
		return "bitsandbytes 8-bit"
	case q.Bits != nil:
		return fmt.Sprintf("%g bits", *q.Bits)
	}
	return "unnamed"
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
	v, ok := integer(c.keys[key])
	if !ok || v < 1 || v > maxCount {
		c.problem("%s%s = %s: want an integer from 1 to %d", c.within, key, abridged(c.keys[key]), maxCount)
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
	v := c.numberOr(key, def)
	if v <= 0 {
		c.problem("%s%s = %g: want a positive number", c.within, key, v)
		return 1
	}
	return v
}

func (c *config) numberOr(key string, def float64) float64 {
	if !c.has(key) {
		return def
	}
	v, ok := number(c.keys[key])
	if !ok {
		c.problem("%s%s = %s: want a number", c.within, key, abridged(c.keys[key]))
		return def
	}
	return v
}

func (c *config) boolOr(key string, def bool) bool {
	v := def
	if c.has(key) && pyjson.Unmarshal(c.keys[key], &v) != nil {
		c.problem("%s%s = %s: want true or false", c.within, key, abridged(c.keys[key]))
		return def
	}
	return v
}

func (c *config) stringOr(key, def string) string {
	v := def
	if c.has(key) && (c.keys[key][0] != '"' || pyjson.Unmarshal(c.keys[key], &v) != nil) {
		c.problem("%s%s = %s: want a text in quotes", c.within, key, abridged(c.keys[key]))
		return def
	}
	return v
}

// mustBeOneOf is for keys that name a computation.
func (c *config) mustBeOneOf(key, def string, allowed ...string) {
	if v := c.stringOr(key, def); !slices.Contains(allowed, v) {
		c.cannotRun("%s = %q: only %s is supported", key, v, strings.Join(allowed, ", "))
	}
}

// numbers reads a list of whole numbers; nil where it is absent or empty.
func (c *config) numbers(key string) (list []int) {
	if !c.has(key) {
		return nil
	}
	var raw []json.RawMessage
	bad := pyjson.Unmarshal(c.keys[key], &raw) != nil
	for _, r := range raw {
		n, ok := integer(r)
		bad = bad || !ok
		list = append(list, n)
	}
	if bad {
		c.problem("%s = %s: want a list of whole numbers", key, abridged(c.keys[key]))
		return nil
	}
	return list
}

// ids reads a token id or a list of them.
func (c *config) ids(key string) []int {
	if !c.has(key) {
		return nil
	}
	raw := c.keys[key]
	if one, ok := integer(raw); ok {
		return []int{one}
	}
	var many []json.RawMessage
	bad := pyjson.Unmarshal(raw, &many) != nil
	ids := make([]int, len(many))
	for i, id := range many {
		var ok bool
		ids[i], ok = integer(id)
		bad = bad || !ok
	}
	if bad {
		c.problem("%s = %s: want a token id or a list of them", key, abridged(raw))
		return nil
	}
	return ids
}

// number reads a finite number, also one that a script wrote as a string.
func number(raw json.RawMessage) (float64, bool) {
	text := strings.TrimSuffix(strings.TrimPrefix(string(raw), `"`), `"`)
	if text == "" || strings.Trim(text, "0123456789+-.eE") != "" {
		return 0, false
	}
	v, err := strconv.ParseFloat(text, 64)
	return v, err == nil && !math.IsInf(v, 0)
}

// integer reads a number without a fraction: 64, 64.0, "64".
func integer(raw json.RawMessage) (int, bool) {
	v, ok := number(raw)
	return int(v), ok && v == math.Trunc(v) && math.Abs(v) < 1<<53
}

// abridged shortens a value for a message.
func abridged(raw json.RawMessage) string {
	const most = 80
	if len(raw) <= most {
		return string(raw)
	}
	return strings.ToValidUTF8(string(raw[:most]), "") + "…"
}
