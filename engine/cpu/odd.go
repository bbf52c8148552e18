package cpu

import (
	"fmt"
	"math"
)

// Provider multiplies matrices for an engine in place of a library.
type Provider interface {
	law(workers int, k *kernels) (*rowLaw, error)
}

// OddRows is a provider for tests of engines and of what is built on them: the Go
// kernels, made as awkward as libraries are. Rows are right only in multiples
// of a quantum, different ones for float32 and bfloat16; some shapes want twice as
// many; of some, certain numbers of rows are wrong; of some, a block of columns has
// other bits than in the whole product. What is wrong is wrong by one or more. Rows that
// calls are filled up with are NaN.
func OddRows(float32s, bfloat16s int) Provider {
	return &oddRows{rows: [2]int{float32s, bfloat16s}, k: kernelsNamed("")}
}

type oddRows struct {
	rows   [2]int
	k      *kernels
	memory []*[2][]float32 // of each worker, for bfloat16 operands
}

func (o *oddRows) name() string    { return fmt.Sprintf("odd rows (%d, %d)", o.rows[0], o.rows[1]) }
func (o *oddRows) half() bool      { return o.rows[1] > 0 }
func (o *oddRows) startWorker(int) {}
func (o *oddRows) stopWorker(int)  {}

// law implements Provider.
func (o *oddRows) law(workers int, k *kernels) (*rowLaw, error) {
	own := *o
	for range workers {
		own.memory = append(own.memory, &[2][]float32{})
	}
	return newRowLaw(&own, workers, k, float32(math.NaN()))
}

func (o *oddRows) multiply(worker int, key shapeKey, m int, a, b operand, dst []float32) error {
	unit, memory := o.rows[0], o.memory[worker]
	if key.pitch != 0 { // the bits of weights as they are stored
		turned := make([]float32, key.n*key.k)
		turnRows(turned, b.f32, key.n, key.k, key.pitch)
		b, key.plain, key.pitch = operand{f32: turned}, false, 0
	}
	if key.half {
		unit = o.rows[1]
		memory[0], memory[1] = grow(memory[0], m*key.k), grow(memory[1], key.n*key.k)
		source := m * key.k
		if key.stride != 0 {
			source = (key.k-1)*key.stride + m
			memory[0] = grow(memory[0], source)
		}
		o.k.widen(memory[0], a.bf16[:source])
		o.k.widen(memory[1], b.bf16[:key.n*key.k])
		a, b = operand{f32: memory[0]}, operand{f32: memory[1]}
	}
	if key.stride != 0 {
		turned := make([]float32, m*key.k)
		turnRows(turned, a.f32, m, key.k, key.stride)
		o.k.productsPlain(m, key.n, key.k, turned, b.f32[:key.n*key.k], dst[:m*key.n])
		return nil
	}
	goMultiplier{o.k}.product(nil, key.shape, m, a.upTo(m*key.k), b.upTo(key.n*key.k), dst[:m*key.n])
	if (key.n+key.k)%3 == 0 && unit <= rowTile/4 {
		unit *= 2
	}
	if key.n%5 == 0 && m/unit > 4 && m/unit%2 == 1 {
		raise(dst[:m*key.n], 2)
	}
	raise(dst[m/unit*unit*key.n:m*key.n], 1)
	if key.k%5 == 0 {
		o.k.scale(dst[:m*key.n], 1+float32(key.n%7)/(1<<23))
	}
	return nil
}

func raise(xs []float32, by float32) {
	for i := range xs {
		xs[i] += by
	}
}
