package stage

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine/enginetest"
)

// TestHealFamilies: families without goldens of training learn rows by heart, by the
// command's own stage, and what is written has learnt them when it is read again.
// Gradients are held by engine/enginetest.
func TestHealFamilies(t *testing.T) {
	rows := [][]int32{{5, 9, 40, 41, 7, 250, 33, 12, 99, 5, 8, 120}, {17, 3, 201, 44, 90, 91, 92, 16, 2, 77}}
	for _, family := range []string{"cohere", "gemma3", "glm4", "granite", "nemotron", "olmo2", "opt", "phi3", "smollm3", "stablelm"} {
		for _, method := range []string{"partial", "lora"} {
			t.Run(family+"/"+method, func(t *testing.T) {
				m := enginetest.Pico(t, family)
				h := DefaultHeal()
				h.Model, h.Out, h.Method = m.Source.(*checkpoint.Checkpoint).Dir(), filepath.Join(t.TempDir(), "out"), method
				h.Engine = Engine{DType: "float32"}
				h.Data.Tokens, h.Data.Validation = rowsFile(t, rows), 0
				h.NoShuffle, h.Steps, h.Batch, h.LR, h.Warmup, h.Last, h.SaveDType = true, 30, 2, 1e-2, 2, 2, "float32"
				drop, adapter := "1", ""
				if method == "lora" {
					h.Dropout, drop, adapter = 0, "", h.Out
				}
				h.Layers.Drop = drop
				_, steps := healed(t, h)
				first, last := float64(steps[0].Loss), float64(steps[len(steps)-1].Loss)
				for _, s := range steps {
					if math.IsNaN(float64(s.Loss)) || math.IsInf(float64(s.Loss), 0) || !(s.GradNorm > 0) {
						t.Fatalf("step %d: loss %v, gradient norm %v", s.Step, s.Loss, s.GradNorm)
					}
				}
				if len(steps) != 30 || !(last < first/2) {
					t.Fatalf("%d steps, loss %.4f at first, %.4f at last", len(steps), first, last)
				}
				dir := h.Out
				if adapter != "" {
					dir = h.Model
				}
				// one update more than the last step's loss has seen
				if got := lossOf(rows, logitsOf(t, dir, adapter, rows, m.Spec.Vocab), m.Spec.Vocab); !(got < last*1.1) {
					t.Errorf("loss %.4f when it is read again, %.4f before the last update", got, last)
				}
			})
		}
	}
}

// rowsFile writes rows every token of which is to be learnt.
func rowsFile(t *testing.T, rows [][]int32) string {
	t.Helper()
	var b strings.Builder
	for _, ids := range rows {
		raw, err := json.Marshal(map[string][]int32{"input_ids": ids, "labels": ids})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", raw)
	}
	return write(t, filepath.Join(t.TempDir(), "rows.jsonl"), b.String())
}

// lossOf is the mean of -log p of every token but each row's first, from logits.
func lossOf(rows [][]int32, logits []float32, vocab int) float64 {
	var loss float64
	at, n := 0, 0
	for _, ids := range rows {
		for i := range ids {
			row := logits[at*vocab : (at+1)*vocab]
			if at++; i+1 == len(ids) {
				continue
			}
			var sum float64
			for _, x := range row {
				sum += math.Exp(float64(x))
			}
			loss += math.Log(sum) - float64(row[ids[i+1]])
			n++
		}
	}
	return loss / float64(n)
}
