package run

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/internal/sapling"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

// llama is a directory with the config of Llama 3.1 8B, and nothing else.
const llama = "../model/testdata/configs/llama-3.1-8b"

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
	env := stage.Env{Getenv: os.Getenv, Cache: t.TempDir(), Version: "test", Talk: stage.Silent{}}
	o := Options{Recipe: l, Out: filepath.Join(t.TempDir(), "out"), Embedded: sapling.Make, Pace: map[string]stage.Pace{model: {Layer: 1e-6, Head: 1e-6, Alone: 1e-5}}}
	p, err := Prepare(context.Background(), env, o)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
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
