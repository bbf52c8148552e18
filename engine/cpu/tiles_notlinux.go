//go:build !linux && goexperiment.simd && amd64 && !tiles_emulated

package cpu

func tilesAllowed() bool { return false }
