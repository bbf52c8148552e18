package prune_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
)

func writePlan(t *testing.T, p prune.Plan) string {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a plan says of where it is from is written and read back.
func TestProvenance(t *testing.T) {
	c, spec := open(t, testkit.Llama(t, testkit.Options{}))
	plan, err := prune.New(spec, []int{1, 3}, "bi on a text")
	if err != nil {
		t.Fatal(err)
	}
	plan.Metric, plan.Data, plan.DataHash = "bi", "a text", "0123"
	plan.Scores = prune.ScoresOf([]float64{.1, .2, .3, math.NaN(), .5, .6, .7, .8})
	out := filepath.Join(t.TempDir(), "out")
	if _, err := prune.Write(t.Context(), c, spec, plan, out, prune.Options{SourceName: "org/some-model", Version: "v1.2.3"}); err != nil {
		t.Fatal(err)
	}
	got, err := prune.ReadPlan(filepath.Join(out, prune.PlanFile))
	if err != nil {
		t.Fatal(err)
	}
	hash, err := c.Hash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Model != "org/some-model" || got.ModelHash != hash || got.Version != "v1.2.3" || got.Metric != "bi" || got.Data != "a text" || got.DataHash != "0123" || got.Origin != nil {
		t.Errorf("provenance %+v", got.Provenance)
	}
	if len(got.Scores) != 8 || got.Scores[1] != .2 || !math.IsNaN(float64(got.Scores[3])) {
		t.Errorf("scores %v", got.Scores)
	}
	if err := got.IsFor(hash); err != nil {
		t.Error(err)
	}
}

// A plan of another model is refused, by its size or by its hash, and says how to
// cut the same layers; one that does not say fits by its layers.
func TestPlanOfAnotherModel(t *testing.T) {
	c, spec := open(t, testkit.Llama(t, testkit.Options{}))
	plan, err := prune.New(spec, []int{1}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*prune.Plan)
		want   string
	}{
		"as it was":  {func(*prune.Plan) {}, ""},
		"of old":     {func(p *prune.Plan) { p.ParametersBefore, p.Parameters = 0, 0 }, ""},
		"parameters": {func(p *prune.Plan) { p.ParametersBefore++ }, "the plan is for a model of 398401 parameters, and this one has 398400; to cut the same layers of it, keep 0,2-7"},
		"hash":       {func(p *prune.Plan) { p.Model, p.ModelHash = "org/other", strings.Repeat("ab", 32) }, "the plan is for org/other (hash abababababab), and this model is another"},
		"origin":     {func(p *prune.Plan) { p.Origin = &prune.Origin{Layers: 9, Keep: []int{1}} }, "origin: keeps 1 layers, and the plan 7"},
		"scores":     {func(p *prune.Plan) { p.Scores = []prune.Score{1} }, "scores: 1 of them for 8 layers"},
	} {
		changed := plan
		tt.change(&changed)
		read, err := prune.ReadPlan(writePlan(t, changed))
		if err == nil {
			_, err = prune.Write(t.Context(), c, spec, read, filepath.Join(t.TempDir(), "out"), prune.Options{})
		}
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// Pruned twice, plan and card go back to the first model.
func TestChainOfPrunings(t *testing.T) {
	dir := testkit.Llama(t, testkit.Options{})
	first, _ := cut(t, dir, []int{1, 3}, prune.Options{SourceName: "org/first"})
	c, err := checkpoint.Open(first.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := prune.New(m.Spec, []int{0, 3}, "by hand")
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := prune.Write(t.Context(), c, m.Spec, plan, out, prune.Options{SourceName: "my 'model'"}); err != nil {
		t.Fatal(err)
	}
	got, err := prune.ReadPlan(filepath.Join(out, prune.PlanFile))
	if err != nil {
		t.Fatal(err)
	}
	// 0,2,4-7 were left, and of those 1, 2, 4 and 5 are.
	if o := got.Origin; o == nil || o.Model != "org/first" || o.Layers != 8 || !slices.Equal(o.Keep, []int{2, 4, 6, 7}) || len(o.ModelHash) != 64 {
		t.Fatalf("origin %+v", got.Origin)
	}
	for _, tt := range []struct {
		hash string
		keep []int
		want prune.Measured
	}{
		{got.ModelHash, []int{1, 2, 4, 5}, prune.After}, {got.Origin.ModelHash, []int{2, 4, 6, 7}, prune.After},
		{got.ModelHash, nil, prune.Before}, {got.Origin.ModelHash, nil, prune.Before}, {got.ModelHash, []int{0, 1, 2, 3, 4, 5}, prune.Before},
		{got.ModelHash, []int{0, 1, 2, 3}, prune.Another}, {"other", nil, prune.Another}, {"", nil, prune.Another},
	} {
		if is := got.Of(tt.hash, tt.keep); is != tt.want {
			t.Errorf("results on %v of %.6s are %v, want %v", tt.keep, tt.hash, is, tt.want)
		}
	}
	before, err := prune.PlanOf(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		layers int
		keep   []int
		before *prune.Plan
		want   bool
	}{
		{6, []int{1, 2, 4, 5}, nil, true}, {6, []int{1, 2, 4, 5}, &before, true}, {8, []int{2, 4, 6, 7}, nil, true}, {4, []int{0, 1, 2, 3}, &got, true},
		{4, []int{0, 1, 2, 3}, nil, false}, {8, []int{1, 2, 4, 5}, nil, false}, {6, []int{0, 1, 2, 3, 4, 5}, &before, false}, {4, []int{0, 1, 2}, &got, false},
	} {
		if is := got.Leaves(tt.layers, tt.keep, tt.before); is != tt.want {
			t.Errorf("leaves %v of %d: %v, want %v", tt.keep, tt.layers, is, tt.want)
		}
	}
	raw, err := os.ReadFile(filepath.Join(out, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"base_model: \"org/first\"\n", "`my 'model'` was itself pruned: all began with `org/first`, of whose 8 layers these are 2,4,6-7.",
		"in the numbering of `my 'model'`", `coppice prune 'my '\''model'\''' --keep 1-2,4-5 --out DIR`, `AutoModelForCausalLM.from_pretrained("PATH", torch_dtype="auto")`, "licence"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the card lacks %q:\n%s", want, raw)
		}
	}
}
