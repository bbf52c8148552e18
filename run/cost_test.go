package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

// machine is one that costs are computed for.
type machine struct {
	name      string
	threads   int     // that compute and bring in weights, of a processor
	products  float64 // FLOP/s that large products reach
	bandwidth float64 // bytes/s
}

// machines of the table. Of the first the rate is measured, as docs/estimates.md says;
// the others' are assumed.
func machines() []machine {
	return []machine{
		{name: "2 cores (EPYC Zen 5), 550 GFLOP/s", threads: 2, products: 550e9, bandwidth: 20e9},
		{name: "16 cores of them, eight times that", threads: 16, products: 8 * 550e9, bandwidth: 160e9},
		{name: "24 GB GPU at 60 TFLOP/s, 1 TB/s", products: 60e12, bandwidth: 1e12},
		{name: "80 GB GPU at 400 TFLOP/s, 3 TB/s", products: 400e12, bandwidth: 3e12},
	}
}

// planned is a recipe on Llama-3.1-8B, planned for a machine.
func (m machine) planned(t *testing.T, recipe string) (all report.RunPlan) {
	t.Helper()
	const config = "../model/testdata/configs/llama-3.1-8b"
	l, err := Load(recipe)
	if err != nil {
		t.Fatal(err)
	}
	if l, err = l.With([]string{config}, []Change{{"engine.memory", "128GiB"}}); err != nil {
		t.Fatal(err)
	}
	env := stage.Env{Getenv: os.Getenv, Version: "test", Talk: stage.Silent{}}
	s, err := stage.ReadShape(context.Background(), env, config)
	if err != nil {
		t.Fatal(err)
	}
	layer, head := 2*float64(s.LayerParameters()), 2*float64(s.HeadParameters())
	pace := stage.Pace{Layer: layer / m.products, Head: head / m.products, Alone: layer / m.bandwidth, Update: 20 / m.bandwidth, Load: 1e-9, Threads: m.threads}
	p, err := Prepare(context.Background(), env, Options{Recipe: l, Out: filepath.Join(t.TempDir(), "out"), Pace: map[string]stage.Pace{config: pace}})
	if err != nil {
		t.Fatal(err)
	}
	lines := p.Lines()
	return lines[len(lines)-1].(report.RunPlan)
}

// TestCosts: docs/estimates.md has the figures that plans give: of the guide on several
// machines, and of recipes on one.
func TestCosts(t *testing.T) {
	raw, err := os.ReadFile("../docs/estimates.md")
	if err != nil {
		t.Fatal(err)
	}
	has := func(row string) {
		if !strings.Contains(string(raw), row+"\n") {
			t.Errorf("docs/estimates.md lacks\n%s", row)
		}
	}
	for _, m := range machines() {
		all, hours := m.planned(t, "guide"), map[string]float64{}
		for _, k := range all.Kinds {
			hours[k.Kind] = k.Seconds / 3600
		}
		has(fmt.Sprintf("| %s | %.3g | %.3g | %.2g | %.3g |", m.name, hours["tasks"], hours["heal"], hours["perplexity"]+hours["prompts"]+hours["speed"], all.Seconds/3600))
	}
	for _, recipe := range []string{"guide", "metrics", "healing", "iterative"} {
		all := machines()[0].planned(t, recipe)
		has(fmt.Sprintf("| `%s` | %d | %d | %d | %.0f | %.0f | %s |", recipe, all.Trials, all.Stages, all.Unshared, all.Seconds/3600, all.UnsharedSeconds/3600, report.FormatBytes(all.Disk)))
	}
}
