//go:build !nopurego && linux && (amd64 || arm64)

package cuda_test

import (
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cuda"
	"github.com/coppice-ml/coppice/engine/cuda/cudatest"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// build starts an engine on the fake GPU, or on one of this machine's.
func build(t testing.TB, dtype engine.DType) engine.Engine {
	t.Helper()
	if onGPU() {
		return openGPU(t, cuda.Options{DType: string(dtype)})
	}
	return start(t, cudatest.New(t), cuda.Options{DType: string(dtype)}, cuda.Tuning{})
}

func start(t testing.TB, f *cudatest.Fake, o cuda.Options, tuning cuda.Tuning) engine.Engine {
	t.Helper()
	o.Getenv, o.Cache, o.Probes = f.Getenv, f.Cache, cudatest.Probes()
	e, err := cuda.Start(o, tuning)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// TestEngine: the conformance suite's forward half on the fake GPU, of which make
// test runs what takes seconds.
func TestEngine(t *testing.T) {
	if !onGPU() {
		cudatest.New(t) // one skip where it cannot be built
	}
	if testkit.IsSlow() {
		enginetest.RunForward(t, build)
	} else {
		enginetest.RunSome(t, build)
	}
}
