package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/safetensors"
)

func roundBF16(x float32) uint16 { return number.ToBF16(x) }
func fromBF16(h uint16) float32  { return number.FromBF16(h) }
func fromF16(h uint16) float32   { return number.FromF16(h) }

// widen converts stored values to float32. src holds at least len(dst) values of dtype.
func (e *Engine) widen(dst []float32, src []byte, dtype safetensors.DType) {
	src = src[:len(dst)*dtype.Size()]
	if values, ok := asUint16(src); ok && dtype == safetensors.BF16 {
		e.k.widen(dst, values)
	} else if ok && dtype == safetensors.F16 {
		e.k.widenHalf(dst, values)
	} else if floats, ok := asFloat32(src); ok && dtype == safetensors.F32 {
		copy(dst, floats)
	} else {
		widenBytes(dst, src, dtype)
	}
}

// widenBytes is widen for bytes that lie anywhere.
func widenBytes(dst []float32, src []byte, dtype safetensors.DType) {
	switch dtype {
	case safetensors.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(src[4*i]) | uint32(src[4*i+1])<<8 | uint32(src[4*i+2])<<16 | uint32(src[4*i+3])<<24)
		}
	case safetensors.BF16:
		src = src[:2*len(dst)]
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(src[2*i])<<16 | uint32(src[2*i+1])<<24)
		}
	case safetensors.F16:
		src = src[:2*len(dst)]
		for i := range dst {
			dst[i] = fromF16(uint16(src[2*i]) | uint16(src[2*i+1])<<8)
		}
	default:
		panic(fmt.Sprintf("cpu: dtype %s cannot be computed with", dtype)) // model.Check refuses it
	}
}

// roundAll rounds values to bfloat16 in place, keeping them float32.
func roundAll(xs []float32) {
	for i, x := range xs {
		xs[i] = fromBF16(roundBF16(x))
	}
}

// asFloat32 and asUint16 view little-endian bytes as numbers without copying;
// ok is false where they are not aligned for it.
func asFloat32(b []byte) ([]float32, bool) { return view[float32](b) }
func asUint16(b []byte) ([]uint16, bool)   { return view[uint16](b) }

func view[T float32 | uint16](b []byte) ([]T, bool) {
	var zero T
	if len(b) == 0 || !littleEndian || uintptr(unsafe.Pointer(&b[0]))%unsafe.Alignof(zero) != 0 {
		return nil, false
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(zero))), true
}

// packBF16, widenBF16 and widenF16 convert runs of numbers.
func packBF16(dst []uint16, src []float32) {
	dst = dst[:len(src)]
	for i, v := range src {
		dst[i] = roundBF16(v)
	}
}

func widenBF16(dst []float32, src []uint16) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] = fromBF16(src[i])
	}
}

func widenF16(dst []float32, src []uint16) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] = fromF16(src[i])
	}
}
