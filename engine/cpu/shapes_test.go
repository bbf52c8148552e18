package cpu_test

import (
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// TestShapes holds gradients of wide models and long batches to float64.
func TestShapes(t *testing.T) {
	testkit.Slow(t)
	for _, opt := range []cpu.Options{{}, {OneDNN: "off", Threads: 3}} {
		e := newEngine(t, opt)
		t.Run(e.Info().Provider, func(t *testing.T) {
			enginetest.RunShapes(t, func(testing.TB, engine.DType) engine.Engine { return e })
		})
	}
}

func newEngine(t testing.TB, opt cpu.Options) *cpu.Engine {
	t.Helper()
	if opt.DType == "" {
		opt.DType = string(engine.Float32)
	}
	e, err := cpu.Start(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}
