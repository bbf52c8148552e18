package score

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Rows says what the rows of the matrices are that cka compares.
type Rows string

// Tokens compares tokens (at most ckaRows of them, drawn by the seed), Sequences
// whole sequences of one length, flattened, as the paper's code does.
const (
	RowsTokens    Rows = "token"
	RowsSequences Rows = "sequence"
)

// ckaRows caps the rows, and with them the Gram matrices: 16 MiB each.
const ckaRows = 2048

// cka gathers rows of the hidden states at every depth and compares depths by
// linear CKA (Kornblith et al. 2019, biased HSIC): with X_i [n, W] centred by
// column and K_i = X_i X_iᵀ,
//
//	cka(i, j) = <K_i, K_j> / (|K_i| |K_j|)
//
// Of the two sides the n x n Gram matrix is the one used: n is capped, so it is
// never much larger than the other, and one matrix a depth serves every pair.
type cka struct {
	e      engine.Engine
	m      *model.Model
	layers int
	pairs  bool // all of them, not only neighbours

	rowOf  func(seq, token int) (row, column int) // row < 0: not sampled
	n, d   int                                    // rows; hidden size
	width  int                                    // W
	values int                                    // of [n, W] that come in all

	states []gathering // [L+1]
	grams  []triangle  // [L+1]; nil before and after use
	spare  [][]float32 // rows of depths that are complete, for others
	free   []triangle  // likewise
	inner  [][]float64 // [L+1][L+1] <K_i, K_j>; NaN where not wanted
}

// gathering is a depth's rows as they come in.
type gathering struct {
	x    []float32
	have int
}

// triangle is the lower half of a symmetric matrix, row by row.
type triangle []float32

func newCKA(p *Priced) (*cka, error) {
	layers, seqs := len(p.layers), p.opt.Sequences
	c := &cka{
		e: p.run.Engine(), m: p.m, layers: layers, pairs: p.opt.Matrix, d: p.m.Spec.Hidden,
		states: make([]gathering, layers+1), grams: make([]triangle, layers+1), inner: make([][]float64, layers+1),
	}
	for i := range c.inner {
		c.inner[i] = make([]float64, layers+1)
		for j := range c.inner[i] {
			c.inner[i][j] = math.NaN()
		}
	}
	if p.opt.Rows == RowsSequences {
		return c, c.bySequence(seqs)
	}
	return c, c.byToken(seqs, p.opt.Seed)
}

// ckaSettings are what the matrix depends on beside layers and sequences.
func ckaSettings(p *Priced) string {
	return fmt.Sprint(" ", p.opt.Rows, " ", p.opt.Seed, " ", p.opt.Matrix)
}

func (c *cka) bySequence(seqs [][]int32) error {
	for i, s := range seqs {
		if len(s) != len(seqs[0]) {
			return fmt.Errorf("cka with sequences as rows: sequence %d has %d tokens and sequence 0 has %d; give sequences of one length, or compare tokens", i, len(s), len(seqs[0]))
		}
	}
	if len(seqs) < 2 {
		return fmt.Errorf("cka with sequences as rows: one sequence has nothing to be compared with; give more, or compare tokens")
	}
	c.n, c.width = len(seqs), len(seqs[0])*c.d
	c.values = c.n * c.width
	c.rowOf = func(seq, token int) (int, int) { return seq, token * c.d }
	return nil
}

func (c *cka) byToken(seqs [][]int32, seed uint64) error {
	starts := make([]int, len(seqs))
	total := 0
	for i, s := range seqs {
		starts[i] = total
		total += len(s)
	}
	if total < 2 {
		return fmt.Errorf("cka compares tokens, and there is only one")
	}
	c.n, c.width = min(ckaRows, total), c.d
	c.values = c.n * c.d
	rows := sampled(total, c.n, seed)
	c.rowOf = func(seq, token int) (int, int) {
		row, ok := slices.BinarySearch(rows, starts[seq]+token)
		if !ok {
			return -1, 0
		}
		return row, 0
	}
	return nil
}

// sampled draws k of the indices below n, ascending (Floyd's algorithm).
func sampled(n, k int, seed uint64) []int {
	random := rand.New(rand.NewPCG(seed, 1))
	chosen := make(map[int]bool, k)
	for i := n - k; i < n; i++ {
		if j := random.IntN(i + 1); !chosen[j] {
			chosen[j] = true
		} else {
			chosen[i] = true
		}
	}
	out := make([]int, 0, k)
	for i := range chosen {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

// holds implements probe: Gram matrices, and rows of one depth at a time or, when
// work comes in several groups, of all depths.
func (c *cka) holds(int) (one, across int64) {
	gram := int64(c.n) * int64(c.n) * 4
	rows := int64(c.n) * int64(c.width) * 4
	kept := 2 * gram
	if c.pairs {
		kept = int64(c.layers+1) * gram / 2
	}
	return kept + gram/2 + 5*rows, kept + gram/2 + int64(c.layers+5)*rows
}

// see implements probe.
func (c *cka) see(ctx context.Context, s *states) error {
	if s.Depth == 0 {
		in, err := s.in(ctx)
		if err != nil {
			return err
		}
		if err := c.gather(ctx, 0, s, in); err != nil {
			return err
		}
	}
	out, err := s.out(ctx)
	if err != nil {
		return err
	}
	return c.gather(ctx, s.Depth+1, s, out)
}

func (c *cka) gather(ctx context.Context, depth int, s *states, states []float32) error {
	g := &c.states[depth]
	if g.x == nil {
		g.x = c.room()
	}
	var have atomic.Int64
	parallel(len(s.Batch.Segments), func(i int) {
		segment := s.Batch.Segments[i]
		for t := range segment.Len {
			if row, column := c.rowOf(s.Sequences[i], t); row >= 0 {
				copy(g.x[row*c.width+column:][:c.d], states[(segment.Start+t)*c.d:])
				have.Add(int64(c.d))
			}
		}
	})
	g.have += int(have.Load())
	if g.have < c.values {
		return nil
	}
	return c.complete(ctx, depth)
}

// room is memory for a depth's rows, all of which will be written.
func (c *cka) room() []float32 {
	if n := len(c.spare); n > 0 {
		x := c.spare[n-1]
		c.spare = c.spare[:n-1]
		return x
	}
	return make([]float32, c.n*c.width)
}

// complete turns a depth's rows into its Gram matrix and compares it with those
// that are there.
func (c *cka) complete(ctx context.Context, depth int) error {
	x := c.states[depth].x
	c.states[depth].x = nil
	centre(x, c.n)
	k, err := c.gram(ctx, x)
	c.spare = append(c.spare, x)
	if err != nil {
		return err
	}
	c.grams[depth] = k
	var with []int
	for j, other := range c.grams {
		if other != nil && (c.pairs || j >= depth-1 && j <= depth+1) {
			with = append(with, j)
		}
	}
	products := make([]float64, len(with))
	parallel(len(with), func(i int) { products[i] = innerProduct(k, c.grams[with[i]]) })
	for i, j := range with {
		c.inner[depth][j], c.inner[j][depth] = products[i], products[i]
	}
	if !c.pairs {
		c.forget()
	}
	return nil
}

// forget lets Gram matrices go whose neighbours have been compared with them.
func (c *cka) forget() {
	for i := range c.grams {
		before := i == 0 || !math.IsNaN(c.inner[i][i-1])
		after := i == c.layers || !math.IsNaN(c.inner[i][i+1])
		if before && after && c.grams[i] != nil {
			c.free, c.grams[i] = append(c.free, c.grams[i]), nil
		}
	}
}

// gram is x xᵀ of x [n, W]: by the engine where it is large and the engine can,
// which rounds centred rows as it rounds all that it multiplies, else in float64.
func (c *cka) gram(ctx context.Context, x []float32) (triangle, error) {
	var out triangle
	if n := len(c.free); n > 0 {
		out, c.free = c.free[n-1][:0], c.free[:n-1]
	} else {
		out = make(triangle, 0, c.n*(c.n+1)/2)
	}
	out = out[:cap(out)]
	if fast, ok := c.e.(engine.Gram); ok && c.n > 64 {
		return out, c.fast(ctx, fast, x, out)
	}
	parallel(c.n, func(i int) {
		a := x[i*c.width:][:c.width]
		for j := range i + 1 {
			out[i*(i+1)/2+j] = float32(dot(a, x[j*c.width:][:c.width]))
		}
	})
	return out, nil
}

// fast has the engine multiply x.
func (c *cka) fast(ctx context.Context, e engine.Gram, x []float32, out triangle) error {
	h, err := c.e.NewHidden(c.m, len(x)/c.d)
	if err != nil {
		return err
	}
	defer h.Release()
	if err := h.Write(engine.Values{F32: x}); err != nil {
		return err
	}
	if err := h.Sync(ctx); err != nil {
		return err
	}
	return e.Gram(ctx, h, c.n, out)
}

// centre subtracts the mean row from x [n, W]; means are kept in float64.
func centre(x []float32, n int) {
	w := len(x) / n
	mean := make([]float64, w)
	parts := runtime.GOMAXPROCS(0)
	parallel(parts, func(part int) { // each has columns of its own
		lo, hi := w*part/parts, w*(part+1)/parts
		for i := range n {
			row := x[i*w+lo : i*w+hi]
			for j, v := range row {
				mean[lo+j] += float64(v)
			}
		}
		for j := lo; j < hi; j++ {
			mean[j] /= float64(n)
		}
	})
	parallel(n, func(i int) {
		row := x[i*w:][:w]
		for j, m := range mean {
			row[j] = float32(float64(row[j]) - m)
		}
	})
}

// innerProduct is the sum over all elements of the product of two symmetric
// matrices, in float64.
func innerProduct(a, b triangle) float64 {
	var sum float64
	for row := 1; len(a) > 0; row++ {
		sum += 2*dot(a[:row-1], b[:row-1]) + float64(a[row-1])*float64(b[row-1])
		a, b = a[row:], b[row:]
	}
	return sum
}

// readNeighbours reads the layers' scores off the matrix's second diagonal.
func readNeighbours(p *Priced, metric Metric, matrix [][]float64, out *Ranking) {
	scores := p.undefined()
	for place, l := range p.layers {
		scores[l] = matrix[place][place+1]
	}
	p.rank(metric, scores, out)
	if p.opt.Matrix {
		out.Matrix = matrix
	}
}

// dot is the product of two vectors of one length, summed in float64 by four
// chains of additions.
func dot(a, b []float32) float64 {
	var s0, s1, s2, s3 float64
	for ; len(a) >= 4 && len(b) >= 4; a, b = a[4:], b[4:] {
		s0 += float64(a[0]) * float64(b[0])
		s1 += float64(a[1]) * float64(b[1])
		s2 += float64(a[2]) * float64(b[2])
		s3 += float64(a[3]) * float64(b[3])
	}
	for i, v := range a {
		s0 += float64(v) * float64(b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// matrix is cka of every two depths [L+1][L+1]; NaN for pairs that were not
// compared. A depth at which all rows are equal is like no other: 0.
func (c *cka) matrix() [][]float64 {
	m := make([][]float64, c.layers+1)
	for i := range m {
		m[i] = make([]float64, c.layers+1)
		for j := range m[i] {
			m[i][j] = c.at(i, j)
		}
	}
	return m
}

func (c *cka) at(i, j int) float64 {
	norm := math.Sqrt(c.inner[i][i]) * math.Sqrt(c.inner[j][j])
	if norm == 0 {
		return 0
	}
	return c.inner[i][j] / norm
}
