//go:build nopurego || !linux || !(amd64 || arm64)

package cuda

import (
	"fmt"

	"github.com/coppice-ml/coppice/engine"
)

// New starts the engine, which this build does not have.
func New(Options) (engine.Engine, error) {
	return nil, fmt.Errorf("%w: this build has no CUDA engine, which needs Linux and purego", ErrNoGPU)
}
