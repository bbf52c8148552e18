//go:build !nopurego && linux && (amd64 || arm64)

package forest_test

import (
	"math"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cuda"
	"github.com/coppice-ml/coppice/engine/cuda/cudatest"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

// TestOnAGPU: engine/cuda on a fake GPU gives what engine/cpu gives, and every
// variant the bits it has alone, with layers that stay and, where a plan leaves no
// room for them, layers that stream while the one before computes.
func TestOnAGPU(t *testing.T) {
	for name, m := range map[string]*model.Model{
		"llama":  enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4, DType: "BF16"})),
		"gemma2": enginetest.Pico(t, "gemma2"),
	} {
		t.Run(name, func(t *testing.T) {
			seqs := sequences()[:4]
			lists := [][]int{nil, {2, 0}}
			want := together(t, newRunner(t, m, newEngine(t), forest.Options{}), lists, seqs)
			f := cudatest.New(t)
			e, err := cuda.New(cuda.Options{DType: string(engine.Float32), Getenv: f.Getenv, Cache: f.Cache, Probes: cudatest.Probes()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = e.Close() })
			needs := e.Memory(m, engine.LayerOptions{}).Device
			least := needs.Fixed + needs.Embedding + needs.Head + 3*needs.Layer + 300*(needs.Row+needs.Hidden)
			var first [][][]engine.TokenScore
			for _, device := range []int64{0, least} {
				r := newRunner(t, m, e, forest.Options{DeviceMemory: device, BatchTokens: 64})
				c := costOf(t, r, variants(lists, func(int, int, []engine.TokenScore) {}), forest.Sequences(seqs))
				got := together(t, r, lists, seqs)
				if device > 0 && c.DeviceMemory > device {
					t.Errorf("%d bytes allowed, %d announced", device, c.DeviceMemory)
				}
				if first == nil {
					first = got
				}
				for v := range lists {
					if !slices.EqualFunc(got[v], first[v], slices.Equal) {
						t.Errorf("%d bytes of device: variant %d differs", device, v)
					}
					for i := range seqs {
						for j, s := range got[v][i] {
							if d := s.LogProb - want[v][i][j].LogProb; !(math.Abs(d) < 1e-4) {
								t.Fatalf("variant %d, sequence %d, token %d: %g from engine/cpu's", v, i, j, d)
							}
						}
					}
				}
				r.Close()
			}
		})
	}
}
