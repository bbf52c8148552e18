package prune

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/google/go-cmp/cmp"
)

// testSpec is a Llama of eight layers.
func testSpec(t *testing.T) *model.Spec {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(testkit.Llama(t, testkit.Options{}), "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	spec, err := model.ParseConfig(raw)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestNew(t *testing.T) {
	spec := testSpec(t)
	got, err := New(spec, []int{6, 1}, "--drop 1,6")
	if err != nil {
		t.Fatal(err)
	}
	want := Plan{
		Layers: 8, Keep: []int{0, 2, 3, 4, 5, 7}, Drop: []int{1, 6}, Source: "--drop 1,6",
		Parameters: spec.Parameters() - 2*spec.LayerParameters(), ParametersBefore: spec.Parameters(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name string
		drop []int
		want string
	}{
		{"all", []int{0, 1, 2, 3, 4, 5, 6, 7}, "cannot drop all 8 layers"},
		{"absent", []int{8}, "layer 8 does not exist: the last layer is 7"},
		{"negative", []int{-1}, "layer -1 does not exist"},
		{"twice", []int{3, 3}, "layer 3 is named twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if p, err := New(spec, tt.drop, ""); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error with %q", p, err, tt.want)
			}
		})
	}
}

func TestPlanJSON(t *testing.T) {
	plan, err := New(testSpec(t), nil, "nothing")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), `"keep":[0,1,2,3,4,5,6,7],"drop":[]`) {
		t.Errorf("lists are not spelled out: %s", raw)
	}
	path := filepath.Join(t.TempDir(), "plan.json")
	file, err := planFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{raw, file} {
		if err := os.WriteFile(path, content, 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := ReadPlan(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(plan, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestReadPlan(t *testing.T) {
	got, err := parsePlan([]byte(`{"layers": 4, "keep": [0, 2]}`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Plan{Layers: 4, Keep: []int{0, 2}, Drop: []int{1, 3}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tt := range []struct{ name, in, want string }{
		{"not JSON", `keep: 3`, "want one JSON object"},
		{"a list", `[1]`, "want one JSON object"},
		{"truncated", `{"layers": 4, "keep": [0`, "keep"},
		{"unknown key", `{"layers": 4, "keeps": [0]}`, `unknown key "keeps"; did you mean "keep"?`},
		{"case", `{"layers": 4, "Keep": [0]}`, `unknown key "Keep"; did you mean "keep"?`},
		{"twice", `{"layers": 4, "keep": [0], "keep": [1]}`, `"keep" is given twice`},
		{"two objects", `{"layers": 4, "keep": [0]} {"type": "written"}`, "more than one JSON object"},
		{"another type", `{"type": "ranking"}`, `type = "ranking": this is not a plan`},
		{"no layers", `{"keep": [0]}`, `"layers" is missing`},
		{"no keep", `{"layers": 4, "drop": [0]}`, `"keep" is missing`},
		{"empty keep", `{"layers": 1, "keep": []}`, "keep is empty"},
		{"null", `{"layers": 4, "keep": null}`, "keep is null"},
		{"wrong type", `{"layers": "4", "keep": [0]}`, `layers = "4": want a whole number`},
		{"fraction", `{"layers": 4, "keep": [0.5]}`, "want a list of whole numbers"},
		{"out of range", `{"layers": 4, "keep": [4]}`, "keep: layer 4 does not exist: the last layer is 3"},
		{"no layer", `{"layers": 0, "keep": [0]}`, "layers = 0"},
		{"a flood of layers", `{"layers": 1000000000000, "keep": [0]}`, "layers = 1000000000000"},
		{"repeated layer", `{"layers": 4, "keep": [1, 1]}`, "layer 1 is named twice"},
		{"order", `{"layers": 4, "keep": [2, 0]}`, "want ascending layers"},
		{"contradiction", `{"layers": 4, "keep": [0, 1], "drop": [3]}`, "it would be [2 3]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if p, err := parsePlan([]byte(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, %v; want an error with %q", p, err, tt.want)
			}
		})
	}
	if _, err := ReadPlan(filepath.Join(t.TempDir(), "absent.json")); !os.IsNotExist(err) {
		t.Errorf("absent file: %v", err)
	}
}

func FuzzParsePlan(f *testing.F) {
	f.Add([]byte(`{"type":"plan","layers":4,"keep":[0,2],"drop":[1,3],"source":"x"}`))
	f.Add([]byte(`{"layers":4,"keep":[0,2]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := parsePlan(raw)
		if err != nil {
			return
		}
		if len(p.Keep)+len(p.Drop) != p.Layers || len(p.Keep) == 0 {
			t.Fatalf("%s is accepted as %+v", raw, p)
		}
	})
}
