package prune_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
	"github.com/google/go-cmp/cmp"
)

func open(t *testing.T, dir string) (*checkpoint.Checkpoint, *model.Spec) {
	t.Helper()
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, m.Spec
}

// cut drops layers from the checkpoint in dir and opens the result.
func cut(t *testing.T, dir string, drop []int, opt prune.Options) (*checkpoint.Checkpoint, *model.Spec) {
	t.Helper()
	c, spec := open(t, dir)
	plan, err := prune.New(spec, drop, "a test")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := prune.Write(context.Background(), c, spec, plan, out, opt); err != nil {
		t.Fatal(err)
	}
	return open(t, out)
}

func data(t *testing.T, c *checkpoint.Checkpoint, name string) []byte {
	t.Helper()
	raw, err := c.Data(name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func names(c *checkpoint.Checkpoint) []string {
	var out []string
	for _, t := range c.Tensors() {
		out = append(out, t.Name)
	}
	return out
}

// The goldens hold the SHA-256 of every parameter of a checkpoint without layers 1 and
// 3, and its config, in which nothing but the number of layers is changed. Buffers
// are not among them.
func TestGoldenPruned(t *testing.T) {
	alsoChanged := map[string]map[string]any{
		"qwen2":        {"max_window_layers": 1.},
		"qwen2_window": {"max_window_layers": 1.},
		"qwen3":        {"max_window_layers": 4.},
		"qwen3_yarn":   {"max_window_layers": 2.},
		"smollm3":      {"max_window_layers": 2., "no_rope_layers": []any{1., 0.}},
		"gemma3_text":  {"layer_types": []any{"sliding_attention", "full_attention"}},
		"gemma2":       {"layer_types": []any{"sliding_attention", "sliding_attention", "sliding_attention", "full_attention"}},
	}
	for _, family := range testkit.AllGoldens(t) {
		t.Run(family, func(t *testing.T) {
			g := testkit.Golden(t, family)
			got := goldenBytes(t, g)
			var wantConfig, gotConfig map[string]any
			g.Decode(t, &wantConfig, "pruned_1_3", "config")
			maps.Copy(wantConfig, alsoChanged[g.Family])
			if err := json.Unmarshal(got.Config(), &gotConfig); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wantConfig, gotConfig); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

// goldenBytes prunes a golden's checkpoint and compares every tensor's bytes.
func goldenBytes(t *testing.T, g *testkit.Goldens) *checkpoint.Checkpoint {
	t.Helper()
	got, _ := cut(t, g.Checkpoint, []int{1, 3}, prune.Options{})
	var want map[string]string
	g.Decode(t, &want, "pruned_1_3", "sha256")
	for name, sum := range want {
		hash := sha256.Sum256(data(t, got, name))
		if hex.EncodeToString(hash[:]) != sum {
			t.Errorf("%s: other bytes than the golden's", name)
		}
	}
	for _, name := range names(got) {
		if _, ok := want[name]; !ok && !strings.HasSuffix(name, "inv_freq") {
			t.Errorf("%s should not be there", name)
		}
	}
	return got
}

// Checkpoints that nobody has seen before, of other sizes.
func TestFreshPruned(t *testing.T) {
	testkit.Slow(t)
	for i, family := range testkit.Families(t) {
		t.Run(family, func(t *testing.T) { goldenBytes(t, testkit.Fresh(t, family, 200+i, "B")) })
	}
}

// A layer's buffers are renamed along with it, and none of a dropped layer stays.
func TestBuffersGoAlong(t *testing.T) {
	g := testkit.Golden(t, "vicuna")
	before, _ := open(t, g.Checkpoint)
	after, spec := cut(t, g.Checkpoint, []int{1, 3}, prune.Options{})
	for i, from := range []string{"0", "2", "4", "5"} {
		const buffer = ".self_attn.rotary_emb.inv_freq"
		to := "model.layers." + string(rune('0'+i)) + buffer
		if !bytes.Equal(data(t, after, to), data(t, before, "model.layers."+from+buffer)) {
			t.Errorf("%s does not hold layer %s's bytes", to, from)
		}
	}
	if n := strings.Count(strings.Join(names(after), " "), "inv_freq"); n != spec.Layers {
		t.Errorf("%d buffers for %d layers", n, spec.Layers)
	}
}

func TestDropNothing(t *testing.T) {
	for _, shards := range []int{1, 3} {
		dir := testkit.Llama(t, testkit.Options{Layers: 4, Shards: shards})
		before, _ := open(t, dir)
		after, _ := cut(t, dir, nil, prune.Options{})
		if !bytes.Equal(before.Config(), after.Config()) {
			t.Error("config.json changed")
		}
		if diff := cmp.Diff(names(before), names(after)); diff != "" {
			t.Errorf("tensors (-before +after):\n%s", diff)
		}
		for _, f := range before.Files() {
			was, err := os.ReadFile(filepath.Join(before.Dir(), f.Name))
			if err != nil {
				t.Fatal(err)
			}
			is, err := os.ReadFile(filepath.Join(after.Dir(), f.Name))
			if err != nil {
				t.Fatal(err)
			}
			if f.Role == checkpoint.RoleWeights && !bytes.Equal(was, is) {
				t.Errorf("%s changed", f.Name)
			}
		}
	}
}

func TestShardedEqualsUnsharded(t *testing.T) {
	drop := []int{0, 3, 5}
	one, _ := cut(t, testkit.Llama(t, testkit.Options{AttnBias: true}), drop, prune.Options{})
	for _, shards := range []int{2, 3, 7} {
		many, _ := cut(t, testkit.Llama(t, testkit.Options{AttnBias: true, Shards: shards}), drop, prune.Options{})
		if diff := cmp.Diff(names(one), names(many)); diff != "" {
			t.Fatalf("%d shards: tensors (-one +many):\n%s", shards, diff)
		}
		for _, name := range names(one) {
			if !bytes.Equal(data(t, one, name), data(t, many, name)) {
				t.Errorf("%d shards: %s differs", shards, name)
			}
		}
		if !bytes.Equal(one.Config(), many.Config()) {
			t.Errorf("%d shards: config.json differs", shards)
		}
	}
}

// Dropping in two steps is dropping at once.
func TestTwoSteps(t *testing.T) {
	dir := testkit.Llama(t, testkit.Options{})
	once, _ := cut(t, dir, []int{2, 3, 6}, prune.Options{})
	first, _ := cut(t, dir, []int{2}, prune.Options{})
	twice, _ := cut(t, first.Dir(), []int{2, 5}, prune.Options{})
	for _, name := range names(once) {
		if !bytes.Equal(data(t, once, name), data(t, twice, name)) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestMeasure(t *testing.T) {
	c, spec := open(t, testkit.Llama(t, testkit.Options{}))
	plan, err := prune.New(spec, []int{2, 4}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Measure(c); err != nil {
		t.Fatal(err)
	}
	if plan.BytesBefore != 2*plan.ParametersBefore || plan.Bytes != 2*plan.Parameters { // bfloat16
		t.Errorf("bytes %d -> %d for parameters %d -> %d", plan.BytesBefore, plan.Bytes, plan.ParametersBefore, plan.Parameters)
	}
	other := prune.Plan{Layers: 9, Keep: []int{0}, Drop: []int{1, 2, 3, 4, 5, 6, 7, 8}}
	if err := other.Measure(c); err == nil || !strings.Contains(err.Error(), "for a model of 9 layers, and this one has 8") {
		t.Errorf("another model's plan: %v", err)
	}
}

func TestCardAndPlanFile(t *testing.T) {
	dir := testkit.Llama(t, testkit.Options{})
	old := "---\r\nlicense: llama3.1\r\nlanguage:\r\n- en\r\n- de\r\nextra_gated_prompt: >-\r\n  license: no\r\ntags:\r\n- facebook\r\n---\r\n# A model\r\nlicense: mit\r\n"
	if err := os.WriteFile(filepath.Join(dir, "README.md"), []byte(old), 0o666); err != nil {
		t.Fatal(err)
	}
	got, _ := cut(t, dir, []int{1, 3}, prune.Options{SourceName: "org/some-model", Version: "v0.1.0"})
	raw, err := os.ReadFile(filepath.Join(got.Dir(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	card := string(raw)
	if want := "---\nbase_model: \"org/some-model\"\nlicense: llama3.1\nlanguage:\n- en\n- de\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- pruned\n- layer-pruning\n- coppice\n---\n"; !strings.HasPrefix(card, want) {
		t.Errorf("front matter:\n%s", card)
	}
	for _, want := range []string{"# org/some-model, 6 of 8 layers", "2 whole layers removed", " v0.1.0", "- dropped: 1,3\n", "- kept: 0,2,4-7\n",
		"chosen by: a test", "coppice prune org/some-model --keep 0,2,4-7 --out DIR"} {
		if !strings.Contains(card, want) {
			t.Errorf("the card lacks %q:\n%s", want, card)
		}
	}
	plan, err := prune.ReadPlan(filepath.Join(got.Dir(), prune.PlanFile))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(plan.Keep, []int{0, 2, 4, 5, 6, 7}) || plan.Bytes == 0 || plan.Parameters == 0 {
		t.Errorf("the plan file holds %+v", plan)
	}
}

func TestCardOfPath(t *testing.T) {
	got, _ := cut(t, testkit.Llama(t, testkit.Options{}), []int{7}, prune.Options{})
	raw, err := os.ReadFile(filepath.Join(got.Dir(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if card := string(raw); strings.Contains(card, "base_model") || !strings.Contains(card, "# model, 7 of 8 layers") || !strings.Contains(card, "1 whole layer removed") {
		t.Errorf("card:\n%s", card)
	}
}

func TestWriteRejects(t *testing.T) {
	c, spec := open(t, testkit.Llama(t, testkit.Options{}))
	out := filepath.Join(t.TempDir(), "out")
	for _, tt := range []struct {
		name string
		plan prune.Plan
		want string
	}{
		{"zero", prune.Plan{}, "layers = 0"},
		{"another model's", prune.Plan{Layers: 2, Keep: []int{0}, Drop: []int{1}}, "for a model of 2 layers"},
		{"reordered", prune.Plan{Layers: 8, Keep: []int{1, 0}, Drop: []int{2, 3, 4, 5, 6, 7}}, "ascending"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := prune.Write(context.Background(), c, spec, tt.plan, out, prune.Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if _, err := os.Stat(out); !os.IsNotExist(err) {
				t.Errorf("something was written: %v", err)
			}
		})
	}
}
