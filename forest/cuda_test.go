//go:build !nopurego && linux && (amd64 || arm64)

package forest_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
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
	models := map[string]*model.Model{
		"llama":  enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4, Hidden: 64, Heads: 2, KVHeads: 1, HeadDim: 64, FF: 512, Vocab: 4111, DType: "BF16"})),
		"gemma2": enginetest.Pico(t, "gemma2"),
	}
	if testkit.IsSlow() {
		for _, name := range enginetest.Picos() {
			models[name] = enginetest.Pico(t, name)
		}
	}
	for name, m := range models {
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
			longest := int64(len(slices.MaxFunc(seqs, func(a, b []int32) int { return len(a) - len(b) })))
			// for three layers of the four, and all that the longest sequence takes
			least := needs.Fixed + needs.Embedding + needs.Head + 3*needs.Layer + max(64, longest)*needs.Row + 3*longest*needs.Hidden
			var first [][][]engine.TokenScore
			for _, o := range []forest.Options{{}, {DeviceMemory: least}, {DeviceMemory: least, Memory: 1 << 30}} {
				o.BatchTokens = 64
				r := newRunner(t, m, e, o)
				c := costOf(t, r, variants(lists, func(int, int, []engine.TokenScore) {}), forest.Sequences(seqs))
				got := together(t, r, lists, seqs)
				if o.DeviceMemory > 0 && c.DeviceMemory > o.DeviceMemory || c.Resident != (o.DeviceMemory == 0) {
					t.Errorf("%d bytes allowed, %d announced (resident: %t)", o.DeviceMemory, c.DeviceMemory, c.Resident)
				}
				if pinned := f.Count(t, "registered"); (pinned > 0) == c.Resident || int64(pinned) > c.Memory {
					t.Errorf("%d bytes of files are registered, %d announced (resident: %t)", pinned, c.Memory, c.Resident)
				}
				if first == nil {
					first = got
				}
				sameScores(t, fmt.Sprintf("%+v", o), got, first, want)
				r.Close()
			}
		})
	}
}

// TestNoRoomOnAGPU: where not even a layer and one sequence fit, the error says what
// would.
func TestNoRoomOnAGPU(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 2, DType: "BF16"}))
	f := cudatest.New(t)
	const allowed = 100 << 20
	e, err := cuda.New(cuda.Options{Memory: allowed, Getenv: f.Getenv, Cache: f.Cache, Probes: cudatest.Probes()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	seq := make([]int32, 200000)
	err = newRunner(t, m, e, forest.Options{DeviceMemory: allowed}).LogProbs(t.Context(), nil, [][]int32{seq}, func(int, []engine.TokenScore) error { return nil })
	for _, part := range []string{"out of memory on the GPU", "as planned, --device-memory ", "MiB is enough for 200000 tokens together", "and the 100 MiB allowed for "} {
		if !errors.Is(err, engine.ErrMemory) || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v, want one that says %s", err, part)
		}
	}
}
