package cpu

import (
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Memory implements engine.Engine. It follows what Forward and the head
// allocate, rounded up; enginetest holds it against what they do allocate.
func (e *Engine) Memory(m *model.Model) engine.Memory {
	s, in := m.Spec, e.elementBytes()
	q, kv := int64(s.Heads*s.HeadDim), int64(s.KVHeads*s.HeadDim)
	d, f, v := int64(s.Hidden), int64(s.FF), int64(s.Vocab)

	block := (q+2*kv)*4 + q*in                   // queries, keys, values; attention's output
	head := d*in + 16*(v/headBlock+1) + 16 + 128 // normed row, partial sums, targets
	tile := rowTile * (2*max(f, d)*4 + f*in + 2*d*4)
	heads := int64(s.Heads/s.KVHeads) * queryTile * (keyBlock + 3*int64(s.HeadDim)) * 4
	keys := 2 * int64(min(s.MaxPositions, 1<<15)) * int64(s.HeadDim) * 4 // of one head, gathered
	project := headBlock*d*in + rowTile*headBlock*4
	return engine.Memory{
		Layer: e.layerBytes(m),
		Row:   max(block, head),
		Fixed: int64(e.info.Threads)*(tile+heads+keys+project) + providerBytes,
	}
}

// providerBytes is what a provider keeps of its own: primitives and their code.
const providerBytes = 32 << 20

// layerBytes is what a resident layer takes beyond mapped files.
func (e *Engine) layerBytes(m *model.Model) int64 {
	var n int64
	for _, w := range m.Spec.LayerWeights(0) {
		t, _ := m.Source.Tensor(w.Name)
		if len(w.Shape) == 2 && !e.direct(t.DType) {
			n += w.Elements() * e.elementBytes()
		}
	}
	return n
}
