//go:build !(goexperiment.simd && amd64)

package export

// vectorKernels: this build has none; set GOEXPERIMENT=simd on amd64.
func vectorKernels() []kernels { return nil }
