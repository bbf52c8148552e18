package cpu

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

var (
	_ engine.Limiter   = (*Engine)(nil)
	_ engine.Diagnosed = (*Engine)(nil)
)

// products is a list of matrix products and nothing else: what the provider
// alone reaches on the shapes of a forward pass is the limit benches compare
// with. Operands are dense, each worker's part is one call, and weights rotate
// through more memory than caches hold.
type products struct {
	ctx  context.Context
	e    *Engine
	mul  multiplier
	list []engine.Product
	// inputs, weights and outputs are shared by products; weights are cut out of
	// one long run at places that move on from call to call.
	inputs, weights operand
	outputs         []float32
	length, at      int
	columns         bool                // workers share columns, not rows
	packed          *packing            // or nil: weights as they are stored
	laid            map[rowShape]layout // or nil: of inputs, where strips take columns
}

// rowShape is the shape of a product's rows.
type rowShape struct{ m, k int }

// rotation is how many weights the products walk through at least.
const rotation = 128 << 20

// Products implements engine.Limiter; what it prepares takes about half a GiB. Of
// the ways to cut products and to lay weights out it takes the fastest.
func (e *Engine) Products(ctx context.Context, list []engine.Product) (run func() time.Duration, way string) {
	p := &products{ctx: ctx, e: e, mul: e.mul, list: list}
	var in, out, largest, total int
	for _, x := range list {
		in, out = max(in, x.M*x.K), max(out, x.M*x.N)
		largest, total = max(largest, x.N*x.K), total+x.N*x.K
	}
	p.length = max(largest, min(total, rotation))
	p.inputs, p.weights = noise(in, e.half, 1), noise(p.length, e.half, 2)
	p.outputs = make([]float32, out)
	ways := p.ways()
	counts := map[engine.Product]int{}
	for _, x := range list {
		counts[x]++
	}
	*p = ways[fastest(len(ways), func(i int) time.Duration { return ways[i].sample(counts) })]
	return p.run, p.way()
}

// fastest is the way that takes the least time at its best. Each is run once to warm up and
// then in turns with the others, so that what disturbs the machine disturbs all of them,
// and leaves each some time of its own; after some turns those that are much slower than
// another are left out.
func fastest(ways int, run func(way int) time.Duration) (best int) {
	const turns, trial, slow = 9, 3, 1.3
	least := slices.Repeat([]time.Duration{math.MaxInt64}, ways)
	for turn := range turns + 1 {
		for i := range ways {
			if turn > trial && float64(least[i]) > slow*float64(least[best]) {
				continue
			}
			if took := run(i); turn > 0 {
				least[i] = min(least[i], took)
			}
			if least[i] < least[best] {
				best = i
			}
		}
	}
	return best
}

// sample is about what a run takes, from a few products of each shape.
func (p *products) sample(counts map[engine.Product]int) (total time.Duration) {
	const few = 3
	for x, n := range counts {
		reps, start := min(n, few), time.Now()
		for range reps {
			p.one(x)
		}
		total += time.Since(start) * time.Duration(n) / time.Duration(reps)
	}
	return total
}

// ways lists how products can be computed. There is nothing to cut for one worker.
func (p *products) ways() []products {
	ways := []products{*p}
	if under := beneath(p.mul); under != nil { // the library's products, too
		w := *p
		w.mul = under
		ways = append(ways, w)
	}
	if packer := packerOf(ways[len(ways)-1].mul); packer != nil {
		w := ways[len(ways)-1]
		w.packed = newPacking(p.e, packer)
		ways = append(ways, w)
	}
	for _, w := range ways {
		if w.columns = true; len(p.e.pool.workers) > 1 {
			w.layRows()
			if w.packed != nil {
				w.packed = newPacking(p.e, w.packed.packer)
			}
			ways = append(ways, w)
		}
	}
	return ways
}

// layRows lays inputs out beforehand where that serves all columns (see wide.go): it is no
// part of the products.
func (p *products) layRows() {
	s, ok := p.mul.(strips)
	if !ok || !p.e.half {
		return
	}
	p.laid = map[rowShape]layout{}
	_ = p.e.pool.each(1, func(w *worker, _ int) {
		for _, x := range p.list {
			key := rowShape{x.M, x.K}
			if _, has := p.laid[key]; !has {
				p.laid[key] = newLayout(x.M, x.K, make([]uint16, layoutSize(x.M, x.K)))
				s.lay(w, p.laid[key], 0, 0, x.M, x.K, p.inputs)
			}
		}
	})
}

func (p *products) way() string {
	way, weights := "rows", "plain"
	if p.columns {
		way = "columns"
	}
	if p.packed != nil {
		weights = "packed"
	}
	way += ", " + weights + " weights"
	if p.mul != p.e.mul {
		way += ", " + p.mul.name()
	}
	return way
}

// run computes every product once and returns how long that took.
func (p *products) run() time.Duration {
	start := time.Now()
	for _, x := range p.list {
		p.one(x)
	}
	return time.Since(start)
}

// one computes a product, or nothing once nobody waits for it.
func (p *products) one(x engine.Product) {
	if p.ctx.Err() != nil {
		return
	}
	if p.at+x.N*x.K > p.length {
		p.at = 0
	}
	at := p.at
	p.at += x.N * x.K
	if p.laid != nil {
		p.strips(x, at)
		return
	}
	n, quantum := x.M, p.e.quantum()
	if p.columns {
		n, quantum = x.N, 64 // columns that kernels take at a time
	}
	part := (n + len(p.e.pool.workers) - 1) / len(p.e.pool.workers)
	_ = p.e.pool.split(n, part, quantum, func(w *worker, lo, hi int) {
		if p.columns {
			p.product(w, shape{n: hi - lo, k: x.K}, x.M, p.inputs, at+lo*x.K, p.outputs[lo*x.M:])
		} else {
			p.product(w, shape{n: x.N, k: x.K}, hi-lo, p.inputs.from(lo*x.K), at, p.outputs[lo*x.N:])
		}
	})
}

// strips computes a product of rows that are laid out by the weights that begin at a place.
func (p *products) strips(x engine.Product, at int) {
	laid, g := p.laid[rowShape{x.M, x.K}], p.e.grid(x.M, x.N)
	_ = p.e.pool.split(g.units(), 1, 1, func(w *worker, unit, _ int) {
		row, rows, lo, hi := g.unit(unit)
		p.mul.(strips).strip(w, laid.block(row, rows), hi, lo, hi, p.weights.from(at), p.outputs[row*x.N+lo:], x.N)
	})
}

// product multiplies by the weights that begin at a place.
func (p *products) product(w *worker, s shape, m int, a operand, at int, dst []float32) {
	weights := p.weights.from(at)
	u, ok := p.mul.(untiled)
	switch {
	case p.packed != nil:
		p.packed.product(w, s, m, a, weights, dst)
	case ok:
		u.untiled(w, s, m, a, weights, dst)
	default:
		p.mul.product(w, s, m, a, weights, dst)
	}
}

// reads is every layer and the head of a model, read once from memory: what
// decoding one token at a time cannot be faster than.
type reads struct {
	e    *Engine
	runs [][]float32
	job  job
	sums []float64 // by run, so that reading is not in vain
}

// readRun is how many bytes a worker reads at a time.
const readRun = 1 << 20

// Reads implements engine.Limiter. Weights are read where decoding reads them
// from: the source's own memory, so the dtype should be one the engine computes in.
func (e *Engine) Reads(m *model.Model) (func() time.Duration, error) {
	r := &reads{e: e}
	table, head := block.EmbeddingOf(m.Spec), block.HeadOf(m.Spec)
	for w := range m.Spec.Weights() {
		if w.Name == table.Name && w.Name != head.Projection.Name {
			continue
		}
		raw, err := m.Source.Data(w.Name)
		if err != nil {
			return nil, err
		}
		for raw = raw[:len(raw)/4*4]; len(raw) > 0; raw = raw[min(readRun, len(raw)):] {
			values, ok := asFloat32(raw[:min(readRun, len(raw))])
			if !ok {
				return nil, fmt.Errorf("tensor %s cannot be read in place", w.Name)
			}
			r.runs = append(r.runs, values)
		}
	}
	r.sums = make([]float64, len(r.runs))
	r.job.phases = []phase{{n: len(r.runs), step: 1, run: func(_ *worker, lo, hi int) {
		for i := lo; i < hi; i++ {
			_, at := e.k.argmax(r.runs[i])
			r.sums[i] = float64(at)
		}
	}}}
	return r.run, nil
}

// run reads everything once and returns how long that took.
func (r *reads) run() time.Duration {
	start := time.Now()
	_ = r.e.pool.run(&r.job) // reading cannot fail
	return time.Since(start)
}

// untiled is a multiplier that cuts products up to keep rows independent; for
// the limit it runs them whole.
type untiled interface {
	untiled(w *worker, s shape, m int, a, b operand, dst []float32)
}

// Diagnosis implements engine.Diagnosed.
func (e *Engine) Diagnosis() engine.Diagnosis {
	return engine.Diagnosis{Provider: e.mul.name(), Rows: e.quantum(), BFloat16: e.mul.half(), Kernels: e.k.name, Notes: e.info.Notes}
}
