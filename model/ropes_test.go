package model

import (
	"math"
	"testing"
)

// The factors that transformers 5.17 takes from keys of scaled rotary embeddings.
func TestScaledRope(t *testing.T) {
	yarn := func(more map[string]any) map[string]any {
		c := map[string]any{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "rope_theta": 10000.0}
		for k, v := range more {
			c[k] = v
		}
		return c
	}
	for name, c := range map[string]struct {
		scaling map[string]any
		want    float64 // by which cosines and sines are multiplied
	}{
		"yarn":             {yarn(nil), 0.1*math.Log(4) + 1},
		"attention_factor": {yarn(map[string]any{"attention_factor": 1.5, "mscale": 3.0, "mscale_all_dim": 2.0}), 1.5},
		"mscale":           {yarn(map[string]any{"mscale": 1.0, "mscale_all_dim": 0.5}), (0.1*math.Log(4) + 1) / (0.05*math.Log(4) + 1)},
		"mscale alone":     {yarn(map[string]any{"mscale": 0.5}), 0.1*math.Log(4) + 1},
		"factor below 1":   {yarn(map[string]any{"factor": 0.5}), 1},
		"dynamic":          {map[string]any{"type": "dynamic", "factor": 2.0}, 1},
	} {
		s := parse(t, published(t, "llama-3.1-8b"), map[string]any{"rope_scaling": c.scaling, "rope_theta": 10000.0})
		if got := s.Rope.Magnitude(); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%s: %g, want %g", name, got, c.want)
		}
	}
	phi := parse(t, published(t, "phi-4-mini"), nil)
	if got, want := phi.Rope.Magnitude(), math.Sqrt(1+math.Log(32)/math.Log(4096)); math.Abs(got-want) > 1e-12 {
		t.Errorf("longrope: %g, want %g", got, want)
	}
	if phi.Rope.Dim != 96 || phi.RopeChoice(4096) != 0 || phi.RopeChoice(4097) != 1 || !phi.RopeRestarts(4096, 4097) || phi.RopeRestarts(4097, 5000) {
		t.Errorf("longrope: %d columns, choices %d and %d", phi.Rope.Dim, phi.RopeChoice(4096), phi.RopeChoice(4097))
	}
}

// Layers of a pruned model rotate as they did, and say so in its config.
func TestPrunedRopes(t *testing.T) {
	for name, keep := range map[string][]int{"gemma-3-1b": {1, 4, 5, 6, 11, 25}, "smollm3-3b": {0, 3, 4, 5, 7}} {
		for _, absent := range []string{"", "no_rope_layers"} {
			raw := edit(t, published(t, name), map[string]any{absent: nil})
			before := parse(t, string(raw), nil)
			pruned, err := before.PruneConfig(raw, keep)
			if err != nil {
				t.Fatal(err)
			}
			after := parse(t, string(pruned), nil)
			for i, l := range keep {
				if after.RopeOf(i) != before.RopeOf(l) || after.Window(i) != before.Window(l) {
					t.Errorf("%s: layer %d, once %d: %+v, window %d, want %+v, %d", name, i, l, after.RopeOf(i), after.Window(i), before.RopeOf(l), before.Window(l))
				}
			}
			if before.PruneNote(keep) == "" {
				t.Errorf("%s: no word of llama.cpp", name)
			}
		}
	}
}
