package cpu_test

import (
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// TestFresh compares both providers with checkpoints that nobody has seen
// before, of both shapes.
func TestFresh(t *testing.T) {
	testkit.Slow(t)
	for i, family := range testkit.Families(t) {
		for j, shape := range []string{"A", "B"} {
			t.Run(family+"/"+shape, func(t *testing.T) {
				g := testkit.Fresh(t, family, 300+10*i+j, shape)
				for _, oneDNN := range []string{"off", ""} {
					enginetest.Golden(t, func(t testing.TB, dtype engine.DType) engine.Engine {
						e, err := cpu.New(cpu.Options{DType: string(dtype), OneDNN: oneDNN})
						if err != nil {
							t.Fatal(err)
						}
						t.Cleanup(func() { _ = e.Close() })
						return e
					}, g)
				}
			})
		}
	}
}
