package cpu

import "fmt"

// packer multiplies by weights that are laid out as it likes best. Only the limit
// of benches does so: it would hold a second copy of every layer.
type packer interface {
	// pack lays out b [n, k] for products of m rows. multiply may be called for
	// this worker alone.
	pack(worker int, key shapeKey, m int, b operand) (multiply func(a operand, dst []float32) error, bytes int, err error)
}

// packerOf returns the multiplier's, or nil.
func packerOf(mul multiplier) packer {
	if law, ok := mul.(*rowLaw); ok {
		p, _ := law.provider.(packer)
		return p
	}
	return nil
}

// packing keeps packed weights: of each shape as many copies of their own as it
// takes to leave no cache anything to keep.
type packing struct {
	e      *Engine
	packer packer
	copies []map[packedKey]*packedWeights // by worker
}

type packedKey struct {
	shapeKey
	m int
}

type packedWeights struct {
	multiply []func(a operand, dst []float32) error
	bytes    int
	next     int
}

func newPacking(e *Engine, p packer) *packing {
	k := &packing{e: e, packer: p}
	for range e.pool.workers {
		k.copies = append(k.copies, map[packedKey]*packedWeights{})
	}
	return k
}

// packedBytes is how much packed weights of one shape take together.
const packedBytes = 64 << 20

func (k *packing) product(w *worker, s shape, m int, a, b operand, dst []float32) {
	key := packedKey{shapeKey{s, a.bf16 != nil}, m}
	weights := k.copies[w.id][key]
	if weights == nil {
		weights = &packedWeights{}
		k.copies[w.id][key] = weights
	}
	for len(weights.multiply) == 0 || weights.bytes < packedBytes/len(k.e.pool.workers) {
		multiply, bytes, err := k.packer.pack(w.id, key.shapeKey, m, b)
		if err != nil {
			panic(&productError{fmt.Errorf("packed weights: %w", err)})
		}
		weights.multiply, weights.bytes = append(weights.multiply, multiply), weights.bytes+bytes
	}
	weights.next = (weights.next + 1) % len(weights.multiply)
	if err := weights.multiply[weights.next](a, dst); err != nil {
		panic(&productError{fmt.Errorf("packed weights: %w", err)})
	}
}
