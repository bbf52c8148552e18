//go:build !goexperiment.simd || !amd64

package cpu

// tileProduct is of processors with tiles.
type tileProduct struct{}

func withTiles(mul multiplier, _ *kernels) multiplier { return mul }

func beneath(multiplier) multiplier { return nil }

func tileMemory(int64) int64 { return 0 }

func (*Engine) tiled() bool { return false }

func (*forward) attendTiles(*worker, tile) {}

func (*backward) attendTiles(*worker, int, int) {}
