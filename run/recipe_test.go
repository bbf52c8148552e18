package run

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/stage"
)

var update = flag.Bool("update", false, "rewrite the schema of recipes")

// TestSchema: docs/recipe.schema.json is what the structs say.
func TestSchema(t *testing.T) {
	raw, err := json.MarshalIndent(Schema(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const path = "../docs/recipe.schema.json"
	if *update {
		if err := os.WriteFile(path, append(raw, '\n'), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != string(raw)+"\n" {
		t.Errorf("%s is not what the structs say: go test ./run -run Schema -update", path)
	}
}

// TestSchemaTells: every key of a recipe is described.
func TestSchemaTells(t *testing.T) {
	var look func(at string, s any)
	look = func(at string, s any) {
		switch s := s.(type) {
		case []map[string]any:
			for _, one := range s {
				look(at, one)
			}
		case map[string]any:
			properties, _ := s["properties"].(map[string]any)
			for name, p := range properties {
				if at != "matrix" && at != "heal.between" && p.(map[string]any)["description"] == nil {
					t.Errorf("%s.%s has no description", at, name)
				}
				look(strings.TrimPrefix(at+"."+name, "."), p)
			}
			look(at, s["anyOf"])
			look(at, s["items"])
			look(at, s["additionalProperties"])
		}
	}
	look("", Schema())
}

// names are those of a recipe's trials.
func names(t *testing.T, l *Loaded) (out []string) {
	t.Helper()
	trials, err := l.Trials()
	if err != nil {
		t.Fatal(err)
	}
	for _, trial := range trials {
		if err := trial.check(); err != nil {
			t.Error(err)
		}
		out = append(out, trial.Name)
	}
	return out
}

// TestBlamed: a stage's fields are named as the recipe's keys.
func TestBlamed(t *testing.T) {
	err := blamed("prune", stage.Bench{Shape: stage.BenchShapes()[0], What: stage.BenchWhats()[0]}.Check())
	if err == nil || !strings.Contains(err.Error(), "prune.rounds 0") || blamed("prune", nil) != nil {
		t.Errorf("error %v", err)
	}
}

// TestShipped: every recipe that comes with Coppice expands, and is the same when it
// is read from what it was resolved to.
func TestShipped(t *testing.T) {
	counts := map[string]int{"guide": 1, "sapling": 1, "metrics": 4 * (1 + 2*11), "healing": 21, "control": 21, "iterative": 6, "curve": 5, "cost": 5,
		"metrics-half": 4 * 2 * 11, "healing-half": 21, "calibration": 4 * 3 * 5, "sota": 9, "samples": 1, "sweep": 40, "depth": 8, "budget": 7, "efficiency": 1, "similarity": 6, "data": 4, "reasoning": 3}
	for _, name := range Shipped() {
		l, err := Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := names(t, l)
		if len(got) != counts[name] {
			t.Errorf("%s: %d trials, want %d: %q", name, len(got), counts[name], got)
		}
		if l.Recipe.Name != name || l.Recipe.About == "" {
			t.Errorf("%s: called %q, about %q", name, l.Recipe.Name, l.Recipe.About)
		}
		raw, err := l.YAML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Load(file(t, string(raw)))
		if err != nil {
			t.Errorf("%s, resolved: %v", name, err)
			continue
		}
		if diff := cmp.Diff(got, names(t, again)); diff != "" {
			t.Errorf("%s, resolved: %s", name, diff)
		}
		a, _ := l.Trials()
		b, _ := again.Trials()
		for i := range a {
			if diff := cmp.Diff(a[i].Settings, b[i].Settings); diff != "" {
				t.Errorf("%s, resolved, trial %s: %s", name, a[i].Name, diff)
			}
		}
	}
}

// file writes a recipe and returns its path.
func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestExpand: the rules of recipes, one by one.
func TestExpand(t *testing.T) {
	const head = "coppice: 1\nextends: guide\nmodels: [a/m]\nmeasure: none\n"
	for _, c := range []struct {
		what, text string
		check      func(t *testing.T, trials []Trial)
	}{
		{"an overlay of another method leaves the former's keys", "matrix: {how: [{name: lora, heal: {method: lora}}, {name: steps, heal: {steps: 5}}]}", func(t *testing.T, trials []Trial) {
			if h := trials[0].Settings.Heal; h.Method != "lora" || value(value(trials[0].node, "heal"), "last") != nil || h.Epochs != 2 || h.LR != 1e-5 {
				t.Errorf("lora: %+v", h)
			}
			if h := trials[1].Settings.Heal; h.Last != 3 || h.Steps != 5 || value(value(trials[1].node, "heal"), "epochs") != nil {
				t.Errorf("steps: %+v", h)
			}
		}},
		{"counts and ratios replace each other", "matrix: {n: [{name: four, prune: {count: 4}}, {name: listed, prune: {drop: 3-4}}]}", func(t *testing.T, trials []Trial) {
			if p := trials[0].Settings.Prune; p.Count != 4 || p.Ratio != 0 || p.By != "reverse" {
				t.Errorf("count: %+v", p)
			}
			if p := trials[1].Settings.Prune; p.Drop != "3-4" || p.Ratio != 0 || p.By != "" {
				t.Errorf("drop: %+v", p)
			}
		}},
		{"numbers as people write them", "matrix: {lr: {set: heal.lr, values: [1e-5, 1E-4]}}", func(t *testing.T, trials []Trial) {
			if trials[0].Settings.Heal.LR != 1e-5 || trials[1].Settings.Heal.LR != 1e-4 || trials[1].Name != "m/lr=1E-4" {
				t.Errorf("%s %v, %s %v", trials[0].Name, trials[0].Settings.Heal.LR, trials[1].Name, trials[1].Settings.Heal.LR)
			}
		}},
		{"none removes a stage, and nothing is set in it", "matrix: {m: [{name: dense, prune: none, heal: none}], lr: {set: heal.lr, values: [1e-5]}}", func(t *testing.T, trials []Trial) {
			if s := trials[0].Settings; s.Prune != nil || s.Heal != nil || s.Measure != nil {
				t.Errorf("%+v", s)
			}
		}},
		{"seeds make trials", "matrix: {metric: [reverse, {name: random, prune: {by: random}, seeds: [1, 2]}]}", func(t *testing.T, trials []Trial) {
			if len(trials) != 3 || trials[2].Name != "m/random/seed-2" || trials[2].Seed != 2 {
				t.Errorf("%+v", trials)
			}
		}},
		{"exclude by what a value is", "matrix: {metric: [bi, ppl], lr: {set: heal.lr, values: [0.0001, 1e-5]}}\nexclude: [{metric: bi, lr: 1e-4}]", func(t *testing.T, trials []Trial) {
			if len(trials) != 3 || trials[0].Name != "m/bi/lr=1e-5" {
				t.Errorf("%+v", trials)
			}
		}},
		{"axes that go along", "matrix: {metric: [bi, ppl], lr: {set: heal.lr, values: [1, 2]}}\nzip: [[metric, lr]]", func(t *testing.T, trials []Trial) {
			if len(trials) != 2 || trials[1].Name != "m/ppl/lr=2" {
				t.Errorf("%+v", trials)
			}
		}},
		{"include adds settings and combinations", "matrix: {metric: [bi, ppl]}\ninclude: [{metric: ppl, heal: {last: 1}}, {metric: taylor, prune: {by: taylor}}]", func(t *testing.T, trials []Trial) {
			if len(trials) != 3 || trials[0].Settings.Heal.Last != 3 || trials[1].Settings.Heal.Last != 1 || trials[2].Settings.Prune.By != "taylor" || trials[2].Name != "m/taylor" {
				t.Errorf("%+v", trials)
			}
		}},
	} {
		l, err := Load(file(t, head+c.text))
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		trials, err := l.Trials()
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		t.Run(c.what, func(t *testing.T) { c.check(t, trials) })
	}
}

// TestRefused: what is wrong is named with its place, and nothing is guessed.
func TestRefused(t *testing.T) {
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'j'; c++ {
		line := string(c) + ": &" + string(c) + " ["
		for range 10 {
			line += "*" + string(c-1) + ", "
		}
		bomb += line + "]\n"
	}
	for _, c := range []struct{ text, want string }{
		{"name: x", "coppice: 1, the version of the format, is missing"},
		{"coppice: 2", "line 1: format 2, and this version reads format 1"},
		{"coppice: 1\nheal: {lrr: 1}", "line 2, column 8: unknown key heal.lrr; did you mean lr?"},
		{"coppice: 1\nmatrix: {m: [{name: a, heel: none}]}", "line 2, column 24: unknown key heel; did you mean heal?"},
		{"coppice: 1\nheal: {lr: fast}", "line 2: `fast`: want a number"},
		{"coppice: 1\nscore: {per_metric: {ppl: {date: 1}}}", "unknown key score.per_metric.ppl.date; did you mean data?"},
		{"coppice: 1\nmatrix: {m: [{name: a/b}]}", `line 2, column 14: axis m: "a/b": a name has none of`},
		{"coppice: 1\nmatrix: {m: [{name: ..}]}", `axis m: ".."`},
		{"coppice: 1\nmatrix: {m: [{name: con.txt}]}", "device"},
		{"coppice: 1\nmatrix: {m: [{name: \"a\\u0007\"}]}", "control"},
		{"coppice: 1\nmatrix: {m: [{name: A}, {name: a}]}", `line 2, column 25: axis m: "A" and "a" would be one directory`},
		{"coppice: 1\nmatrix: {lr: [1, 2]}", "axis lr: want {name: …}"},
		{"coppice: 1\nmodels: [x/m, y/M]", `two are called "M"`},
		{"coppice: 1\nexclude: [{metrik: bi}]", "there is no axis metrik"},
		{"coppice: 1\nzip: [[a]]\nmodels: [m]", "zip: there is no axis a"},
		{"coppice: 1\nextends: guid", `there is no recipe "guid"`},
		{"coppice: 1\nextends: recipe.yaml", "recipe.yaml: extends itself: "},
		{"coppice: 1\nextends: none.yaml", "there is no such recipe"},
		{"coppice: 1\n" + bomb, "once aliases are written out"},
		{"coppice: 1\nmatrix: {m: [{name: a}]}\n---\ncoppice: 1", "more than one document"},
		{"", "is empty"},
		{"- 1", "a recipe is a mapping"},
		{"coppice: 1\nheal: {between: 3}", "between: want full, none, or {steps: N}"},
		{"coppice: 1\nname: x", "of which model?"},
		{"coppice: 1\nmodels: [m]\nmatrix: {metric: [bi]}\nexclude: [{metric: bi}]", "exclude leaves no trial"},
		{"coppice: 1\nmodels: [" + strings.Repeat("m, ", 400_000) + "]", "more than 1 MB"},
	} {
		l, err := Load(file(t, c.text))
		if err == nil {
			_, err = l.Trials()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v\nwant %q", c.text, err, c.want)
		}
		var own *Error
		if err != nil && !errors.As(err, &own) {
			t.Errorf("%.60q: %T", c.text, err)
		}
	}
}

// TestChanges: --set and models on the command line.
func TestChanges(t *testing.T) {
	guide, err := Load("guide")
	if err != nil {
		t.Fatal(err)
	}
	l, err := guide.With([]string{"./here", "org/there@main"}, []Change{{"heal.lr", "1e-3"}, {"prune.count", "4"}, {"measure.tasks", "[piqa]"}, {"curve", "{}"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := l.Recipe; r.Models[1].Name != "there" || r.Heal.LR != 1e-3 || r.Prune.Count != 4 || r.Prune.Ratio != 0 || r.Measure.Tasks[0] != "piqa" || r.Curve == nil {
		t.Errorf("%+v", r)
	}
	if guide.Recipe.Heal.LR != 1e-5 || guide.Recipe.Prune.Ratio != .25 {
		t.Error("the recipe itself was changed")
	}
	for change, want := range map[Change]string{
		{"heal.lrr", "1"}:  "unknown key heal.lrr; did you mean lr?",
		{"heal.lr", "x"}:   "want a number",
		{"heal.lr", "[1,"}: "no value of YAML",
	} {
		if _, err := guide.With(nil, []Change{change}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", change, err, want)
		}
	}
}

// TestBeside: what lies beside a recipe is found from anywhere, and does not hide what
// ships inside the program.
func TestBeside(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"sapling", "mine"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "recipe.yaml")
	if err := os.WriteFile(file, []byte("coppice: 1\nname: own\nextends: sapling\nmodels: [mine, \"sapling:model\"]\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	l, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if m := l.Recipe.Models; m[0].From != filepath.Join(dir, "mine") || m[1].From != "sapling:model" {
		t.Errorf("models %+v", m)
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"llama*/bi", "llama-3/bi/lr=1e-5", true}, {"llama*/bi", "llama-3/ppl/lr=1e-5", false}, {"*/*/lr=1e-4", "m/bi/lr=1e-4", true},
		{"m", "m/bi", true}, {"bi", "m/bi", false},
	} {
		if got, err := Matches(c.pattern, c.name); err != nil || got != c.want {
			t.Errorf("%s of %s: %v, %v", c.pattern, c.name, got, err)
		}
	}
}
