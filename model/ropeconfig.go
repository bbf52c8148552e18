package model

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// rope reads theta and scaling from both places where transformers has kept
// them: rope_theta and rope_scaling, and rope_parameters, which holds both.
func (c *config) rope(dim int, defaultTheta float64) Rope {
	k := c.nested("rope_scaling", "rope_parameters")
	r := Rope{Dim: dim, Theta: k.numberOr("rope_theta", defaultTheta)}
	if c.has("rope_theta") {
		top := c.numberOr("rope_theta", r.Theta)
		if k.has("rope_theta") && r.Theta != top {
			c.problem("rope_theta = %g at the top level but %g in rope_parameters", top, r.Theta)
		}
		r.Theta = top
	}
	if r.Theta <= 0 {
		c.problem("rope_theta = %g: want a positive number", r.Theta)
	}
	partial := c.numberOr("partial_rotary_factor", k.numberOr("partial_rotary_factor", 1))
	if partial != 1 {
		c.cannotRun("partial_rotary_factor = %g: rotary embeddings of a part of each head", partial)
	}
	r.Scaling = k.ropeScaling()
	c.problems, c.unknown = append(c.problems, k.problems...), append(c.unknown, k.unknown...)
	return r
}

// nested reads objects of the config as one, of which the last counts most.
func (c *config) nested(keys ...string) *config {
	in := &config{keys: make(map[string]json.RawMessage)}
	for _, key := range keys {
		if !c.has(key) {
			continue
		}
		in.within = key + "."
		values, err := keysOf(c.keys[key])
		if err != nil {
			c.problem("%s = %s: want an object in braces", key, abridged(c.keys[key]))
		}
		for _, name := range slices.Sorted(maps.Keys(values)) {
			if values[name][0] == '{' {
				c.cannotRun("%s has rotary embeddings of their own for %q: all layers of a %s have the same", key, name, c.name)
			}
		}
		maps.Copy(in.keys, values)
	}
	return in
}

// ropeScaling reads the fields of rope_scaling. Those that a kind does not have
// are left alone, as its reference does.
func (c *config) ropeScaling() RopeScaling {
	kind := c.stringOr("rope_type", c.stringOr("type", ""))
	s := RopeScaling{Kind: kind}
	switch kind {
	case "", "default":
		return RopeScaling{}
	case "linear":
		s.Factor = c.numberOr("factor", 0)
		if s.Factor <= 0 {
			c.problem("%sfactor = %g: want a positive number", c.within, s.Factor)
		}
	case "llama3":
		s.Factor, s.LowFreq, s.HighFreq = c.numberOr("factor", 0), c.numberOr("low_freq_factor", 0), c.numberOr("high_freq_factor", 0)
		if c.has("original_max_position_embeddings") {
			s.OriginalPosition = c.countOr("original_max_position_embeddings", 0)
		}
		if s.Factor <= 0 || s.LowFreq <= 0 || s.HighFreq <= s.LowFreq || s.OriginalPosition <= 0 {
			c.problem("%s of type llama3: factor = %g, low_freq_factor = %g, high_freq_factor = %g, original_max_position_embeddings = %d: want positive numbers and high above low",
				strings.TrimSuffix(c.within, "."), s.Factor, s.LowFreq, s.HighFreq, s.OriginalPosition)
		}
	default:
		c.cannotRun("rope_scaling type %q is not supported; known types: default, linear, llama3", kind)
	}
	return s
}
