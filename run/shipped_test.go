package run

import (
	"context"
	"math"
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
