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
	for _, q := range quanta() {
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
	if d.rows > quanta()[0] {
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
const maxRows = 192

// independent tests small products of both layouts with many numbers of quanta
// up to maxRows: each row must equal what a single quantum gives.
func (d *oneDNN) independent(q int, half bool) (bool, error) {
	for _, s := range []shape{{n: 64, k: 64}, {n: 512, k: 96}, {n: 172, k: 64}, {n: 96, k: 320}, {n: 64, k: 256, plain: true}, {n: 96, k: 64, plain: true}} {
		key := shapeKey{s, half}
		a, b := noise(maxRows*s.k, half, 1), noise(s.n*s.k, half, 2)
		want, err := d.reference(key, q, a, b)
		if err != nil {
			return false, err
		}
		got := make([]float32, maxRows*s.n)
		for _, quanta := range []int{1, 2, 3, 4, 5, 7, 8, 11, 16, 25, 32, 57, 96} {
			m := quanta * q
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

// reference computes maxRows rows (whole quanta) one quantum at a time.
func (d *oneDNN) reference(key shapeKey, q int, a, b operand) ([]float32, error) {
	out := make([]float32, (maxRows+q)*key.n)
	for lo := 0; lo+q <= maxRows; lo += q {
		if err := d.multiply(0, key, q, a.from(lo*key.k), b, out[lo*key.n:]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rowsAtOnce is how many rows one primitive of the shape may take so that they
// still equal single quanta. It is found out once, by comparing rows at the
// start, in the middle and at the end; b, the caller's own weights, saves
// making up large ones.
func (d *oneDNN) rowsAtOnce(worker int, key shapeKey, b operand) int {
	d.mu.Lock()
	n, ok := d.longest[key]
	d.mu.Unlock()
	if ok {
		return n
	}
	q := d.rows
	a := noise(maxRows*key.k, key.half, 3)
	if b = b.upTo(key.n * key.k); key.n*key.k < 1<<20 {
		b = noise(key.n*key.k, key.half, 4)
	}
	for n = maxRows / q * q; n > q; n = n / 2 / q * q {
		same, telling := d.agrees(worker, key, n, a, b)
		if !telling { // constant weights prove nothing about others: be careful, ask again
			return q
		}
		if same {
			break
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.longest[key] = max(n, q)
	return max(n, q)
}

// agrees compares n rows computed at once with quanta of them. The comparison
// is telling unless the weights make all columns equal or not finite.
func (d *oneDNN) agrees(worker int, key shapeKey, n int, a, b operand) (same, telling bool) {
	q := d.rows
	whole, part := make([]float32, n*key.n), make([]float32, q*key.n)
	if d.multiply(worker, key, n, a, b, whole) != nil {
		return false, true
	}
	row := whole[:key.n]
	telling = key.n == 1 || slices.ContainsFunc(row, func(x float32) bool { return x != row[0] && x == x && x != 0 })
	for _, lo := range []int{0, q, n / 2 / q * q, n - q} {
		if d.multiply(worker, key, q, a.from(lo*key.k), b, part) != nil || !sameBits(part, whole[lo*key.n:][:q*key.n]) {
			return false, telling
		}
	}
	return true, telling
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
