package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/heal/adapter"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/resident"
	"github.com/coppice-ml/coppice/safetensors"
)

// healed runs a stage and collects its events.
func healed(t *testing.T, h Heal) (*report.Healed, []report.HealStep) {
	t.Helper()
	var steps []report.HealStep
	done, err := h.Run(context.Background(), Env{Getenv: os.Getenv, Cache: t.TempDir(), Talk: Silent{}}, func(l report.Line) error {
		if s, ok := l.(report.HealStep); ok {
			steps = append(steps, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return done, steps
}

// goldenRows writes the goldens' training rows, their padding left out.
func goldenRows(t *testing.T, g *testkit.Goldens) string {
	t.Helper()
	ids, mask, labels := g.Sequences(t, "ft.ids"), g.Sequences(t, "ft.mask"), g.Sequences(t, "ft.labels")
	var b strings.Builder
	for i := range ids {
		row := map[string][]int32{"input_ids": ids[i], "attention_mask": mask[i], "labels": labels[i]}
		raw, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", raw)
	}
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// goldenHeal is the goldens' recipe: eight steps of two rows, the first two warming up.
func goldenHeal(t *testing.T, g *testkit.Goldens, run string) Heal {
	h := DefaultHeal()
	h.Model, h.Out = g.Checkpoint, filepath.Join(t.TempDir(), "out")
	h.Engine = Engine{DType: "float32"}
	h.Data.Tokens, h.Data.Validation = goldenRows(t, g), 0
	h.NoShuffle, h.Steps, h.Batch, h.LR, h.Warmup, h.WeightDecay, h.DecayAll = true, 8, 2, 1e-3, 2, .01, true
	h.SaveDType, h.MaxGradNorm, h.Last = "float32", 0, 2
	if strings.Contains(run, "clip1") {
		h.MaxGradNorm = 1
	}
	if strings.Contains(run, "nodecay") {
		h.DecayAll = false
	}
	if strings.HasPrefix(run, "lora") {
		h.Method, h.Dropout, h.Rank, h.Alpha = "lora", 0, 4, 8
		h.LoRAInit = filepath.Join(g.Dir, "lora_init")
	}
	return h
}

// TestHealGoldens: losses, norms and final tensors of every family and run are
// those of PyTorch.
func TestHealGoldens(t *testing.T) {
	for _, family := range testkit.Finetuned(t) {
		for _, run := range []string{"partial", "partial_clip1", "partial_clip1_nodecay_norm_bias", "lora", "lora_clip1"} {
			t.Run(family+"/"+run, func(t *testing.T) {
				g := testkit.Golden(t, family)
				h := goldenHeal(t, g, run)
				_, steps := healed(t, h)
				losses, norms := g.Floats(t, "ft", run, "losses"), g.Floats(t, "ft", run, "grad_norms")
				if len(steps) != len(losses) {
					t.Fatalf("%d steps, want %d", len(steps), len(losses))
				}
				for i, s := range steps {
					if d := math.Abs(float64(s.Loss) - losses[i]); !(d <= 2e-5) {
						t.Errorf("step %d: loss %.7f, want %.7f", i, float64(s.Loss), losses[i])
					}
					if d := math.Abs(float64(s.GradNorm) - norms[i]); !(d <= 1e-4) {
						t.Errorf("step %d: gradient norm %.6f, want %.6f", i, float64(s.GradNorm), norms[i])
					}
				}
				finals(t, g, run, h.Out)
			})
		}
	}
}

// finals compares the tensors that were written with the goldens' final ones.
func finals(t *testing.T, g *testkit.Goldens, run, dir string) {
	t.Helper()
	file, before := "model.safetensors", ""
	if strings.HasPrefix(run, "lora") {
		file, before = adapter.WeightsFile, "base_model.model."
	}
	var got func(name string) []float32
	if before == "" {
		c, err := checkpoint.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		got = func(name string) []float32 {
			info, ok := c.Tensor(name)
			raw, err := c.Data(name)
			if !ok || err != nil {
				t.Fatalf("%s: not written: %v", name, err)
			}
			return wide(raw, info.DType, info.Elements())
		}
	} else {
		f, err := safetensors.Open(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		got = func(name string) []float32 {
			info, ok := f.Tensor(before + name)
			if !ok {
				t.Fatalf("%s: not written", name)
			}
			return wide(f.Data(info), info.DType, info.Elements())
		}
	}
	found := 0
	for _, name := range g.Names("ft." + run + ".final.") {
		want, _ := g.Array(t, "ft."+run+".final."+name)
		if d := testkit.MaxAbs(got(name), want); !(d <= 1e-5) {
			t.Errorf("%s: differs by %g", name, d)
		}
		found++
	}
	if found == 0 {
		t.Error("the goldens have no final tensors")
	}
}

func wide(raw []byte, d safetensors.DType, n int64) []float32 {
	out := make([]float32, n)
	number.Widen(out, raw, d)
	return out
}

// TestMergeGoldens: the goldens' adapter merged gives the logits of PyTorch with
// the adapter beside the weights; and run unmerged, too.
func TestMergeGoldens(t *testing.T) {
	for _, family := range testkit.Finetuned(t) {
		t.Run(family, func(t *testing.T) {
			g := testkit.Golden(t, family)
			want, shape := g.Array(t, "lora_init.logits")
			ids := g.Sequences(t, "input_ids")
			out := filepath.Join(t.TempDir(), "merged")
			env := Env{Getenv: os.Getenv, Talk: Silent{}}
			from := filepath.Join(g.Dir, "lora_init")
			if _, err := (MergeAdapter{Model: g.Checkpoint, Adapter: from, Out: out, SaveDType: "float32"}).Run(context.Background(), env); err != nil {
				t.Fatal(err)
			}
			merged := logitsOf(t, out, "", ids, shape[2])
			if d := testkit.MaxAbs(merged, want); !(d <= 2e-4) {
				t.Errorf("merged: logits differ by %g", d)
			}
			beside := logitsOf(t, g.Checkpoint, from, ids, shape[2])
			if d := testkit.MaxAbs(beside, want); !(d <= 2e-4) {
				t.Errorf("beside the weights: logits differ by %g", d)
			}
			if d := testkit.MaxAbs(beside, merged); !(d <= 5e-5) {
				t.Errorf("merged and beside the weights differ by %g", d)
			}
		})
	}
}

// logitsOf runs a model, with an adapter if one is named, over sequences.
func logitsOf(t *testing.T, dir, adapterDir string, ids [][]int32, vocab int) []float32 {
	t.Helper()
	ctx := context.Background()
	s, err := openDir(ctx, Env{Getenv: os.Getenv, Talk: Silent{}}, dir, Layers{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Start(Engine{DType: "float32"}, nil); err != nil {
		t.Fatal(err)
	}
	var trained *engine.Trained
	if adapterDir != "" {
		set, err := s.adapt(ctx, adapterDir)
		if err != nil {
			t.Fatal(err)
		}
		defer set.Release()
		trained = &set.Trained
	}
	parts := resident.New(s.Model, s.Engine, resident.Options{Trained: trained})
	defer parts.Close()
	var out []float32
	for _, seq := range ids {
		out = append(out, forwardLogits(ctx, t, s, parts, seq, vocab)...)
	}
	return out
}

func forwardLogits(ctx context.Context, t *testing.T, s *Session, parts *resident.Set, seq []int32, vocab int) []float32 {
	t.Helper()
	var b engine.Batch
	b.Add(seq, engine.NoParent)
	x, err := s.Engine.NewHidden(s.Model, len(seq))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Release()
	e, err := parts.Embedding()
	if err == nil {
		err = e.Forward(ctx, &b, x)
	}
	for i := 0; err == nil && i < s.Model.Spec.Layers; i++ {
		var l engine.Layer
		if l, err = parts.Layer(ctx, i); err == nil {
			err = l.Forward(ctx, &engine.Call{Batch: &b}, x, x)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	h, err := parts.Head()
	if err != nil {
		t.Fatal(err)
	}
	rows := make([]int, len(seq))
	for i := range rows {
		rows[i] = i
	}
	logits := make([]float32, len(seq)*vocab)
	if err := h.Logits(ctx, x, rows, logits); err != nil {
		t.Fatal(err)
	}
	return logits
}
