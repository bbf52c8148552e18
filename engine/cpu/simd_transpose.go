//go:build goexperiment.simd && amd64

package cpu

import (
	"simd/archsimd"
	"unsafe"
)

// transpose fills a panel [depth, pitch] from rows of b, stride values apart,
// one a column: eight by eight values in registers of AVX2.
func transpose(panel []float32, pitch int, b []float32, columns, stride, depth int) {
	j := 0
	for ; j+8 <= columns; j += 8 {
		rows := b[j*stride : (j+7)*stride+depth]
		i := 0
		for ; i+8 <= depth; i += 8 {
			transpose8(&panel[i*pitch+j : (i+7)*pitch+j+8][0], uintptr(pitch)*4, &rows[i], uintptr(stride)*4)
		}
		for ; i < depth; i++ {
			for c := range 8 {
				panel[i*pitch+j+c] = rows[c*stride+i]
			}
		}
	}
	archsimd.ClearAVXUpperBits()
	for ; j < columns; j++ {
		for i, x := range b[j*stride:][:depth] {
			panel[i*pitch+j] = x
		}
	}
}

// transpose8 writes eight rows of eight values as columns; strides are in bytes.
func transpose8(to *float32, pitch uintptr, from *float32, stride uintptr) {
	p := unsafe.Pointer(from)
	a0, a4 := row8(p), row8(unsafe.Add(p, 4*stride))
	a1, a5 := row8(unsafe.Add(p, stride)), row8(unsafe.Add(p, 5*stride))
	p = unsafe.Add(p, 2*stride)
	a2, a6 := row8(p), row8(unsafe.Add(p, 4*stride))
	a3, a7 := row8(unsafe.Add(p, stride)), row8(unsafe.Add(p, 5*stride))

	b0, b1 := a0.SetHi(a4.GetLo()), a1.SetHi(a5.GetLo()) // values 0 to 3 of rows r and r+4
	b2, b3 := a2.SetHi(a6.GetLo()), a3.SetHi(a7.GetLo())
	q := unsafe.Pointer(to)
	quarter(q, pitch, b0, b1, b2, b3)
	b0, b1 = a0.Select128FromPair(1, 3, a4), a1.Select128FromPair(1, 3, a5) // values 4 to 7
	b2, b3 = a2.Select128FromPair(1, 3, a6), a3.Select128FromPair(1, 3, a7)
	quarter(unsafe.Add(q, 4*pitch), pitch, b0, b1, b2, b3)
}

// quarter transposes four by four within both halves and stores the four rows.
func quarter(q unsafe.Pointer, pitch uintptr, b0, b1, b2, b3 archsimd.Uint32x8) {
	w0, w1, w2, w3 := turn(b0, b1, b2, b3)
	store8(q, w0)
	store8(unsafe.Add(q, pitch), w1)
	store8(unsafe.Add(q, 2*pitch), w2)
	store8(unsafe.Add(q, 3*pitch), w3)
}

func row8(p unsafe.Pointer) archsimd.Uint32x8 { return archsimd.LoadUint32x8((*[8]uint32)(p)) }

func store8(p unsafe.Pointer, v archsimd.Uint64x4) { v.Store((*[4]uint64)(p)) }
