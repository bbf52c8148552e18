package stage

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
)

// kept are the files that a healing with the same settings always makes the same.
func kept(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || d.IsDir() || name == healDone || strings.HasSuffix(name, "lock") {
			return err
		}
		raw, err := os.ReadFile(path)
		if name == healEvents { // speeds are measured
			var lines [][]byte
			for line := range bytes.Lines(raw) {
				before, _, _ := bytes.Cut(line, []byte(`,"tokens_per_second"`))
				if !bytes.Contains(line, []byte(`"done"`)) {
					lines = append(lines, before)
				}
			}
			raw = bytes.Join(lines, nil)
		}
		out[name] = raw
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameFiles(t *testing.T, got, want map[string][]byte) {
	t.Helper()
	for name, raw := range want {
		if !bytes.Equal(got[name], raw) {
			t.Errorf("%s differs", name)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
}

// recipes are small healings that differ in what is kept and drawn.
func recipes(t *testing.T) map[string]Heal {
	g := testkit.Golden(t, "llama")
	partial := goldenHeal(t, g, "partial_clip1")
	partial.Data.Validation, partial.EvalEvery, partial.NoShuffle, partial.SaveEvery, partial.SaveMinutes = 2, 3, false, 2, 0
	lora := goldenHeal(t, g, "lora_clip1")
	lora.Dropout, lora.LoRAInit, lora.NoShuffle, lora.Data.Validation, lora.EvalEvery, lora.Keep = .3, "", false, 2, 2, "last"
	dropped := goldenHeal(t, g, "partial")
	dropped.Layers, dropped.Moments, dropped.Schedule = Cut{Drop: "1-2"}, "bfloat16", "cosine"
	return map[string]Heal{"partial": partial, "lora, dropout": lora, "of a pruning": dropped}
}

// TestHealResumes: interrupted at ten random moments, healing leaves what it
// leaves undisturbed, to the last bit.
func TestHealResumes(t *testing.T) {
	for name, h := range recipes(t) {
		t.Run(name, func(t *testing.T) {
			healed(t, h)
			want := kept(t, h.Out)
			r := rand.New(rand.NewPCG(7, uint64(len(name))))
			h.Out = filepath.Join(t.TempDir(), "resumed")
			interrupted := 0
			for range 100 {
				done, err := interruptedAfter(h, t.TempDir(), r.IntN(4))
				if err == nil {
					if done == nil {
						t.Fatal("no result")
					}
					break
				}
				if !errors.Is(err, ErrPartial) && !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				interrupted++
			}
			if interrupted < 3 {
				t.Fatalf("interrupted %d times only", interrupted)
			}
			sameFiles(t, kept(t, h.Out), want)
		})
	}
}

// interruptedAfter runs a healing that is cancelled after so many events.
func interruptedAfter(h Heal, cache string, events int) (*report.Healed, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	return h.Run(ctx, Env{Getenv: os.Getenv, Cache: cache, Talk: Silent{}}, func(report.Line) error {
		if events--; events < 0 {
			cancel()
		}
		return nil
	})
}

// TestHealAgain: a finished output is left alone, one of other settings refused
// by what differs, and force starts over.
func TestHealAgain(t *testing.T) {
	h := goldenHeal(t, testkit.Golden(t, "llama"), "partial")
	first, made := healed(t, h)
	before, err := os.Stat(filepath.Join(h.Out, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	again, steps := healed(t, h)
	after, err := os.Stat(filepath.Join(h.Out, "model.safetensors"))
	if err != nil || len(steps) > 0 || again.Steps != first.Steps || !after.ModTime().Equal(before.ModTime()) {
		t.Errorf("made again: %d steps, %v", len(steps), err)
	}
	other := h
	other.LR = 2e-3
	if _, err := interruptedAfter(other, t.TempDir(), 99); err == nil || !strings.Contains(err.Error(), "lr was 0.001 and is now 0.002") {
		t.Errorf("another learning rate: %v", err)
	}
	other.Force = true
	if _, steps := healed(t, other); len(steps) != 8 {
		t.Errorf("force: %d steps", len(steps))
	}
	further := h
	further.InitFrom, further.Out, further.LR = h.Out, filepath.Join(t.TempDir(), "further"), 1e-4
	if _, steps := healed(t, further); len(steps) != 8 || steps[0].Loss >= made[0].Loss {
		t.Errorf("further: %d steps, first loss %v", len(steps), steps[0].Loss)
	}
	strange := h
	strange.Out = t.TempDir()
	if err := os.WriteFile(filepath.Join(strange.Out, "notes.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := interruptedAfter(strange, t.TempDir(), 99); err == nil || !strings.Contains(err.Error(), "exists, and is no model") {
		t.Errorf("a directory of something else: %v", err)
	}
}

// TestHealRefuses: what cannot be is refused by its field, before anything is made.
func TestHealRefuses(t *testing.T) {
	g := testkit.Golden(t, "llama")
	for want, change := range map[string]func(*Heal){
		"{last}":         func(h *Heal) { h.Last = 99 },
		"{layers}":       func(h *Heal) { h.TrainLayers = "0-99" },
		"{train}":        func(h *Heal) { h.Train = "no such tensor" },
		"{validation}":   func(h *Heal) { h.Data.Validation = 8 },
		"{batch_size}":   func(h *Heal) { h.Batch = 0 },
		"{schedule}":     func(h *Heal) { h.Schedule = "step" },
		"{method}":       func(h *Heal) { h.Method = "prefix" },
		"{out}":          func(h *Heal) { h.Out = "" },
		"{data}":         func(h *Heal) { h.Data.Tokens = "" },
		"{max_length}":   func(h *Heal) { h.Data.Tokens, h.Data.Sources, h.Data.MaxLength = "", []string{"x.txt"}, 1<<20 },
		"{targets}":      func(h *Heal) { h.Method, h.Targets = "lora", []string{"q", "x"} },
		"{lora_init}":    func(h *Heal) { h.Method, h.Rank, h.LoRAInit = "lora", 4, t.TempDir() },
		"{memory}":       func(h *Heal) { h.Engine.Memory = "1" },
		"{warmup_steps}": func(h *Heal) { h.Warmup = 9 },
		"{lr}":           func(h *Heal) { h.LR = math.Inf(1) },
		"{alpha}":        func(h *Heal) { h.Method, h.Alpha = "lora", math.NaN() },
		"{epochs}":       func(h *Heal) { h.Steps, h.Epochs = 0, 0.01 },
		"{untie}":        func(h *Heal) { h.Untie = true },
	} {
		h := goldenHeal(t, g, "partial")
		change(&h)
		_, err := interruptedAfter(h, t.TempDir(), 99)
		var p *Problem
		if !errors.As(err, &p) || "{"+p.Field+"}" != want {
			t.Errorf("%s: %v", want, err)
		}
		if _, made := os.Stat(filepath.Join(h.Out, "config.json")); h.Out != "" && made == nil {
			t.Errorf("%s: something was written", want)
		}
	}
}
