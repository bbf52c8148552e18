//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"fmt"

	"github.com/coppice-ml/coppice/engine"
)

var _ engine.Diagnosed = (*Engine)(nil)

// Diagnosis implements engine.Diagnosed.
func (e *Engine) Diagnosis() engine.Diagnosis {
	const gib = 1 << 30
	return engine.Diagnosis{
		Provider: e.info.Provider,
		Rows:     64,
		BFloat16: e.half,
		Kernels:  fmt.Sprintf("CUDA C by NVRTC %s for sm_%d", e.c.is, e.device.architecture()),
		Notes: []string{
			fmt.Sprintf("GPU %d: %s, compute capability %d.%d, %.1f GiB, of which %.1f may be used", e.device.ordinal, e.device.name, e.device.major, e.device.minor,
				float64(e.device.memory)/gib, float64(e.pool.limit)/gib),
			fmt.Sprintf("driver %s: CUDA %d.%d", e.d.path, e.device.driver/1000, e.device.driver%1000/10),
			"cuBLASLt " + e.b.is + ": " + e.b.path,
			"NVRTC " + e.c.is + ": " + e.c.path,
		},
	}
}
