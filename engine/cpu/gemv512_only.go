//go:build goexperiment.simd && amd64

package cpu

import "unsafe"

// dotLines adds to the sums of 16 rows of b, stride bytes apart, their products
// with a over so many cache lines of 32 values, by the processor's bfloat16
// products. It asks for what lies ahead bytes after what it reads.
//
//go:noescape
func dotLines(a, b *uint16, stride uintptr, lines int, sums *[groupRows]float32, ahead uintptr)

// prefetchRows asks for the cache lines at p and at the 15 places that follow
// it, stride bytes apart. Any address will do.
//
//go:noescape
func prefetchRows(p unsafe.Pointer, stride uintptr)

// columnsHalf512 needs AVX512_BF16. The 16 rows of b are the lanes of a vector.
func columnsHalf512(m, n, k int, r runs, lo, hi int, a, b []uint16, dst []float32) {
	a, b, dst = a[:m*k], b[:n*k], dst[:m*n]
	stride := uintptr(k) * 2
	for i := range m {
		row := a[i*k:][:k]
		j := lo
		if j+groupRows <= hi {
			for p := 0; p < k; p += 32 { // nobody asked for the first rows
				prefetchRows(unsafe.Pointer(&b[j*k+p]), stride)
			}
		}
		for ; j+groupRows <= hi; j += groupRows {
			ahead := groupRows * stride
			if j+2*groupRows > hi {
				ahead = 0
			}
			groupHalf512(row, b[j*k:][:groupRows*k], dst[i*n+j:][:groupRows], r, ahead)
		}
		columnsHalf(1, n, k, r, j, hi, row, b, dst[i*n:])
	}
}

// groupHalf512 computes sixteen columns of one row.
func groupHalf512(a, b []uint16, dst []float32, r runs, ahead uintptr) {
	k := len(a)
	for from, to := 0, 0; from < k; from = to {
		to = r.end(from, k)
		var sums [groupRows]float32
		lines := (to - from) / 32
		if lines > 0 {
			dotLines(&a[from], &b[from], uintptr(k)*2, lines, &sums, ahead)
		}
		for j := range sums {
			sum := sumPairs(sums[j], a[from+32*lines:to], b[j*k+from+32*lines:])
			dst[j] = plus(dst[j], sum, from)
		}
	}
}
