// Package number converts between float32 and the formats that weights are
// stored in: bfloat16, IEEE half precision, float32, little endian.
//
// Only the formats belong here. Fast loops over them are an engine's, what a
// tensor means is package model's.
package number

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/coppice-ml/coppice/safetensors"
)

// ToBF16 rounds to the nearest bfloat16, ties to even, and keeps NaN a NaN.
func ToBF16(x float32) uint16 {
	bits := math.Float32bits(x)
	if bits&0x7fffffff > 0x7f800000 {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// FromBF16 widens exactly.
func FromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// FromF16 widens an IEEE half-precision number exactly.
func FromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch {
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	}
	v := float32(frac) * (1.0 / (1 << 24)) // subnormal: frac * 2^-24
	return math.Float32frombits(math.Float32bits(v) | sign)
}

// ToF16 rounds to the nearest half-precision number, ties to even; what is too
// large becomes infinite.
func ToF16(x float32) uint16 {
	bits := math.Float32bits(x)
	sign, magnitude := uint16(bits>>16&0x8000), bits&0x7fffffff
	switch {
	case magnitude > 0x7f800000:
		return sign | 0x7e00
	case magnitude >= 0x477ff000: // 65520: halfway to the one after the largest
		return sign | 0x7c00
	case magnitude < 0x38800000: // subnormal: units of 2^-24
		return sign | uint16(math.RoundToEven(math.Abs(float64(x))*(1<<24)))
	}
	return sign | uint16((magnitude-0x38000000+0xfff+magnitude>>13&1)>>13)
}

// Widen converts stored values to float32; src holds at least len(dst) values of
// the dtype, which is F32, BF16 or F16: another panics.
func Widen(dst []float32, src []byte, d safetensors.DType) {
	src = src[:len(dst)*d.Size()]
	switch d {
	case safetensors.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	case safetensors.BF16:
		for i := range dst {
			dst[i] = FromBF16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	case safetensors.F16:
		for i := range dst {
			dst[i] = FromF16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	default:
		panic(fmt.Sprintf("number: dtype %s has no float32 values", d))
	}
}

// Narrow stores values as a dtype, F32, BF16 or F16, rounding to nearest even;
// dst has room for them.
func Narrow(dst []byte, src []float32, d safetensors.DType) {
	dst = dst[:len(src)*d.Size()]
	switch d {
	case safetensors.F32:
		for i, v := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case safetensors.BF16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], ToBF16(v))
		}
	case safetensors.F16:
		for i, v := range src {
			binary.LittleEndian.PutUint16(dst[2*i:], ToF16(v))
		}
	default:
		panic(fmt.Sprintf("number: dtype %s has no float32 values", d))
	}
}
