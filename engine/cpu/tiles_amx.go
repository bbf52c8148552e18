//go:build goexperiment.simd && amd64 && !tiles_emulated

package cpu

// tileProducts computes for each pair of sixteen columns four tiles of C: the first rows
// with both, the others with both.
//
//go:noescape
func tileProducts(run *tileRun)

// tileColumn computes the two tiles of C of sixteen columns, and asks for 2 KiB a step
// from run.next on.
//
//go:noescape
func tileColumn(run *tileRun)
