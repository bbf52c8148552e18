package run

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/internal/sapling"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// llama is a directory with the config of Llama 3.1 8B, and nothing else.
const llama = "../model/testdata/configs/llama-3.1-8b"

// env is an environment to plan and run in.
func env(t *testing.T) stage.Env {
	return stage.Env{Getenv: os.Getenv, Cache: t.TempDir(), Version: "test", Talk: stage.Silent{}}
}

// planned is what a shipped recipe would do with a model, at a made-up pace.
func planned(t *testing.T, name, model string, changes ...Change) *Plan {
	t.Helper()
	l, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	if l, err = l.With([]string{model}, changes); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	p, err := Prepare(context.Background(), env(t), shippedOptions(t, l, model))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

func shippedOptions(t *testing.T, l *Loaded, model string) Options {
	return Options{
		Recipe: l, Out: filepath.Join(t.TempDir(), "out"), Command: []string{"coppice", "run"}, Embedded: sapling.Make,
		Pace: map[string]stage.Pace{model: {Layer: 1e-6, Head: 1e-6, Alone: 1e-5}}, Tell: func(report.Stage) error { return nil },
	}
}

// TestDryRuns: every recipe that ships can be planned for Llama 3.1 8B by its config
// alone, for all its trials.
func TestDryRuns(t *testing.T) {
	for _, name := range Shipped() {
		if name == "sapling" {
			continue // of its own tasks
		}
		p := planned(t, name, llama)
		all := p.Lines()[len(p.Lines())-1].(report.RunPlan)
		if all.Trials == 0 || all.Stages == 0 || all.Seconds <= 0 {
			t.Errorf("%s: %+v", name, all)
		}
		if slices.ContainsFunc(p.Trials, func(trial Trial) bool { return len(p.refs[trial.Name]) == 0 }) {
			t.Errorf("%s: a trial without stages", name)
		}
	}
}

// TestEfficiency: Table 9 of the paper from the config alone, by the paper's count;
// and what that leaves out, by hand: 24 layers of 32 heads of 128, in which token t of
// 64 meets t keys and t values.
func TestEfficiency(t *testing.T) {
	lines := planned(t, "efficiency", llama).Lines()
	sizes := lines[len(lines)-1].(report.RunPlan).Sizes
	if len(sizes) != 2 || sizes[0].State != "dense" || sizes[0].Layers != 32 || sizes[0].Parameters != 8_030_261_248 {
		t.Fatalf("%+v", sizes)
	}
	cut := sizes[1]
	if cut.State != "cut" || cut.Layers != 24 || cut.Parameters != 6_285_365_248 || cut.PaperMACs != 368_654_680_064 || cut.Tokens != 64 {
		t.Errorf("%+v", cut)
	}
	if mib := math.Round(float64(cut.Float32Bytes)/(1<<20)*10) / 10; mib != 23_976.8 {
		t.Errorf("%v MiB in float32", mib)
	}
	attention := int64(24 * 2 * 32 * 128 * (64 * 65 / 2))
	norms := int64(2 * 64 * 4096 * (2*24 + 1))
	if cut.AttentionMACs != attention || cut.MACs != cut.PaperMACs-norms+attention {
		t.Errorf("attention %d, want %d; in all %d", cut.AttentionMACs, attention, cut.MACs)
	}
}

// axis is a trial's value of one.
func (t Trial) axis(name string) string { return rundir.Trial{Axes: t.Axes}.Value(name) }

// TestGemma: half of Gemma's 26 layers are 13, and the paper dropped 12.
func TestGemma(t *testing.T) {
	const gemma = "../model/testdata/configs/gemma-2-2b"
	for name, want := range map[string]string{"metrics": "20/26", "metrics-half": "14/26"} {
		l, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if l, err = l.With(nil, []Change{{"models", "[{name: gemma, from: " + gemma + "}]"}}); err != nil {
			t.Fatal(err)
		}
		p, err := Prepare(context.Background(), env(t), shippedOptions(t, l, gemma))
		if err != nil {
			t.Fatal(err)
		}
		for _, trial := range p.Trials {
			if got := p.layersOf(trial); got != want && trial.axis("metric") != "dense" {
				t.Errorf("%s: %s keeps %s, want %s", name, trial.Name, got, want)
			}
		}
	}
}

// TestPublished: what the paper prints has a trial of a recipe to stand beside, but for
// what needs 4-bit weights.
func TestPublished(t *testing.T) {
	var paper struct {
		Models map[string]string
		Tables []struct {
			Name string
			Only map[string]string
			Rows []struct {
				Model string
				Is    []string
			}
		}
	}
	raw, err := os.ReadFile("../report/page/published.yaml")
	if err == nil {
		err = yaml.Unmarshal(raw, &paper)
	}
	if err != nil {
		t.Fatal(err)
	}
	byTable := map[string][]Trial{}
	for _, name := range Shipped() {
		l, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if byTable[l.Recipe.Report.Published], err = l.Trials(); err != nil {
			t.Fatal(err)
		}
	}
	found := 0
	for _, table := range paper.Tables {
		for _, row := range table.Rows {
			if byTable[table.Name] == nil || slices.Contains(row.Is, "QLoRA") {
				continue
			}
			found++
			if !slices.ContainsFunc(byTable[table.Name], func(trial Trial) bool {
				ok := trial.Model.From == paper.Models[row.Model]
				for _, value := range row.Is {
					ok = ok && slices.ContainsFunc(trial.Axes, func(a rundir.Axis) bool { return a.Value == value })
				}
				for axis, value := range table.Only {
					ok = ok && trial.axis(axis) == value
				}
				return ok
			}) {
				t.Errorf("%s, %s %q: no trial", table.Name, row.Model, row.Is)
			}
		}
	}
	if found < 80 {
		t.Errorf("only %d rows", found)
	}
}

// little cuts the axes of recipes down to what shows that they run.
func little() map[string][]string {
	metrics := []string{"matrix.metric=[reverse, taylor]", "matrix.lr={set: heal.lr, values: [1e-3]}", "score.per_metric.ppl.data.from=sapling:validation.txt"}
	healing := "matrix.healing=[{name: none, heal: none}, {name: LoRA, heal: {method: lora, rank: 2}}, {name: last1, heal: {last: 1}}]"
	return map[string][]string{
		"metrics": metrics, "metrics-half": metrics, "healing": {healing}, "control": {healing}, "healing-half": {healing, "matrix.cut=[{name: half, prune: {by: taylor, ratio: 0.5}}]"},
		"cost":        {healing},
		"iterative":   {`matrix.rounds=[{name: once, prune: {count: 2}}, {name: twice, prune: {iterative: "1:2"}}]`, "matrix.metric=[taylor]"},
		"calibration": {"matrix.metric=[bi, taylor]", "matrix.data=[{name: own, score: {data: {from: sapling:calibration.txt}}}]", "matrix.samples={set: score.data.samples, values: [2, 4]}"},
		"data":        {"matrix.data=[{name: none, heal: none}, {name: own, heal: {data: {from: sapling:instructions.json}}}]"},
		"curve":       {"measure={task_dir: sapling:tasks, data_dir: sapling:data}", "matrix.metric=[reverse]", "curve.tasks=[sapling_piqa]", "curve.limit=4"},
		"similarity":  {"matrix.metric=[reverse]", "measure.similarity={data: {from: sapling:calibration.txt, samples: 4, length: 16}, rows: sequence}", "measure.tasks=[]"},
		"efficiency":  {"measure.tasks=[]"},
		"samples":     {"measure.tasks=[]", "measure.max_tokens=8"},
		"sweep":       {"matrix.metric=[bi]", "matrix.ratio={set: prune.ratio, values: [0.25, 0.5]}"},
		"depth":       {"matrix.trained=[{name: lm_head, heal: {last: 0}}, {name: full, heal: {method: full}}]"},
		"budget":      {"matrix.rows=[{name: few, heal: {data: {samples: 16}}}, {name: more, heal: {data: {samples: 24}}}]"},
		"reasoning":   {"heal.data.samples=24"},
	}
}

// onSapling are the changes that make any recipe run on the model that ships, in seconds.
func onSapling(l *Loaded, name string) []string {
	r := l.Recipe
	out := []string{"score.data.from=sapling:calibration.txt", "score.data.samples=4", "score.data.length=32"}
	if m := r.Measure; m != nil {
		out = append(out, "measure.task_dir=sapling:tasks", "measure.data_dir=sapling:data", "measure.limit=4", "measure.tasks=[sapling_piqa]",
			"measure.speed={prefill: 16, decode: 4}", "measure.max_tokens=4")
		if len(m.Perplexity) > 0 {
			out = append(out, "measure.perplexity=[{data: sapling:validation.txt, windows: joined, length: 128}]")
		}
	}
	if r.Heal != nil {
		out = append(out, "heal.data.from=sapling:instructions.json", "heal.data.max_length=64", "heal.data.validation=4", "heal.data.samples=24",
			"heal.steps=2", "heal.batch_size=4", "heal.eval_every=0", "heal.keep=last", "heal.warmup_steps=0")
	}
	return append(out, little()[name]...)
}

// TestOnSapling: the recipes run, cut down, on the model that ships; a second time
// there is nothing to do.
func TestOnSapling(t *testing.T) {
	const model = "sapling:model"
	names := []string{"efficiency", "samples"}
	if testkit.IsSlow() {
		names = Shipped()
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			whole, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			var changes []Change
			for _, text := range onSapling(whole, name) {
				c, err := ParseChange(text)
				if err != nil {
					t.Fatal(err)
				}
				changes = append(changes, c)
			}
			l, err := whole.With([]string{model}, changes)
			if err != nil {
				t.Fatal(err)
			}
			o, e := shippedOptions(t, l, model), env(t)
			for again := range 2 {
				p, err := Prepare(context.Background(), e, o)
				if err != nil {
					t.Fatal(err)
				}
				got, err := p.Do(context.Background(), e, o)
				if err != nil || got.Failed > 0 || (got.Done == 0) != (again == 1) {
					t.Fatalf("%+v, %v", got, err)
				}
			}
		})
	}
}
