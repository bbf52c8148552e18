//go:build !nopurego && (linux || darwin) && (amd64 || arm64)

package cpu

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// probe finds the quantum of rows and whether bfloat16 can be used.
func (d *oneDNN) probe() error {
	for _, q := range candidates() {
		ok, err := d.independent(q, false)
		if err != nil {
			return err
		}
		if ok {
			d.rows = q
			break
		}
	}
	if d.rows == 0 {
		return fmt.Errorf("oneDNN %s: float32 products depend on the number of rows in every way tried", d.version)
	}
	if d.rows > candidates()[0] {
		d.notes = append(d.notes, fmt.Sprintf("products are padded to multiples of %d rows, which keeps results independent of batch size on this processor", d.rows))
	}
	if !hasBF16() {
		return nil
	}
	ok, err := d.independent(d.rows, true)
	var status dnnlStatus
	switch {
	case errors.As(err, &status):
		d.notes = append(d.notes, "bfloat16 products: "+status.Error())
	case err != nil:
		return err
	case !ok:
		d.notes = append(d.notes, "bfloat16 products depend on the number of rows, so they are not used")
	default:
		d.bf16 = true
	}
	return nil
}

// maxRows bounds the rows of one primitive; longer products are cut.
const maxRows = rowTile

// independent tests small products of both layouts with many numbers of quanta
// up to maxRows: each row must equal what a single quantum gives, whatever its
// place in the quantum.
func (d *oneDNN) independent(q int, half bool) (bool, error) {
	for _, s := range []shape{{n: 64, k: 64}, {n: 512, k: 96}, {n: 172, k: 64}, {n: 96, k: 320}, {n: 64, k: 256, plain: true}, {n: 96, k: 64, plain: true}} {
		key := shapeKey{s, half}
		a, b := noise(maxRows*s.k, half, 1), noise(s.n*s.k, half, 2)
		want, err := d.quanta(key, q, 0, a, b)
		if err != nil {
			return false, err
		}
		for _, first := range []int{1, q / 2} {
			got, err := d.quanta(key, q, first, a, b)
			if err != nil {
				return false, err
			}
			if !sameBits(got, want[first*s.n:][:len(got)]) {
				return false, nil
			}
		}
		got := make([]float32, maxRows*s.n)
		for _, m := range []int{2 * q, 3 * q, 4 * q, 7 * q, 8 * q, 16 * q} {
			if m > maxRows {
				break
			}
			if err := d.multiply(0, key, m, a, b, got); err != nil {
				return false, err
			}
			if !sameBits(got[:m*s.n], want[:m*s.n]) {
				return false, nil
			}
		}
	}
	return true, nil
}

// quanta computes rows from first on one quantum at a time, as many whole ones
// as a holds.
func (d *oneDNN) quanta(key shapeKey, q, first int, a, b operand) ([]float32, error) {
	n := (maxRows - first) / q * q
	out := make([]float32, n*key.n)
	for lo := 0; lo < n; lo += q {
		if err := d.multiply(0, key, q, a.from((first+lo)*key.k), b, out[lo*key.n:]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rowsAtOnce is how many of the rows left one primitive may take: as many as
// possible, in even parts, of those that give what single quanta give.
func (d *oneDNN) rowsAtOnce(worker int, key shapeKey, left int, b operand) int {
	q := d.rows
	parts := (left + maxRows - 1) / maxRows
	n := min(roundUp((left+parts-1)/parts, q), maxRows/q*q)
	for n > q && !d.isExact(worker, key, n, b) {
		n -= q
	}
	return n
}

// isExact finds out, once, whether n rows of a shape at once give what single
// quanta give. b, the caller's own weights, saves making up large ones.
func (d *oneDNN) isExact(worker int, key shapeKey, n int, b operand) bool {
	product := productKey{key, n}
	d.mu.Lock()
	exact, known := d.exact[product]
	d.mu.Unlock()
	if known {
		return exact
	}
	if b = b.upTo(key.n * key.k); key.n*key.k < 1<<20 {
		b = noise(key.n*key.k, key.half, 4)
	}
	exact, telling := d.agrees(worker, key, n, noise(n*key.k, key.half, 3), b)
	if !telling { // constant weights prove nothing about others: be careful, ask again
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.exact[product] = exact
	return exact
}

// agrees compares n rows computed at once with quanta: all of them, or of large
// products some at the start, in the middle and at the end. The comparison is
// telling unless the weights make all columns equal or not finite.
func (d *oneDNN) agrees(worker int, key shapeKey, n int, a, b operand) (same, telling bool) {
	q := d.rows
	whole, part := make([]float32, n*key.n), make([]float32, q*key.n)
	if d.multiply(worker, key, n, a, b, whole) != nil {
		return false, true
	}
	telling = differ(whole[:key.n])
	for lo := 0; lo < n; lo += q {
		if middle := n / 2 / q * q; key.n*key.k >= 1<<20 && lo > q && lo != middle && lo < n-2*q {
			continue
		}
		if d.multiply(worker, key, q, a.from(lo*key.k), b, part) != nil || !sameBits(part, whole[lo*key.n:][:q*key.n]) {
			return false, telling
		}
	}
	return true, telling
}

// differ reports whether a row of a product can tell anything: weights that
// make all columns equal, or not finite, prove nothing about others.
func differ(row []float32) bool {
	return len(row) == 1 || slices.ContainsFunc(row, func(x float32) bool { return x != row[0] && x == x && x != 0 })
}

func (o operand) upTo(n int) operand {
	if o.bf16 != nil {
		return operand{bf16: o.bf16[:n]}
	}
	return operand{f32: o.f32[:n]}
}

func sameBits(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}
