package cpu

import "math"

// runs says how a library cuts the depth of a product into runs of so many values:
// each run is summed in order, from zero, and then come the sums of the runs.
type runs struct {
	length int
	// halves says that what is left, more than a run but not two, is cut in the
	// middle, as oneDNN's kernels for AVX2 cut it.
	halves bool
}

// end is where the run ends that begins at a place of a depth of k values.
func (r runs) end(from, k int) int {
	if rest := k - from; r.halves && rest > r.length && rest < 2*r.length {
		return from + (rest+1)/2
	}
	return min(from+r.length, k)
}

// columns: dst[i, j] = a [m, k] x b[j] for rows lo <= j < hi of b [n, k]. Sums
// run over the depth in the order in which a library's kernels sum.
func columns(m, n, k int, r runs, lo, hi int, a, b, dst []float32) {
	for i := range m {
		for j := lo; j < hi; j++ {
			row := b[j*k:][:k]
			var total float32
			for from, to := 0, 0; from < k; from = to {
				to = r.end(from, k)
				var sum float32
				for p, x := range a[i*k:][from:to] {
					sum = fma32(x, row[from+p], sum)
				}
				total = plus(total, sum, from)
			}
			dst[i*n+j] = total
		}
	}
}

// columnsHalf is columns for weights in bfloat16, as are the values of a. Of
// the two values of a pair the second goes first (VDPBF16PS). Products of
// bfloat16 are exact in float32, so that no fused multiply-add is needed.
func columnsHalf(m, n, k int, r runs, lo, hi int, a, b []uint16, dst []float32) {
	for i := range m {
		for j := lo; j < hi; j++ {
			x, row := a[i*k:][:k], b[j*k:][:k]
			var total float32
			for from, to := 0, 0; from < k; from = to {
				to = r.end(from, k)
				total = plus(total, sumPairs(0, x[from:to], row[from:]), from)
			}
			dst[i*n+j] = total
		}
	}
}

// sumPairs adds the products of x and row to a sum.
func sumPairs(sum float32, x, row []uint16) float32 {
	for p := 0; p < len(x); p += 2 {
		if p+1 < len(x) {
			sum += float32(fromBF16(x[p+1]) * fromBF16(row[p+1]))
		}
		sum += float32(fromBF16(x[p]) * fromBF16(row[p]))
	}
	return sum
}

// plus adds a run's sum; the first is taken as it is, which keeps a negative zero.
func plus(total, sum float32, from int) float32 {
	if from == 0 {
		return sum
	}
	return total + sum
}

// fma32 is x*y + z, rounded once. The product is exact in float64; where the sum
// is not, it is rounded to odd first, which the rounding to float32 cannot see
// through (Boldo & Melquiond 2008).
func fma32(x, y, z float32) float32 {
	p, c := float64(x)*float64(y), float64(z)
	s := p + c
	b := s - p
	rest := (p - (s - b)) + (c - b)
	if bits := math.Float64bits(s); rest != 0 && rest == rest && bits&1 == 0 {
		if (rest > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}
