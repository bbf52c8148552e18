//go:build !linux && goexperiment.simd && amd64

package cpu

func tilesAllowed() bool { return false }
