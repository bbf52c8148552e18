package adapter_test

import (
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/heal/adapter"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// TestSomeLayers: an adapter of some layers, or of some maps in some of them, says so
// in PEFT's words, counted as the kept layers are, and is read again.
func TestSomeLayers(t *testing.T) {
	g := testkit.Golden(t, "llama")
	s := spec(t, g.Checkpoint)
	if s.Layers < 4 {
		t.Skip("the golden has too few layers")
	}
	kept := []int{0, 2, 3}
	for name, c := range map[string]struct {
		adapted    func(w model.Weight) bool
		names      []string
		layers     []int
		expression string
	}{
		"all layers":  {func(w model.Weight) bool { return w.Role == model.Query }, []string{"q_proj"}, nil, ""},
		"some layers": {func(w model.Weight) bool { return w.Layer != 0 && w.Role == model.Query }, []string{"q_proj"}, []int{1, 2}, ""},
		"some maps": {
			func(w model.Weight) bool {
				return w.Layer == 2 && w.Role == model.Query || w.Layer == 3 && w.Role == model.Value
			}, nil, nil,
			`model\.layers\.1\.self_attn\.q_proj|model\.layers\.2\.self_attn\.v_proj`,
		},
	} {
		var adapted []model.Weight
		a := &adapter.Adapter{}
		for _, layer := range kept {
			for _, w := range s.LayerWeights(layer) {
				if c.adapted(w) && len(w.Shape) == 2 {
					adapted = append(adapted, w)
					a.Pairs = append(a.Pairs, adapter.Pair{Weight: w, Rank: 2, Scale: 2, A: make([]float32, 2*w.Shape[1]), B: make([]float32, 2*w.Shape[0])})
				}
			}
		}
		a.Config = adapter.NewConfig("base", 2, 4, 0, false, s, kept, adapted)
		if got := a.Config; !slices.Equal(got.Targets.Names, c.names) || !slices.Equal(got.Layers, c.layers) || got.Targets.Expression != c.expression {
			t.Errorf("%s: target_modules %v %q, layers_to_transform %v", name, got.Targets.Names, got.Targets.Expression, got.Layers)
		}
		dir := t.TempDir()
		if err := a.Write(dir, s.Renamer(kept)); err != nil {
			t.Fatal(err)
		}
		again, err := adapter.Read(dir, s, kept)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, p := range again.Pairs {
			if p.Weight.Name != adapted[i].Name || p.Scale != 2 {
				t.Errorf("%s: pair %d is of %s, scale %g", name, i, p.Weight.Name, p.Scale)
			}
		}
		if len(again.Pairs) != len(adapted) {
			t.Errorf("%s: %d pairs, want %d", name, len(again.Pairs), len(adapted))
		}
	}
}

// TestBesideVision: maps of the same names in a model that sees are left out.
func TestBesideVision(t *testing.T) {
	s := spec(t, testkit.Golden(t, "llama").Checkpoint)
	for name, want := range map[string]any{"model.layers.0.self_attn.q_proj.weight": nil, "model.language_model.layers.0.self_attn.q_proj.weight": ".*vision_tower.*"} {
		c := adapter.NewConfig("base", 2, 4, 0, false, s, []int{0, 1}, []model.Weight{{Name: name, Shape: []int{4, 4}}})
		if c.ExcludeModules != want {
			t.Errorf("%s: exclude_modules %v, want %v", name, c.ExcludeModules, want)
		}
	}
}
