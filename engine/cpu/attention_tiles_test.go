package cpu_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// TestTileAttention holds attention by tiles, forwards and backwards, to attention in
// float32 beside the same other products: over several blocks of keys and places of
// queries, through parents, windows, soft caps and heads that do not fill a tile.
func TestTileAttention(t *testing.T) {
	for name, open := range map[string]func() *model.Model{
		"heads of 64":  func() *model.Model { return wideHeads(t, 64, 4, 2) },
		"heads of 80":  func() *model.Model { return wideHeads(t, 80, 3, 3) },
		"heads of 128": func() *model.Model { return wideHeads(t, 128, 7, 1) },
		"soft cap":     func() *model.Model { return enginetest.Pico(t, "gemma2") },
		"window":       func() *model.Model { return enginetest.Pico(t, "mistral") },
		"long window":  func() *model.Model { return enginetest.Pico(t, "olmo3") },
		"interleaved":  func() *model.Model { return enginetest.Pico(t, "chatglm") },
	} {
		t.Run(name, func(t *testing.T) {
			m := open()
			exact := newEngine(t, cpu.Options{DType: "bfloat16", Threads: 2})
			if !cpu.FloatAttention(exact) {
				t.Skip("needs a processor that multiplies bfloat16")
			}
			for _, rows := range []int{40, 1810} {
				want, got := newLesson(t, exact, m, rows, false), newLesson(t, newEngine(t, cpu.Options{DType: "bfloat16", Threads: 2}), m, rows, false)
				want.learn(nil)
				got.learn(nil)
				near := func(what string, got, want []float32) {
					t.Helper()
					if d := testkit.RelL2(got, want); !(d <= 0.02) {
						t.Errorf("%d rows: %s is %.2g away", rows, what, d)
					}
				}
				near("output", got.output(), want.output())
				gradients := got.results()
				for tensor, values := range want.results() {
					near(fmt.Sprint("gradient of ", tensor), gradients[tensor], values)
				}
			}
		})
	}
}

// output is what the layer's forward pass gave in the wanted rows.
func (l *lesson) output() (out []float32) {
	l.t.Helper()
	y, err := l.y.Host(context.Background())
	l.must(err)
	for _, row := range l.rows {
		out = append(out, y[row*l.m.Spec.Hidden:][:l.m.Spec.Hidden]...)
	}
	return out
}

func wideHeads(t *testing.T, dim, heads, kv int) *model.Model {
	return enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 1, Hidden: 64, HeadDim: dim, Heads: heads, KVHeads: kv, FF: 96, Vocab: 300, MaxPositions: 2048}))
}
