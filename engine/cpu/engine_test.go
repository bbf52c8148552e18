package cpu_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// TestEngine runs the conformance suite with each provider, with different
// numbers of workers, and with bfloat16 inputs rounded as hardware does.
func TestEngine(t *testing.T) {
	for name, c := range map[string]struct {
		opt   cpu.Options
		round bool
	}{
		"oneDNN":               {},
		"oneDNN/rounded":       {round: true},
		"oneDNN/three workers": {opt: cpu.Options{Threads: 3}},
		"Go":                   {opt: cpu.Options{OneDNN: "off"}, round: true},
		"Go/one worker":        {opt: cpu.Options{OneDNN: "off", Threads: 1}},
		"Go/scalar kernels":    {opt: cpu.Options{OneDNN: "off", Kernels: "scalar"}},
	} {
		t.Run(name, func(t *testing.T) {
			run := enginetest.RunAll
			if name != "oneDNN" && name != "Go" && !testkit.IsSlow() { // the same passes, cut up in another way
				run = enginetest.RunForward
			}
			run(t, func(t testing.TB, dtype engine.DType) engine.Engine {
				c.opt.DType = string(dtype)
				e, err := cpu.Start(c.opt)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = e.Close() })
				if c.opt.OneDNN == "" && strings.HasPrefix(e.Info().Provider, "Go") {
					t.Skipf("no oneDNN: %v", e.Info().Notes)
				}
				if c.round && dtype == engine.BFloat16 {
					cpu.RoundInputs(e)
				}
				return e
			})
		})
	}
}

// TestOddRows does so with providers whose rows come in quanta, see OddRows.
func TestOddRows(t *testing.T) {
	for _, opt := range []cpu.Options{
		{Provider: cpu.OddRows(2, 8)},
		{Provider: cpu.OddRows(6, 2), Threads: 3},
		{Provider: cpu.OddRows(8, 6), Threads: 1},
		{Provider: cpu.OddRows(12, 16), Kernels: "scalar"},
		{Provider: cpu.OddRows(16, 24), Threads: 16},
		{Provider: cpu.OddRows(24, 12)},
	} {
		e, err := cpu.Start(opt)
		if err != nil {
			t.Fatal(err)
		}
		_ = e.Close()
		t.Run(e.Info().Provider, func(t *testing.T) {
			run := enginetest.RunForward
			if testkit.IsSlow() {
				run = enginetest.RunAll
			} else if opt.Threads == 3 {
				run = func(t *testing.T, build enginetest.New) {
					enginetest.RunForward(t, build)
					enginetest.RunGradients(t, build)
				}
			}
			run(t, func(t testing.TB, dtype engine.DType) engine.Engine {
				opt.DType = string(dtype)
				e, err := cpu.Start(opt)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = e.Close() })
				return e
			})
		})
	}
}

// TestManyWorkers: what an engine says of memory holds for up to 64 workers.
func TestManyWorkers(t *testing.T) {
	for _, threads := range []int{1, 4, 16, 64} {
		for _, oneDNN := range []string{"", "off"} {
			t.Run(fmt.Sprint(threads, oneDNN), func(t *testing.T) {
				enginetest.Memory(t, func(t testing.TB, dtype engine.DType) engine.Engine {
					e, err := cpu.Start(cpu.Options{DType: string(dtype), Threads: threads, OneDNN: oneDNN})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = e.Close() })
					return e
				})
			})
		}
	}
}

func TestOptions(t *testing.T) {
	for name, opt := range map[string]cpu.Options{
		"dtype":   {DType: "float16"},
		"threads": {Threads: -1},
		"library": {OneDNN: "/no/such/libdnnl.so"},
	} {
		if _, err := cpu.Start(opt); err == nil {
			t.Errorf("%s: %+v was taken", name, opt)
		}
	}
}
