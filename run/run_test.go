package run

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coppice-ml/coppice/internal/sapling"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// world is a small model with data, tasks and an environment to run recipes in.
type world struct {
	dir   string
	env   stage.Env
	mu    sync.Mutex
	lines []report.Stage
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.env = stage.Env{Getenv: os.Getenv, Cache: t.TempDir(), Version: "test", Talk: stage.Silent{}}
	if err := testkit.WriteLlama(filepath.Join(w.dir, "model"), testkit.Options{Layers: 6, DType: "BF16", Tokenizer: true}); err != nil {
		t.Fatal(err)
	}
	words := strings.Fields("the tree was cut low and new wood grew from its old root in spring")
	var text, rows, docs strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, "%s %s %s %s %s %s %s %s\n", words[i%14], words[(i*3)%14], words[(i*5)%14], words[(i*7)%14], words[(i+4)%14], words[(i*2+1)%14], words[(i*9)%14], words[(i*11)%14])
		fmt.Fprintf(&rows, `{"prompt":"say %s","completion":" %s %s"}`+"\n", words[i%14], words[i%14], words[(i*5)%14])
		fmt.Fprintf(&docs, `{"q":"the %s","a":"%s","b":"%s","gold":%d}`+"\n", words[i%14], words[(i*3)%14], words[(i*5+1)%14], i%2)
	}
	w.write(t, "text.txt", text.String())
	w.write(t, "rows.jsonl", rows.String())
	w.write(t, "data/pair/test.jsonl", docs.String())
	w.write(t, "tasks/pair.yaml", `task: pair
dataset_path: pair
output_type: multiple_choice
test_split: test
doc_to_text: "{{q}}"
doc_to_choice: ["{{a}}", "{{b}}"]
doc_to_target: gold
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata: {version: 1.0}
`)
	return w
}

func (w *world) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// base is what the test recipes have in common.
const base = `coppice: 1
name: small
models: [model]
score: {data: {from: text.txt, samples: 4, length: 16}}
prune: {by: reverse, ratio: 0.34}
heal:
  method: partial
  last: 1
  data: {from: rows.jsonl, max_length: 64, validation: 4}
  steps: 4
  batch_size: 4
  lr: 1e-3
  eval_every: 2
measure:
  tasks: [pair]
  task_dir: tasks
  data_dir: data
engine: {dtype: float32, threads: 2}
`

// all measures the rest, too.
const all = `  perplexity: [{data: text.txt, windows: joined, length: 32}]
  prompts: [the tree]
  max_tokens: 4
  speed: {prefill: 16, decode: 4}
  sizes: {tokens: 8}
  similarity: {data: {from: text.txt, samples: 6, length: 8}, rows: sequence}
`

// whole is base with all.
func whole() string { return strings.Replace(base, "engine:", all+"engine:", 1) }

// run runs a recipe, and gives what was done of each kind.
func (w *world) run(t *testing.T, ctx context.Context, recipe, out string, change func(*Options)) (map[string]int, *Outcome, error) {
	t.Helper()
	l, err := Load(w.write(t, "recipe.yaml", recipe))
	if err != nil {
		t.Fatal(err)
	}
	w.lines = nil
	o := Options{Recipe: l, Out: filepath.Join(w.dir, out), Command: []string{"coppice", "run"}, Embedded: sapling.Make, Pace: map[string]stage.Pace{filepath.Join(w.dir, "model"): {Layer: 1e-6, Head: 1e-6, Alone: 1e-5}, "sapling:model": {Layer: 1e-6}}, Tell: func(s report.Stage) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lines = append(w.lines, s)
		return nil
	}}
	if change != nil {
		change(&o)
	}
	p, err := Prepare(ctx, w.env, o)
	if err != nil {
		return nil, nil, err
	}
	got, err := p.Do(ctx, w.env, o)
	return w.done(report.StageRun), got, err
}

// done counts lines of a state by kind.
func (w *world) done(state string) map[string]int {
	out := map[string]int{}
	for _, l := range w.lines {
		if l.State == state {
			out[l.Kind]++
		}
	}
	return out
}

func check(t *testing.T, what string, got map[string]int, want string) {
	t.Helper()
	raw, _ := json.Marshal(got)
	if string(raw) != want {
		t.Errorf("%s: %s, want %s", what, raw, want)
	}
}

// TestRun: one trial from beginning to end, and nothing the second time.
func TestRun(t *testing.T) {
	w := newWorld(t)
	got, outcome, err := w.run(t, context.Background(), whole(), "out", nil)
	if err != nil {
		t.Fatal(err, w.lines)
	}
	check(t, "first", got, `{"checkpoint":1,"heal":1,"perplexity":3,"plan":1,"prompts":3,"score":1,"similarity":3,"sizes":2,"speed":2,"tasks":3}`)
	d, err := rundir.Open(outcome.Dir)
	if err != nil {
		t.Fatal(err)
	}
	trial := d.Trials[0]
	for _, ref := range trial.Stages {
		m, err := d.Manifest(ref)
		if err != nil || m == nil || m.Version != "test" || m.Measured.Seconds < 0 {
			t.Errorf("%s: %+v, %v", ref.Role, m, err)
		}
	}
	heal, _ := trial.Stage(rundir.KindHeal)
	if h, err := d.Healed(heal); err != nil || h.Steps != 4 || h.Trainable == 0 {
		t.Errorf("healed %+v, %v", h, err)
	}
	lines, err := d.Lines(heal, rundir.LossesFile)
	if err != nil || len(lines) != 4+3 {
		t.Errorf("%d lines of losses, %v", len(lines), err)
	}
	healed, _ := trial.Stage("healed.tasks")
	results, err := d.Results(healed)
	if err != nil || results.Results["pair"] == nil {
		t.Errorf("results %+v, %v", results.Results, err)
	}
	w.measured(t, d, trial)
	model, _ := trial.Stage(rundir.KindCheckpoint)
	if _, err := os.Stat(d.File(model, "model/model.safetensors")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(outcome.Dir, "trials", "model", "heal", "trained.safetensors")); err != nil {
		t.Errorf("through the link: %v", err)
	}
	got, outcome, err = w.run(t, context.Background(), whole(), "out", nil)
	if err != nil || len(got) > 0 || outcome.Reused != 20 {
		t.Errorf("again: %v, %+v, %v", got, outcome, err)
	}
	w.theCheckpoint(t, d, trial)
}

// measured: sizes are those of the plan, maps of similarity have a row for every depth
// that is left, and texts say how much of them is repeated.
func (w *world) measured(t *testing.T, d *rundir.Dir, trial rundir.Trial) {
	t.Helper()
	ref, _ := trial.Stage(rundir.KindPlan)
	plan, err := d.Plan(ref)
	if err != nil {
		t.Fatal(err)
	}
	ref, _ = trial.Stage("cut.sizes")
	lines, err := d.Lines(ref, rundir.SizesFile)
	if err != nil {
		t.Fatal(err)
	}
	if z := lines[0].(report.Sizes); z.Parameters != plan.Parameters || z.Layers != len(plan.Keep) || z.MACs <= z.AttentionMACs {
		t.Errorf("sizes %+v of the plan %+v", z, plan)
	}
	for state, depths := range map[string]int{rundir.Dense: plan.Layers + 1, rundir.Cut: len(plan.Keep) + 1, rundir.Healed: len(plan.Keep) + 1} {
		ref, _ := trial.Stage(state + "." + rundir.KindSimilarity)
		lines, err := d.Lines(ref, rundir.SimilarityFile)
		if err != nil {
			t.Fatal(err)
		}
		m := lines[0].(report.Ranking).Matrix
		if len(m) != depths || len(m[0]) != depths || math.Abs(float64(m[0][0])-1) > 1e-9 || math.IsNaN(float64(m[0][depths-1])) {
			t.Errorf("%s: a map of %d depths, want %d: %v", state, len(m), depths, m)
		}
	}
	ref, _ = trial.Stage("healed.prompts")
	texts, err := d.Generations(ref)
	if err != nil || len(texts) != 1 || texts[0].Tokens != 4 || texts[0].Repetition != 0 {
		t.Errorf("%+v, %v", texts, err)
	}
}

// theCheckpoint: the tasks asked of dense model, plan and trained tensors are what the
// checkpoint answers.
func (w *world) theCheckpoint(t *testing.T, d *rundir.Dir, trial rundir.Trial) {
	t.Helper()
	model, _ := trial.Stage(rundir.KindCheckpoint)
	e := stage.DefaultEval()
	e.Model, e.Engine = d.File(model, rundir.ModelDir), stage.Engine{DType: "float32", Threads: 2}
	e.Tasks.Names, e.Tasks.TaskDir, e.Tasks.DataDir = "pair", filepath.Join(w.dir, "tasks"), filepath.Join(w.dir, "data")
	e.Out = filepath.Join(w.dir, "checkpoint.json")
	if _, err := e.Run(context.Background(), w.env); err != nil {
		t.Fatal(err)
	}
	want, err := report.ReadEval(e.Out)
	if err != nil {
		t.Fatal(err)
	}
	healed, _ := trial.Stage("healed.tasks")
	got, err := d.Results(healed)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := fmt.Sprint(got.Documents), fmt.Sprint(want.Documents); a != b {
		t.Errorf("in parts %s, as a checkpoint %s", a, b)
	}
}

const matrix = `matrix:
  metric: [reverse, bi, ppl]
  how:
    - {name: none, heal: none}
    - {name: tune, heal: {last: 1}}
    - {name: adapt, heal: {method: lora, rank: 2, targets: [q, v]}}
`

// TestShared: what trials have in common is done once, and renaming, reordering and
// adding values does nothing else again.
func TestShared(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	got, _, err := w.run(t, ctx, base+matrix, "out", nil)
	if err != nil {
		t.Fatal(err)
	}
	// 3 rankings and plans; dense once, 3 cut, 6 healed.
	check(t, "first", got, `{"heal":6,"plan":3,"score":3,"tasks":10}`)
	d, err := rundir.Open(filepath.Join(w.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	for role, together := range map[string]int{"cut.tasks": 4, "score": 2} {
		trial, _ := d.Trial("model/bi/tune")
		ref, _ := trial.Stage(role)
		if m, err := d.Manifest(ref); err != nil || m.Measured.Together != together {
			t.Errorf("%s: done with %d together, want %d (%v)", role, m.Measured.Together, together, err)
		}
	}
	for _, c := range []struct{ what, from, to, want string }{
		{"again", "", "", `{}`},
		{"renamed", "name: tune", "name: last", `{}`},
		{"reordered", "[reverse, bi, ppl]", "[ppl, reverse, bi]", `{}`},
		{"a metric more", "[reverse, bi, ppl]", "[reverse, bi, ppl, taylor]", `{"heal":2,"plan":1,"score":1,"tasks":3}`},
		{"a method more", "- {name: none, heal: none}", "- {name: none, heal: none}\n    - {name: head, heal: {last: 0}}", `{"heal":3,"tasks":3}`},
		{"another rate", "lr: 1e-3", "lr: 2e-3", `{"heal":6,"tasks":6}`},
		{"a task asked of fewer", "tasks: [pair]", "tasks: [pair]\n  limit: 20", `{"tasks":10}`},
	} {
		text := base + matrix
		if c.from != "" && !strings.Contains(text, c.from) {
			t.Fatalf("%s: no %q", c.what, c.from)
		}
		got, _, err := w.run(t, ctx, strings.Replace(text, c.from, c.to, 1), "out", nil)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		check(t, c.what, got, c.want)
		if c.what == "another rate" && !slices.ContainsFunc(w.lines, func(l report.Stage) bool {
			return strings.Contains(l.Because, "heal.lr was 0.001 and is 0.002")
		}) {
			t.Errorf("no line says why: %+v", w.lines)
		}
	}
}
