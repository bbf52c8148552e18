package score

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/engine"
)

// angular gathers the hidden states of the last token of every sequence at
// every depth and scores contiguous blocks of layers:
//
//	d(l, n) = mean over sequences of arccos(cos(X_l,T , X_l+n,T)) / pi
//
// Source: UIDL (Gromov et al. 2024). Depths count places in the list of layers.
type angular struct {
	layers int
	last   [][][]float32 // [L+1][sequences][D]
}

func newAngular(p *Priced) (*angular, error) {
	a := &angular{layers: len(p.layers), last: make([][][]float32, len(p.layers)+1)}
	for i := range a.last {
		a.last[i] = make([][]float32, len(p.opt.Sequences))
	}
	return a, nil
}

// holds implements probe.
func (a *angular) holds(width int) (one, across int64) {
	n := int64(a.layers+1) * int64(len(a.last[0])) * int64(width) * 4
	return n, n
}

// see implements probe.
func (a *angular) see(ctx context.Context, s *states) error {
	for i, segment := range s.Batch.Segments {
		row := segment.Start + segment.Len - 1
		if s.Depth == 0 {
			if err := a.keep(ctx, 0, s.Sequences[i], s.In.Slice(row, row+1)); err != nil {
				return err
			}
		}
		if err := a.keep(ctx, s.Depth+1, s.Sequences[i], s.Out.Slice(row, row+1)); err != nil {
			return err
		}
	}
	return nil
}

// keep copies the state of a sequence's last token.
func (a *angular) keep(ctx context.Context, depth, sequence int, token engine.Hidden) error {
	x, err := token.Host(ctx)
	a.last[depth][sequence] = slices.Clone(x)
	return err
}

// matrix is the distance between every two depths, [L+1][L+1].
func (a *angular) matrix() [][]float64 {
	m := make([][]float64, a.layers+1)
	for i := range m {
		m[i] = make([]float64, a.layers+1)
		for j := range i {
			for s := range a.last[i] {
				cos := momentsOf(a.last[j][s], a.last[i][s]).cos()
				m[i][j] += math.Acos(max(-1, min(1, cos))) / math.Pi / float64(len(a.last[i]))
			}
			m[j][i] = m[i][j]
		}
	}
	return m
}

// blocks is the source of angular.
func blocks(p *Priced, metric Metric) (reader, error) {
	if n := p.block(); n < 1 || n >= len(p.layers) {
		return nil, fmt.Errorf("angular: blocks of %d layers: want at least 1 and fewer than the %d layers there are", n, len(p.layers))
	}
	return compared(newAngular, noSettings, (*angular).matrix, readBlocks)(p, metric)
}

// readBlocks finds the best block in the distances between depths.
func readBlocks(p *Priced, _ Metric, matrix [][]float64, out *Ranking) {
	out.Matrix, out.Scores = matrix, p.undefined()
	b := bestBlock(matrix, p.block(), func(place int) bool { return slices.Contains(p.protect, p.layers[place]) })
	out.Block = &b
	if b.Best >= 0 {
		out.Order = slices.Clone(p.layers[b.Best : b.Best+b.Layers])
	}
}

// block is how many layers are in one.
func (p *Priced) block() int {
	if p.opt.Block == 0 {
		return max(1, len(p.layers)/4)
	}
	return p.opt.Block
}

// Block is the best contiguous block of n layers.
type Block struct {
	Layers int       // n
	Scores []float64 // [L-n+1] distance over the block that starts there
	Best   int       // start of the block that goes; -1 where every block holds a protected layer
}

// BestBlock finds the block of n layers with the smallest distance in angular's
// matrix of the whole model, the later of two equal ones, passing over those
// with a protected layer.
func BestBlock(matrix [][]float64, n int, protect []int) Block {
	return bestBlock(matrix, n, func(layer int) bool { return slices.Contains(protect, layer) })
}

func bestBlock(matrix [][]float64, n int, protected func(place int) bool) Block {
	b := Block{Layers: n, Best: -1}
	for l := 0; l+n < len(matrix); l++ {
		b.Scores = append(b.Scores, matrix[l][l+n])
		free := true
		for place := l; place < l+n; place++ {
			free = free && !protected(place)
		}
		if free && (b.Best < 0 || matrix[l][l+n] <= b.Scores[b.Best]) {
			b.Best = l
		}
	}
	return b
}
