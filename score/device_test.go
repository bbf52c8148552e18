package score_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/engine/enginetest/slow"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/score"
)

// TestOnADevice: hidden states that have to be copied give the scores that those
// in the host's memory do, and what fails late ends the ranking.
func TestOnADevice(t *testing.T) {
	m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 4}))
	opt := score.Options{Metrics: []string{score.BI, score.BIGlobal, score.Relative, score.Angular, score.CKA, score.PPL, score.KL, score.GreedyPPL}, Matrix: true}
	for i := range 6 {
		opt.Sequences = append(opt.Sequences, slices.Repeat([]int32{int32(i), int32(5*i + 1), 9}, 5+i))
	}
	host := forest.New(m, newEngine(t, cpu.Options{DType: "float32"}), forest.Options{})
	defer host.Close()
	want := rank(t, m, host, opt)
	var armed atomic.Bool
	broken := errors.New("broken")
	e := slow.New(slow.Options{Fail: func(call string) error {
		if armed.Load() && call == "Layer.Forward" {
			return broken
		}
		return nil
	}})
	t.Cleanup(func() { _ = e.Close() })
	for _, memory := range []int64{0, 1} {
		device := forest.New(m, e, forest.Options{DeviceMemory: memory, BatchTokens: 32})
		got := rank(t, m, device, opt)
		for i := range want {
			if !slices.EqualFunc(got[i].Scores, want[i].Scores, near6) || !slices.EqualFunc(slices.Concat(got[i].Matrix...), slices.Concat(want[i].Matrix...), near6) || !slices.Equal(got[i].Order, want[i].Order) {
				t.Errorf("%s: %v %v, want %v %v", want[i].Metric, got[i].Scores, got[i].Order, want[i].Scores, want[i].Order)
			}
		}
		armed.Store(true)
		if _, err := score.Rank(context.Background(), m, device, opt); !errors.Is(err, broken) {
			t.Errorf("a call that fails late: %v", err)
		}
		armed.Store(false)
		device.Close()
	}
}

// near6 is equality within what float32 rounds; NaN is like NaN.
func near6(a, b float64) bool {
	return math.Abs(a-b) <= 1e-5*max(1, math.Abs(b)) || a != a && b != b
}
