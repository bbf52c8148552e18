package forest_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/engine/enginetest/slow"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// TestOnADevice: an engine with memory of its own, queued calls and copied hidden
// states gives each variant what it gives it alone, and what engine/cpu does, with
// layers that stay and layers that stream; its memory is what was announced.
func TestOnADevice(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4, Hidden: 64, FF: 512}))
	seqs := sequences()
	lists := [][]int{nil, {0, 1, 3}, {2, 0}}
	want := together(t, newRunner(t, m, newEngine(t), forest.Options{}), lists, seqs)
	var first [][][]engine.TokenScore
	for _, device := range []int64{0, 8 << 20, 5 << 20} {
		e := slow.New(slow.Options{})
		t.Cleanup(func() { _ = e.Close() })
		r := newRunner(t, m, e, forest.Options{DeviceMemory: device, BatchTokens: 64})
		c := costOf(t, r, variants(lists, func(int, int, []engine.TokenScore) {}), forest.Sequences(seqs))
		got := together(t, r, lists, seqs)
		if _, peak := e.DeviceMemory(); peak > c.DeviceMemory || device > 0 && c.DeviceMemory > device || c.Resident != (device != 5<<20) {
			t.Errorf("%d bytes allowed, %d announced (resident: %t), %d taken", device, c.DeviceMemory, c.Resident, peak)
		}
		if first == nil {
			first = got
		}
		sameScores(t, fmt.Sprintf("%d bytes of device", device), got, first, want)
	}
}

// sameScores compares scores of variants: with those of the same engine to the last
// bit, and with engine/cpu's.
func sameScores(t *testing.T, what string, got, same, near [][][]engine.TokenScore) {
	t.Helper()
	for v := range got {
		if !slices.EqualFunc(got[v], same[v], slices.Equal) {
			t.Errorf("%s: variant %d differs", what, v)
		}
		for i := range got[v] {
			for j, s := range got[v][i] {
				if d := s.LogProb - near[v][i][j].LogProb; !(math.Abs(d) < 1e-4) {
					t.Fatalf("%s: variant %d, sequence %d, token %d: %g from engine/cpu's", what, v, i, j, d)
				}
			}
		}
	}
}

// TestLateErrors: what fails after it was queued ends the pass, by name, and the
// next one is as if nothing had been.
func TestLateErrors(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 3}))
	broken := errors.New("broken")
	for _, failing := range []string{"Embedding.Forward", "Layer.Forward", "Head.LogProbs"} {
		for _, memory := range []int64{0, 1} {
			armed := false // touched by the queue's goroutine between calls that wait for it
			e := slow.New(slow.Options{Fail: func(call string) error {
				if armed && call == failing {
					return broken
				}
				return nil
			}})
			t.Cleanup(func() { _ = e.Close() })
			r := newRunner(t, m, e, forest.Options{Memory: memory, DeviceMemory: memory})
			want := scores(t, r, nil)
			armed = true
			err := r.LogProbs(context.Background(), nil, sequences(), func(int, []engine.TokenScore) error { return nil })
			if !errors.Is(err, broken) {
				t.Errorf("%s, %d bytes: error %v", failing, memory, err)
			}
			armed = false
			if got := scores(t, r, nil); !slices.EqualFunc(got, want, slices.Equal) {
				t.Errorf("%s, %d bytes: the next pass differs", failing, memory)
			}
		}
	}
}
