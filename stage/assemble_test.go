package stage

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
)

// tinyHeal heals a pruning of a small model for a few steps on its own text.
func tinyHeal(t *testing.T, dir string) Heal {
	t.Helper()
	h := DefaultHeal()
	h.Model, h.Layers.Drop = filepath.Join(dir, "model"), "1"
	h.Engine.DType = "float32"
	h.Data.Tokens = write(t, filepath.Join(dir, "rows.jsonl"), `{"input_ids":[1,2,3,4,5],"labels":[1,2,3,4,5]}
{"input_ids":[5,4,3,2,1],"labels":[5,4,3,2,1]}
`)
	h.Data.Validation, h.Last, h.Steps, h.Batch, h.LR = 0, 1, 3, 2, 1e-2
	return h
}

// TestAssemble: trained tensors by themselves, beside the model that they were
// trained of, are the checkpoint that healing would have written, byte for byte, and
// run as it does.
func TestAssemble(t *testing.T) {
	dir := t.TempDir()
	for _, tied := range []bool{false, true} {
		dir := filepath.Join(dir, map[bool]string{true: "tied"}[tied], "x")
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := testkit.WriteLlama(filepath.Join(dir, "model"), testkit.Options{Layers: 4, DType: "BF16", Tokenizer: true, Tied: tied}); err != nil {
			t.Fatal(err)
		}
		whole := tinyHeal(t, dir)
		whole.Out, whole.Untie = filepath.Join(dir, "whole"), tied
		healed(t, whole)
		alone := whole
		alone.Out, alone.Result = filepath.Join(dir, "alone"), ResultTrained
		healed(t, alone)
		if _, err := os.Stat(filepath.Join(alone.Out, "config.json")); err == nil {
			t.Error("trained tensors by themselves came with a config.json")
		}
		env, _ := testEnv(t)
		cut := Cut{Drop: "1", Trained: []string{alone.Out}}
		a := Assemble{Model: whole.Model, Out: filepath.Join(dir, "assembled"), Cut: cut}
		if _, err := a.Run(context.Background(), env); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"model.safetensors", "config.json"} {
			want, err := os.ReadFile(filepath.Join(whole.Out, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join(a.Out, name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("tied %v: %s differs from what healing writes", tied, name)
			}
		}
		loss := func(model string, layers Layers) report.Number {
			p := DefaultPPL()
			p.Model, p.Data, p.Length, p.Layers, p.Engine.DType = model, write(t, filepath.Join(dir, "text.txt"), "once upon a time there was a tree, and the tree was cut"), 8, layers, "float32"
			r, err := p.Run(context.Background(), env)
			if err != nil {
				t.Fatal(err)
			}
			return r.Loss
		}
		if a, b, dense := loss(a.Out, Layers{}), loss(whole.Model, Layers{Cut: cut}), loss(whole.Model, Layers{Cut: Cut{Drop: "1"}}); a != b || b == dense {
			t.Errorf("tied %v: loss of the checkpoint %v, of its parts %v, before healing %v", tied, a, b, dense)
		}
	}
}

// TestTrainedRefused: tensors of another model, and a checkpoint of a part.
func TestTrainedRefused(t *testing.T) {
	dir := t.TempDir()
	for name, layers := range map[string]int{"model": 4, "small": 2} {
		if err := testkit.WriteLlama(filepath.Join(dir, name), testkit.Options{Layers: layers, Tokenizer: true}); err != nil {
			t.Fatal(err)
		}
	}
	h := tinyHeal(t, dir)
	h.Out, h.Result = filepath.Join(dir, "alone"), ResultTrained
	healed(t, h)
	env, _ := testEnv(t)
	if _, err := Open(context.Background(), env, filepath.Join(dir, "small"), Layers{Cut: Cut{Trained: []string{h.Out}}}); err == nil {
		t.Error("tensors of layer 3 went into a model of 2 layers")
	}
	again := h
	again.Layers.Trained, again.Result = []string{h.Out}, ResultCheckpoint
	if err := again.Check(); err == nil {
		t.Error("a checkpoint beside tensors that were trained before")
	}
}
