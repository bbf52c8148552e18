// Package cuda is the engine that runs on an NVIDIA GPU: matrix products by
// cuBLASLt, everything else by the kernels of the folder kernels, which NVRTC
// compiles for the device when they are first needed. The driver and both libraries
// are opened at run time; without them nothing of this package runs.
//
// It implements package engine's forward half and knows nothing beyond it. Every
// call queues work on one stream and returns; one goroutine, locked to its thread,
// talks to the driver. A token's result has the same bits whatever it is packed
// with: products use algorithms that were probed for that (law.go), kernels add in
// an order that a token's own sequence decides.
//
// What runs where no GPU is belongs in cudatest: fakes of the three libraries.
package cuda

import (
	"embed"
	"errors"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/engine"
)

// ErrNoGPU is wrapped by errors of machines without an NVIDIA GPU or its driver,
// and of builds that cannot use one.
var ErrNoGPU = errors.New("no NVIDIA GPU was found")

// Options choose how an Engine computes.
type Options struct {
	Device int // which GPU, counted from 0
	// DType is "float32", "bfloat16" or "auto" (also ""), which is bfloat16.
	DType string
	// Memory bounds the bytes taken of the device; 0: what is free, less a reserve.
	Memory int64
	// Cache is a folder for compiled kernels and for what was probed; "": none.
	Cache string
	// Probes are the numbers of rows, ascending, that algorithms of products are tried
	// with when a shape is new; nil: those that suit a GPU. Results do not depend on
	// them; the largest is how many rows are multiplied at a time.
	Probes []int
	// Getenv reads the environment: COPPICE_CUDA is a folder to look for libraries
	// in before all others, CUDA_HOME, CUDA_PATH, VIRTUAL_ENV and CONDA_PREFIX say
	// where those of others lie. nil: it is empty.
	Getenv func(string) string
}

//go:embed kernels
var sources embed.FS

// dtype checks Options.DType.
func (o Options) dtype() (engine.DType, error) {
	if !slices.Contains([]string{"", "auto", string(engine.Float32), string(engine.BFloat16)}, o.DType) {
		return "", fmt.Errorf("dtype %q does not exist; choose auto, float32 or bfloat16", o.DType)
	}
	if o.DType == string(engine.Float32) {
		return engine.Float32, nil
	}
	return engine.BFloat16, nil
}
