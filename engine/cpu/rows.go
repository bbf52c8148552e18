package cpu

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
)

// provider multiplies matrices by code whose bits for a row may depend on how
// many rows a call has: a library's. [rowLaw] makes a multiplier of it.
type provider interface {
	name() string
	// half reports whether the processor multiplies bfloat16 for it.
	half() bool
	// multiply sets dst [m, n] = a [m, k] x b (see multiplier.product). It reads
	// and writes nothing beyond that many values.
	multiply(worker int, key shapeKey, m int, a, b operand, dst []float32) error
	startWorker(worker int)
	stopWorker(worker int)
}

// shapeKey is a shape in one dtype of operands.
type shapeKey struct {
	shape
	half bool
}

type productKey struct {
	shapeKey
	m int
}

// rowLaw is the one place that knows how many rows a provider may be given. On
// processors with brgemm kernels a row's bits do not depend on the number of
// rows; with older ones, and with those for AMX tiles, they do, in ways that
// probing finds out:
//
//   - the quantum of a dtype: calls whose rows are multiples of it agree on small
//     products (probe, when the engine starts);
//   - the unit of a shape, a multiple of the quantum: calls of one unit agree with
//     those of a whole tile on the weights in use (unit, when a shape first comes up);
//   - of the multiples of the unit, those that agree with it (isExact).
//
// Nobody else pads: what is left of m after whole units is computed in memory of
// the law's own, so operands have exactly m rows. Where rows are cut at multiples
// of the quantum, nothing is computed in vain.
type rowLaw struct {
	provider
	kernels *kernels
	notes   []string
	rows    [2]int // quantum of float32 and of bfloat16; 0 of one that is not used
	// padding is what rows are filled up with; tests take NaN.
	padding float32

	workers []*lawWorker

	mu    sync.Mutex          // held while units and numbers of rows are found out
	units map[shapeKey]int    // unit of each shape
	exact map[productKey]bool // what probing said of a number of rows
	a, b  [2]operand          // noise, by dtype, and memory to probe in
	whole []float32
	part  []float32

	finding sync.Mutex          // held while an order or a block is found out
	runs    map[shapeKey]runs   // what probing said of the order of sums
	blocks  map[columnsKey]bool // what it said of columns alone
	turned  map[shapeKey]bool   // and of weights laid out for many rows
}

// lawWorker is what one worker has seen of what the law knows, and its memory.
type lawWorker struct {
	units  map[shapeKey]int
	atOnce map[productKey]int // rows that one call may take of so many
	runs   map[shapeKey]runs
	blocks map[columnsKey]bool
	tail   operand // [unit, k]
	out    []float32
	block  []float32
}

// errDependent says that no quantum makes rows independent.
var errDependent = errors.New("products depend on the number of rows in every way tried")

// newRowLaw finds the quanta. It fails where float32 products cannot be used.
func newRowLaw(p provider, workers int, k *kernels, padding float32) (*rowLaw, error) {
	l := &rowLaw{
		provider: p, kernels: k, padding: padding,
		units: map[shapeKey]int{}, exact: map[productKey]bool{}, runs: map[shapeKey]runs{}, blocks: map[columnsKey]bool{}, turned: map[shapeKey]bool{},
	}
	for range workers {
		l.workers = append(l.workers, &lawWorker{
			units: map[shapeKey]int{}, atOnce: map[productKey]int{}, runs: map[shapeKey]runs{}, blocks: map[columnsKey]bool{},
		})
	}
	var err error
	if l.rows[0], err = l.probe(false); err != nil {
		return nil, fmt.Errorf("%s: float32 %w", p.name(), err)
	}
	if p.half() && k.tiles == noTiles { // those multiply bfloat16
		if l.rows[1], err = l.probe(true); err != nil {
			l.notes = append(l.notes, fmt.Sprintf("bfloat16 is not used: %v", err))
		}
	}
	l.noteQuanta()
	return l, nil
}

func (l *rowLaw) noteQuanta() {
	for i, dtype := range []string{"float32", "bfloat16"} {
		if l.rows[i] > candidates()[0] {
			l.notes = append(l.notes, fmt.Sprintf("%s products are cut at multiples of %d rows, which keeps results independent of batch size on this processor", dtype, l.rows[i]))
		}
	}
}

func (l *rowLaw) half() bool { return l.rows[1] > 0 }

func (l *rowLaw) quantum(half bool) int {
	if half {
		return l.rows[1]
	}
	return l.rows[0]
}

// candidates are the row counts tried as a quantum, smallest first.
func candidates() []int { return []int{2, 4, 6, 8, 12, 16, 24, 32, 48, 64} }

// most is how many rows a call takes at most, given the unit.
func most(unit int) int { return roundUp(rowTile, unit) }

// product implements multiplier.
func (l *rowLaw) product(w *worker, s shape, m int, a, b operand, dst []float32) {
	l.filled(w, s, m, m, a, b, dst)
}

// filled implements multiplier: one call less is made where there is room.
func (l *rowLaw) filled(w *worker, s shape, m, room int, a, b operand, dst []float32) {
	key := shapeKey{s, a.bf16 != nil}
	unit := l.unit(w.id, key, b)
	whole := m / unit * unit
	if up := roundUp(m, unit); whole < m && up <= room {
		whole = up
		l.poison(a, m*s.k, up*s.k)
	}
	for lo := 0; lo < whole; {
		n := l.rowsAtOnce(w.id, key, whole-lo, unit, b)
		l.must(w.id, key, n, a.from(lo*s.k), b, dst[lo*s.n:])
		lo += n
	}
	if whole < m {
		l.tail(w.id, key, unit, m-whole, a.from(whole*s.k), b, dst[whole*s.n:])
	}
}

// tail computes fewer rows than a unit.
func (l *rowLaw) tail(worker int, key shapeKey, unit, m int, a, b operand, dst []float32) {
	w := l.workers[worker]
	w.tail, w.out = w.tail.grow(unit*key.k, key.half), grow(w.out, unit*key.n)
	if key.half {
		fill(w.tail.bf16[copy(w.tail.bf16, a.bf16[:m*key.k]):], roundBF16(l.padding))
	} else {
		fill(w.tail.f32[copy(w.tail.f32, a.f32[:m*key.k]):], l.padding)
	}
	l.must(worker, key, unit, w.tail, b, w.out)
	copy(dst[:m*key.n], w.out)
}

// poison fills rows that nobody may look at, where tests want that seen.
func (l *rowLaw) poison(a operand, lo, hi int) {
	switch {
	case l.padding == 0:
	case a.bf16 != nil:
		fill(a.bf16[lo:hi], roundBF16(l.padding))
	default:
		fill(a.f32[lo:hi], l.padding)
	}
}

func fill[T any](xs []T, x T) {
	for i := range xs {
		xs[i] = x
	}
}

// must multiplies, or ends the job: the same call ran when it was probed, so
// that only memory can be short.
func (l *rowLaw) must(worker int, key shapeKey, m int, a, b operand, dst []float32) {
	if err := l.call(worker, key, m, a, b, dst); err != nil {
		panic(&productError{fmt.Errorf("%s: product %dx%dx%d: %w", l.name(), m, key.n, key.k, err)})
	}
}

// call makes sure that the provider stays inside the slices: a bad pointer there
// kills the process.
func (l *rowLaw) call(worker int, key shapeKey, m int, a, b operand, dst []float32) error {
	la, lb := len(a.f32), len(b.f32)
	if key.half {
		la, lb = len(a.bf16), len(b.bf16)
	}
	source := m * key.k
	if key.stride != 0 {
		source = (key.k-1)*key.stride + m
	}
	if m < 1 || la < source || lb < key.weights() || len(dst) < m*key.n {
		return fmt.Errorf("operands of %d, %d and %d values are too short for %d rows of %d x %d", la, lb, len(dst), m, key.n, key.k)
	}
	return l.multiply(worker, key, m, a, b, dst)
}

// reduce implements multiplier: one call, since no rows of a padding may be
// added up.
func (l *rowLaw) reduce(w *worker, s shape, m int, a, b operand, dst []float32) {
	s.plain = true
	if m == 1 { // oneDNN 3 takes a single column for a dense row, whatever its stride
		l.product(w, shape{n: s.n, k: s.k, plain: true}, 1, column(w, a, s.k, s.stride), b, dst)
		return
	}
	l.must(w.id, shapeKey{s, a.bf16 != nil}, m, a, b, dst)
}

// column copies the first column of a [k, stride] to scratch memory.
func column(w *worker, a operand, k, stride int) operand {
	if a.bf16 != nil {
		out := w.product.turned.halves(k)
		for p := range out {
			out[p] = a.bf16[p*stride]
		}
		return operand{bf16: out}
	}
	out := w.product.turned.floats(k)
	for p := range out {
		out[p] = a.f32[p*stride]
	}
	return operand{f32: out}
}

// untiled implements the limit's products: one call whatever the rows.
func (l *rowLaw) untiled(w *worker, s shape, m int, a, b operand, dst []float32) {
	l.must(w.id, shapeKey{s, a.bf16 != nil}, m, a, b, dst)
}

// probe finds the quantum of a dtype on small products.
func (l *rowLaw) probe(half bool) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range candidates() {
		ok, err := l.independent(q, half)
		if err != nil {
			return 0, err
		}
		if ok {
			return q, nil
		}
	}
	return 0, errDependent
}

// independent tests small products of both layouts with many numbers of quanta
// up to a tile: each row must equal what a single quantum gives, whatever its
// place in the quantum.
func (l *rowLaw) independent(q int, half bool) (bool, error) {
	tile := most(q)
	for _, s := range []shape{{n: 64, k: 64}, {n: 512, k: 96}, {n: 172, k: 64}, {n: 96, k: 320}, {n: 64, k: 256, plain: true}, {n: 96, k: 64, plain: true}} {
		key := shapeKey{s, half}
		a, b := noise((tile+q)*s.k, half, 1), noise(s.n*s.k, half, 2)
		want, err := l.quanta(key, q, tile, a, b)
		if err != nil {
			return false, err
		}
		for _, first := range []int{1, q / 2} {
			got, err := l.quanta(key, q, tile, a.from(first*s.k), b)
			if err != nil {
				return false, err
			}
			if !sameBits(got[:(tile-first)*s.n], want[first*s.n:]) {
				return false, nil
			}
		}
		got := make([]float32, tile*s.n)
		for _, m := range []int{2 * q, 3 * q, 4 * q, 7 * q, 8 * q, 16 * q} {
			if m > tile {
				continue
			}
			if err := l.call(0, key, m, a, b, got); err != nil {
				return false, err
			}
			if !sameBits(got[:m*s.n], want[:m*s.n]) {
				return false, nil
			}
		}
	}
	return true, nil
}

// quanta computes m rows one quantum at a time.
func (l *rowLaw) quanta(key shapeKey, q, m int, a, b operand) ([]float32, error) {
	out := make([]float32, m*key.n)
	for lo := 0; lo < m; lo += q {
		if err := l.call(0, key, q, a.from(lo*key.k), b, out[lo*key.n:]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// rowsAtOnce is how many of so many rows left, whole units, one call may take:
// as many as possible, in even parts, of those that give what single units give.
func (l *rowLaw) rowsAtOnce(worker int, key shapeKey, left, unit int, b operand) int {
	own, product := l.workers[worker].atOnce, productKey{key, left}
	if n, known := own[product]; known {
		return n
	}
	tile := most(unit)
	parts := (left + tile - 1) / tile
	n := roundUp((left+parts-1)/parts, unit)
	for n > unit && !l.isExact(worker, productKey{key, n}, unit, b) {
		n -= unit
	}
	own[product] = n
	return n
}

// unit is the fewest rows of a shape that agree with a whole tile, found out
// once. b are the caller's own weights.
func (l *rowLaw) unit(worker int, key shapeKey, b operand) int {
	own := l.workers[worker].units
	if unit, known := own[key]; known {
		return unit
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	unit, known := l.units[key]
	if !known {
		unit = l.findUnit(worker, key, b)
		l.units[key] = unit
	}
	own[key] = unit
	return unit
}

// findUnit tries multiples of the quantum. Where none agrees with a tile, rows
// go by the quantum.
func (l *rowLaw) findUnit(worker int, key shapeKey, b operand) int {
	q := l.quantum(key.half)
	for u := q; u <= rowTile/2; u *= 2 {
		tile := productKey{key, most(u)}
		if l.agrees(worker, tile, u, b) {
			l.exact[tile] = true
			return u
		}
	}
	return q
}

// isExact finds out, once, whether so many rows of a shape at once give what
// single units give.
func (l *rowLaw) isExact(worker int, product productKey, unit int, b operand) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	exact, known := l.exact[product]
	if !known {
		exact = l.agrees(worker, product, unit, b)
		l.exact[product] = exact
	}
	return exact
}

// large products are not probed with noise for weights, where the caller's own
// will do, and not all of their units are compared.
const large = 1 << 20

// noise returns the first of values that are kept.
func (l *rowLaw) noise(kept *[2]operand, n int, half bool) operand {
	k := &kept[0]
	if half {
		k = &kept[1]
	}
	if len(k.f32)+len(k.bf16) < n {
		*k = noise(n, half, 3)
	}
	return k.upTo(n)
}

// agrees compares rows computed at once with single units, on the caller's
// weights where they are large and tell anything, on noise otherwise.
func (l *rowLaw) agrees(worker int, product productKey, unit int, b operand) bool {
	key := product.shapeKey
	if size := key.weights(); size >= large {
		if same, telling := l.compare(worker, product, unit, b.upTo(size)); telling {
			return same
		}
	}
	same, _ := l.compare(worker, product, unit, l.noise(&l.b, key.weights(), key.half))
	return same
}

// compare compares all units, or of large products some at the start, in the
// middle and at the end, and units that begin elsewhere. It is telling unless
// the weights make all columns equal or not finite.
func (l *rowLaw) compare(worker int, product productKey, unit int, b operand) (same, telling bool) {
	key, n := product.shapeKey, product.m
	a := l.noise(&l.a, n*key.k, key.half)
	l.whole, l.part = grow(l.whole, n*key.n), grow(l.part, unit*key.n)
	if l.call(worker, key, n, a, b, l.whole) != nil {
		return false, true
	}
	telling = differ(l.whole[:key.n])
	starts := []int{1, unit / 2, unit + 1, n/2/unit*unit + unit/2}
	for lo := 0; lo < n; lo += unit {
		if middle := n / 2 / unit * unit; key.n*key.k < large || lo <= unit || lo == middle || lo >= n-2*unit {
			starts = append(starts, lo)
		}
	}
	for _, lo := range starts {
		if lo+unit > n {
			continue
		}
		if l.call(worker, key, unit, a.from(lo*key.k), b, l.part) != nil || !sameBits(l.part, l.whole[lo*key.n:][:unit*key.n]) {
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

func sameBits(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}
