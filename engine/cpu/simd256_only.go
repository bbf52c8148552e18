//go:build goexperiment.simd && amd64

package cpu

import "simd/archsimd"

func quarter256(v vec256) archsimd.Float32x4 { return v.GetLo().Add(v.GetHi()) }
