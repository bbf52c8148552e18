package cpu

import (
	"slices"
	"sync/atomic"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// layer is one resident decoder block.
type layer struct {
	e      *Engine
	s      *model.Spec
	window int        // keys a query sees; 0 for all
	ones   []float32  // [F] in place of up's products where the feed-forward has no gate, else nil
	rope   model.Rope // zero where queries and keys are not rotated

	vectors
	grads                                  vectors // nil where they do not train
	query, key, value, out, gate, up, down *matrix
	owned                                  []*matrix
	adapted                                bool         // some map has an adapter
	columns, orders                        atomic.Int32 // of separable and ordered, see once
	leave                                  func()       // lets its pages go
	turned                                 bool         // some map is laid out for many rows
}

// vectors are a layer's norms and biases, nil where the family has none.
type vectors struct {
	attnNorm, queryNorm, keyNorm, attnPostNorm []float32
	mlpNorm, mlpPostNorm                       []float32
	attnNormBias, mlpNormBias                  []float32
	queryBias, keyBias, valueBias, outBias     []float32
	gateBias, upBias, downBias                 []float32
}

// layer makes layer i resident. Its weights are read once, here; pages of which
// there is a copy go at once.
func (e *Engine) layer(m *model.Model, i int, o engine.LayerOptions) (*layer, error) {
	b, err := block.Of(m.Spec, i)
	if err != nil {
		return nil, err
	}
	ws := m.Spec.LayerWeights(i)
	l := &layer{e: e, s: m.Spec, window: b.Window, rope: b.Rope, leave: func() { m.Source.Release(names(ws)...) }}
	if err := l.load(m, b, o); err != nil {
		l.Release()
		return nil, err
	}
	if !slices.ContainsFunc(l.owned, func(x *matrix) bool { return !x.copied }) {
		l.leave()
		l.leave = func() {}
	}
	return l, nil
}

// load brings the block's tensors in.
func (l *layer) load(m *model.Model, b *block.Layer, o engine.LayerOptions) (err error) {
	trained := o.Trained
	whole := map[string]*matrix{}
	maps := []**matrix{&l.query, &l.key, &l.value, &l.out, &l.gate, &l.up, &l.down}
	biases, biasGrads := l.biases(), l.grads.biases()
	for i, from := range b.Linears() {
		if from.Out == 0 {
			continue
		}
		x := whole[from.Weight.Name]
		if x == nil {
			if x, err = l.matrix(m, b, from.Weight, o); err != nil {
				return err
			}
			whole[from.Weight.Name] = x
		}
		*maps[i] = x.rows(from.Row, from.Row+from.Out)
		if *biases[i], *biasGrads[i], err = l.e.vector(m, from.Bias, trained); err != nil {
			return err
		}
	}
	if l.up == nil {
		l.ones = slices.Repeat([]float32{1}, l.s.FF)
	}
	norms, normGrads := l.norms(), l.grads.norms()
	for i, from := range b.Norms() {
		if *norms[i], *normGrads[i], err = l.e.vector(m, from, trained); err != nil {
			return err
		}
	}
	return nil
}

// norms and biases list the vectors in the order in which a block has them.
func (v *vectors) norms() []*[]float32 {
	return []*[]float32{&v.attnNorm, &v.queryNorm, &v.keyNorm, &v.attnPostNorm, &v.mlpNorm, &v.mlpPostNorm, &v.attnNormBias, &v.mlpNormBias}
}

func (v *vectors) biases() []*[]float32 {
	return []*[]float32{&v.queryBias, &v.keyBias, &v.valueBias, &v.outBias, &v.gateBias, &v.upBias, &v.downBias}
}

// matrix brings one tensor in.
func (l *layer) matrix(m *model.Model, b *block.Layer, w model.Weight, o engine.LayerOptions) (*matrix, error) {
	t, adapter, err := trainedParts(o.Trained, w)
	if err != nil {
		return nil, err
	}
	x, err := l.e.matrix(m, w, t, adapter)
	if err != nil {
		return nil, err
	}
	l.owned = append(l.owned, x)
	l.adapted = l.adapted || adapter != nil
	if o.Many && !o.Streams && o.Trained == nil && l.e.turns() {
		cuts := slices.DeleteFunc(b.Linears(), func(c *block.Linear) bool { return c.Weight.Name != w.Name })
		if err := l.turn(x, cuts); err != nil {
			return nil, err
		}
	}
	if x.copied {
		m.Source.Release(w.Name)
	}
	return x, nil
}

// Release implements engine.Layer.
func (l *layer) Release() {
	for _, x := range l.owned {
		x.release()
	}
	l.owned = nil
	l.leave()
}
