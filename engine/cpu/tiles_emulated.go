//go:build goexperiment.simd && amd64 && tiles_emulated

package cpu

import (
	"simd/archsimd"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// What tiles multiply, for tests on processors that have none: bit for bit what
// tiles_amx_amd64.s gives, but that TDPBF16PS takes subnormal numbers for zero.

// tilesAllowed reports whether the processor has what else tiles' kernels take.
func tilesAllowed() bool { return cpu.X86.HasAVX512BF16 }

// emulatedTile is sums, or what factors pairs of values are, as tiles hold them.
type (
	emulatedTile  = [tileEdge][tileEdge]float32
	emulatedPairs = [tileEdge][tileEdge]uint32
)

// tileProducts is the processor's (see tiles_amx.go).
func tileProducts(run *tileRun) {
	a, rows, stride, along := run.a, run.rows, run.stride, run.along
	for pair := range run.pairs {
		sums := (*[4]emulatedTile)(unsafe.Add(run.c, pair*4*tileBytes))
		if run.adds == 0 {
			clear(sums[:])
		}
		for step := range run.steps {
			b := unsafe.Add(run.b, 2*pair*run.across+step*tileBytes)
			left, right := (*emulatedPairs)(b), (*emulatedPairs)(unsafe.Add(b, run.across))
			for half := range uintptr(2) {
				tile := unsafe.Add(a, half*rows+step*along)
				multiplyTile(&sums[2*half], tile, stride, left)
				multiplyTile(&sums[2*half+1], tile, stride, right)
				if run.kept != nil && pair == 0 {
					keepTile((*emulatedPairs)(unsafe.Add(run.kept, half*run.keptRows+step*tileBytes)), tile, stride)
				}
			}
		}
		if run.kept != nil {
			a, rows, stride, along = run.kept, run.keptRows, 64, tileBytes
		}
	}
}

// tileColumn is the processor's.
func tileColumn(run *tileRun) {
	sums := (*[2]emulatedTile)(run.c)
	if run.adds == 0 {
		clear(sums[:])
	}
	for step := range run.steps {
		b := (*emulatedPairs)(unsafe.Add(run.b, step*tileBytes))
		for half := range uintptr(2) {
			multiplyTile(&sums[half], unsafe.Add(run.a, half*run.rows+step*run.along), run.stride, b)
		}
	}
}

// keepTile copies a tile whose rows are stride bytes apart.
func keepTile(dst *emulatedPairs, tile unsafe.Pointer, stride uintptr) {
	for i := range dst {
		dst[i] = *(*[tileEdge]uint32)(unsafe.Add(tile, uintptr(i)*stride))
	}
}

// multiplyTile adds a tile of a, whose rows are stride bytes apart, times one of b: for
// each sum values of even place in one chain from zero, those of odd place in another.
func multiplyTile(sums *emulatedTile, a unsafe.Pointer, stride uintptr, b *emulatedPairs) {
	const high = 0xffff0000
	upper, by := archsimd.BroadcastUint32x16(high), archsimd.BroadcastUint32x16(16)
	for i := 0; i < tileEdge; i += 4 {
		a0 := (*[tileEdge]uint32)(unsafe.Add(a, uintptr(i)*stride))
		a1 := (*[tileEdge]uint32)(unsafe.Add(a, uintptr(i+1)*stride))
		a2 := (*[tileEdge]uint32)(unsafe.Add(a, uintptr(i+2)*stride))
		a3 := (*[tileEdge]uint32)(unsafe.Add(a, uintptr(i+3)*stride))
		var even0, even1, even2, even3, odd0, odd1, odd2, odd3 vec512
		for p := range b {
			pairs := archsimd.LoadUint32x16(&b[p])
			even, odd := pairs.ShiftLeft(by).AsFloat32x16(), pairs.And(upper).AsFloat32x16()
			even0 = archsimd.BroadcastUint32x16(a0[p]<<16).AsFloat32x16().MulAdd(even, even0)
			even1 = archsimd.BroadcastUint32x16(a1[p]<<16).AsFloat32x16().MulAdd(even, even1)
			even2 = archsimd.BroadcastUint32x16(a2[p]<<16).AsFloat32x16().MulAdd(even, even2)
			even3 = archsimd.BroadcastUint32x16(a3[p]<<16).AsFloat32x16().MulAdd(even, even3)
			odd0 = archsimd.BroadcastUint32x16(a0[p]&high).AsFloat32x16().MulAdd(odd, odd0)
			odd1 = archsimd.BroadcastUint32x16(a1[p]&high).AsFloat32x16().MulAdd(odd, odd1)
			odd2 = archsimd.BroadcastUint32x16(a2[p]&high).AsFloat32x16().MulAdd(odd, odd2)
			odd3 = archsimd.BroadcastUint32x16(a3[p]&high).AsFloat32x16().MulAdd(odd, odd3)
		}
		archsimd.LoadFloat32x16(&sums[i]).Add(even0.Add(odd0)).Store(&sums[i])
		archsimd.LoadFloat32x16(&sums[i+1]).Add(even1.Add(odd1)).Store(&sums[i+1])
		archsimd.LoadFloat32x16(&sums[i+2]).Add(even2.Add(odd2)).Store(&sums[i+2])
		archsimd.LoadFloat32x16(&sums[i+3]).Add(even3.Add(odd3)).Store(&sums[i+3])
	}
	archsimd.ClearAVXUpperBits()
}
