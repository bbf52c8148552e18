package model

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/internal/pyjson"
)

// ropeDefaults are what a family's class gives to keys of rotary embeddings that
// config.json leaves out.
type ropeDefaults struct {
	theta   float64
	partial float64 // share of a head's columns that is rotated; 0: the class rotates all, whatever the config says
	// longrope says that the class takes scaling of type yarn for longrope.
	longrope bool
	kind     string // of layers, for classes whose rope_parameters may be nested by it
}

// rope reads theta and scaling from both places where transformers has kept
// them: rope_theta and rope_scaling, and rope_parameters, which holds both.
func (c *config) rope(headDim int, d ropeDefaults) Rope {
	k := c.ropeKeys(d.kind)
	r := Rope{Dim: headDim, Theta: k.numberOr("rope_theta", d.theta)}
	if c.has("rope_theta") && d.kind == "" {
		top := c.numberOr("rope_theta", r.Theta)
		if k.has("rope_theta") && r.Theta != top {
			c.problem("rope_theta = %g at the top level but %g in rope_parameters", top, r.Theta)
		}
		r.Theta = top
	}
	if r.Theta <= 0 {
		c.problem("rope_theta = %g: want a positive number", r.Theta)
	}
	partial := k.numberOr("partial_rotary_factor", c.numberOr("partial_rotary_factor", max(d.partial, 0)))
	switch {
	case d.partial == 0 && partial != 0 && partial != 1:
		c.cannotRun("partial_rotary_factor = %g: a %s rotates all of each head", partial, c.name)
	case d.partial != 0 && !(partial > 0 && partial <= 1):
		c.problem("partial_rotary_factor = %g: want a number above 0, up to 1", partial)
	case d.partial != 0:
		if r.Dim = int(float64(headDim) * partial); r.Dim < 2 || r.Dim%2 != 0 {
			c.problem("partial_rotary_factor = %g of head_dim = %d rotates %d columns: want an even number", partial, headDim, r.Dim)
		}
	}
	r.Scaling = c.ropeScaling(k, r, d.longrope)
	c.problems, c.unknown = append(c.problems, k.problems...), append(c.unknown, k.unknown...)
	return r
}

// ropeKeys are the keys of rotary embeddings of layers of a kind, "" for all.
func (c *config) ropeKeys(kind string) *config {
	in := &config{keys: make(map[string]json.RawMessage), name: c.name}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		if !c.has(key) {
			continue
		}
		in.within = key + "."
		values, err := keysOf(c.keys[key])
		if err != nil {
			c.problem("%s = %s: want an object in braces", key, abridged(c.keys[key]))
		}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			switch {
			case values[name][0] != '{':
			case kind == "":
				c.cannotRun("%s has rotary embeddings of their own for %q: all layers of a %s have the same", key, name, c.name)
			case name == kind:
				own, _ := keysOf(values[name])
				maps.Copy(values, own)
			}
		}
		maps.Copy(in.keys, values)
	}
	return in
}

// nestedRope says whether rope_parameters are nested by kinds of layers.
func (c *config) nestedRope(kind string) bool {
	values, err := keysOf(c.keys["rope_parameters"])
	return err == nil && len(values[kind]) > 0
}

// ropeScaling reads the fields of rope_scaling, k. Those that a kind does not have
// are left alone, as its reference does.
func (c *config) ropeScaling(k *config, r Rope, longrope bool) RopeScaling {
	kind := k.stringOr("rope_type", k.stringOr("type", ""))
	if kind == "su" || kind == "yarn" && longrope { // longrope, in its first months
		kind = "longrope"
	}
	s := RopeScaling{Kind: kind}
	switch kind {
	case "", "default":
		return RopeScaling{}
	case "linear":
		s.Factor = k.factor()
	case "llama3":
		k.llama3(&s)
	case "yarn":
		c.yarn(k, &s)
	case "dynamic":
		s.Factor = k.factor()
		s.OriginalPosition = c.countOr("max_position_embeddings", c.positions)
		if r.Dim <= 2 {
			c.problem("rope_scaling of type dynamic: want more than %d rotated columns", r.Dim)
		}
	case "longrope":
		c.longrope(k, &s, r.Dim)
	default:
		c.cannotRun("rope_scaling type %q is not supported; known types: default, linear, llama3, yarn, dynamic, longrope", kind)
	}
	return s
}

func (c *config) factor() float64 {
	f := c.numberOr("factor", 0)
	if f <= 0 {
		c.problem("%sfactor = %g: want a positive number", c.within, f)
	}
	return f
}

func (c *config) llama3(s *RopeScaling) {
	s.Factor, s.LowFreq, s.HighFreq = c.numberOr("factor", 0), c.numberOr("low_freq_factor", 0), c.numberOr("high_freq_factor", 0)
	if c.has("original_max_position_embeddings") {
		s.OriginalPosition = c.countOr("original_max_position_embeddings", 0)
	}
	if s.Factor <= 0 || s.LowFreq <= 0 || s.HighFreq <= s.LowFreq || s.OriginalPosition <= 0 {
		c.problem("%s of type llama3: factor = %g, low_freq_factor = %g, high_freq_factor = %g, original_max_position_embeddings = %d: want positive numbers and high above low",
			strings.TrimSuffix(c.within, "."), s.Factor, s.LowFreq, s.HighFreq, s.OriginalPosition)
	}
}

// stretch reads the length that positions were trained for, which a key beside
// rope_scaling overrides, and how much longer the model's is.
func (c *config) stretch(k *config) (original int, factor float64) {
	positions := c.countOr("max_position_embeddings", c.positions)
	original = c.countOr("original_max_position_embeddings", k.countOr("original_max_position_embeddings", max(c.original, 0)))
	if original == 0 {
		original = positions
	}
	return original, k.positiveOr("factor", float64(positions)/float64(original))
}

// yarn reads YaRN's keys. Without attention_factor it follows from mscale and
// mscale_all_dim where both are there, else from the factor.
func (c *config) yarn(k *config, s *RopeScaling) {
	s.OriginalPosition, s.Factor = c.stretch(k)
	s.FastBeta, s.SlowBeta = orNumber(k.numberOr("beta_fast", 0), 32), orNumber(k.numberOr("beta_slow", 0), 1)
	s.Fractional = !k.boolOr("truncate", true)
	if s.FastBeta < s.SlowBeta || s.SlowBeta < 0 {
		c.problem("%sbeta_fast = %g, beta_slow = %g: want the first above the second", k.within, s.FastBeta, s.SlowBeta)
	}
	mscale := func(m float64) float64 {
		if s.Factor <= 1 {
			return 1
		}
		return 0.1*m*math.Log(s.Factor) + 1
	}
	s.Attention = mscale(1)
	if one, all := k.numberOr("mscale", 0), k.numberOr("mscale_all_dim", 0); one != 0 && all != 0 {
		s.Attention = mscale(one) / mscale(all)
	}
	s.Attention = k.positiveOr("attention_factor", s.Attention)
}

func orNumber(v, def float64) float64 {
	if v == 0 {
		return def
	}
	return v
}

// longrope reads LongRoPE's keys.
func (c *config) longrope(k *config, s *RopeScaling, dim int) {
	s.OriginalPosition, s.Factor = c.stretch(k)
	s.Attention = 1
	if s.Factor > 1 && s.OriginalPosition > 1 {
		s.Attention = math.Sqrt(1 + math.Log(s.Factor)/math.Log(float64(s.OriginalPosition)))
	}
	s.Attention = k.positiveOr("attention_factor", s.Attention)
	s.Lists = &RopeFactors{Short: k.factors("short_factor", dim/2), Long: k.factors("long_factor", dim/2)}
}

// factors reads a list of n positive numbers.
func (c *config) factors(key string, n int) []float64 {
	var raw []json.RawMessage
	list := make([]float64, 0, n)
	ok := c.has(key) && pyjson.Unmarshal(c.keys[key], &raw) == nil && len(raw) == n
	for _, r := range raw {
		f, is := number(r)
		ok = ok && is && f > 0
		list = append(list, f)
	}
	if !ok {
		c.problem("%s%s = %s: want %d positive numbers, one for every pair of columns", c.within, key, abridged(c.keys[key]), n)
		return slices.Repeat([]float64{1}, n)
	}
	return list
}
