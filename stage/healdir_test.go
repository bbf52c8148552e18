package stage

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/prune"
	"github.com/coppice-ml/coppice/report"
)

// TestHealAfterNothing: what failed before its first checkpoint left nothing that
// other settings could lose, nor events.
func TestHealAfterNothing(t *testing.T) {
	h := goldenHeal(t, testkit.Golden(t, "llama"), "partial")
	wild := h
	wild.LR, wild.Warmup = 1e30, 0
	if _, err := interruptedAfter(wild, t.TempDir(), 99); err == nil || !strings.Contains(err.Error(), "not finite") {
		t.Fatalf("a learning rate of 1e30: %v", err)
	}
	if _, err := os.Stat(HealEvents(h.Out)); err != nil {
		t.Fatal(err)
	}
	healed(t, h)
	raw, err := os.ReadFile(HealEvents(h.Out))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(raw, []byte(`"step":1,`)); n != 1 {
		t.Errorf("events of the first step: %d, want 1", n)
	}
}

// TestHealUntiesPruned: a pruning of a tied model that was never written gets a
// head of its own, and the plan is one for the model as it is stored.
func TestHealUntiesPruned(t *testing.T) {
	g := testkit.Golden(t, "llama_tied")
	h := goldenHeal(t, g, "partial")
	h.Untie, h.Last = true, 1
	h.Layers.Drop = "1"
	healed(t, h)
	c, err := checkpoint.Open(h.Out)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Tensor("lm_head.weight"); !ok || m.Spec.Tied {
		t.Errorf("lm_head.weight written: %v, tied: %v", ok, m.Spec.Tied)
	}
	p, err := prune.ReadPlan(filepath.Join(h.Out, prune.PlanFile))
	if err != nil {
		t.Fatal(err)
	}
	before, err := checkpoint.Open(g.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if spec, err := model.SpecOf(before); err != nil || p.ParametersBefore != spec.Parameters() || !p.Healed {
		t.Errorf("plan: %d parameters before, healed %v, %v", p.ParametersBefore, p.Healed, err)
	}
}

// TestHealPruned: of a pruning that was written, plan and card say that its weights
// are no longer the original's.
func TestHealPruned(t *testing.T) {
	g := testkit.Golden(t, "llama")
	pruned := filepath.Join(t.TempDir(), "pruned")
	p := DefaultPrune()
	p.Model, p.Out, p.Drop = g.Checkpoint, pruned, "1"
	if _, err := p.Run(t.Context(), Env{Getenv: os.Getenv, Talk: Silent{}}, func(report.Plan) error { return nil }); err != nil {
		t.Fatal(err)
	}
	h := goldenHeal(t, g, "partial")
	h.Model, h.Last = pruned, 1
	healed(t, h)
	plan, err := prune.ReadPlan(filepath.Join(h.Out, prune.PlanFile))
	if err != nil || !plan.Healed || len(plan.Drop) != 1 {
		t.Errorf("healed %v, dropped %v, %v", plan.Healed, plan.Drop, err)
	}
	card, err := os.ReadFile(filepath.Join(h.Out, "README.md"))
	if err != nil || bytes.Contains(card, []byte("byte for byte")) || !bytes.Contains(card, []byte("## Healing")) {
		t.Errorf("card: %v\n%s", err, card)
	}
}

// TestHealSpares: neither the model nor what healing reads is written over.
func TestHealSpares(t *testing.T) {
	h := goldenHeal(t, testkit.Golden(t, "llama"), "partial")
	healed(t, h)
	for name, c := range map[string]struct {
		change func(*Heal)
		want   string
	}{
		"the model":        {func(h *Heal) { h.Model = h.Out }, "the source"},
		"in the model":     {func(h *Heal) { h.Out = filepath.Join(h.Model, "healed") }, "the source"},
		"weights to use":   {func(h *Heal) { h.InitFrom = h.Out }, "init_from"},
		"rows to hold out": {func(h *Heal) { h.Data.ValidationData = HealEvents(h.Out) }, "validation_data"},
	} {
		other := h
		other.Force = true
		c.change(&other)
		if _, err := interruptedAfter(other, t.TempDir(), 99); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(h.Out, "model.safetensors")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}
