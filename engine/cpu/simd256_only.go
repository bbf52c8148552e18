//go:build goexperiment.simd && amd64

package cpu

import (
	"simd/archsimd"
	"unsafe"
)

// quads256 loads four values at p and four of the row four strides on.
func quads256(p unsafe.Pointer, stride uintptr) archsimd.Uint32x8 {
	var v archsimd.Uint32x8
	v = v.SetLo(archsimd.LoadUint32x4((*[4]uint32)(p)))
	return v.SetHi(archsimd.LoadUint32x4((*[4]uint32)(unsafe.Add(p, 4*stride))))
}
