package slow_test

import (
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/engine/enginetest/slow"
)

func build(t testing.TB, dtype engine.DType) engine.Engine {
	e := slow.New(slow.Options{DType: dtype})
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// TestEngine: an engine that is nothing like engine/cpu passes the same suite.
func TestEngine(t *testing.T) { enginetest.RunAll(t, build) }
