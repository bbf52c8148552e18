//go:build goexperiment.simd && amd64 && !tiles_emulated

package cpu

// tileProducts is tileUnit.products by TDPBF16PS.
//
//go:noescape
func tileProducts(run *tileRun)

// tileColumn is tileUnit.column by TDPBF16PS.
//
//go:noescape
func tileColumn(run *tileRun)
