package cpu

import (
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Memory implements engine.Engine. It follows what Forward and the head
// allocate, rounded up; enginetest holds it against what they do allocate.
func (e *Engine) Memory(m *model.Model, o engine.LayerOptions) engine.Memory {
	s, in := m.Spec, e.elementBytes()
	q, kv := int64(s.Heads*s.HeadDim), int64(s.KVHeads*s.HeadDim)
	d, f, v := int64(s.Hidden), int64(s.FF), int64(s.Vocab)

	block := (q+2*kv)*4 + q*in                   // queries, keys, values; attention's output
	head := d*in + 16*(v/headBlock+1) + 16 + 128 // normed row, partial sums, targets
	tile := rowTile * (2*max(f, d)*4 + f*in + 2*d*4)
	if e.tiled() {
		tile += tileMemory(max(q, d, f))
	}
	probe := rowTile*max(q, d, f)*2*4 + 2*min(large, f*d)*4 // inputs and outputs, small weights
	heads := int64(s.Heads/s.KVHeads) * queryTile * (keyBlock + 3*e.headWidth(s)) * 4
	keys := 2 * int64(min(s.MaxPositions, 1<<15)) * e.headWidth(s) * 4 // of one head, gathered
	project := headBlock*d*in + rowTile*headBlock*4
	need := engine.Need{
		Row:     max(block, head),
		Fixed:   int64(e.info.Threads)*(tile+heads+keys+project) + max(providerBytes, int64(e.info.Threads)*e.wideMemory(s)+probe+codeBytes),
		Hidden:  d * 4,
		KVToken: 2 * int64(s.KVHeads) * e.headWidth(s) * e.headBytes(),
		Lookup:  64 << 10, // the kernel maps pages around a fault, so many bytes at a time
	}
	for _, w := range s.TopWeights() {
		t, _ := m.Source.Tensor(w.Name)
		if w.Role == model.Embedding || w.Role == model.Positions {
			need.Embedding += t.Bytes
		} else {
			need.Head += t.Bytes
		}
	}
	if s.HeadUnitRows {
		need.Head += 4 * v
	}
	for i := range s.Layers {
		copied, mapped := e.layerBytes(m, i, o.Many && !o.Streams && o.Trained == nil && e.turns())
		need.Layer, need.Mapped = max(need.Layer, copied), max(need.Mapped, mapped)
	}
	e.training(s, &need)
	return engine.Memory{Host: need}
}

// wideMemory is what calls of rows that are few for each worker take for each: operands of
// so many rows and, but where layouts hold them, products and a block of columns.
func (e *Engine) wideMemory(s *model.Spec) int64 {
	in, rows := e.elementBytes(), int64(e.wideRows())
	q, kv := int64(s.Heads*s.HeadDim), int64(s.KVHeads*s.HeadDim)
	d, f := int64(s.Hidden), int64(s.FF)
	if e.tiled() {
		return rows*(f*in+d*4+max(d, q)*in) + fewRows*(2*f*4+d*in)
	}
	columns := max(q+2*kv, d, f)
	return rows * (2*f*4 + f*in + d*(4+2*in) + 4*(columns/columnParts+32*int64(e.info.Threads)))
}

// training is what backward calls, tapes and what trains take.
func (e *Engine) training(s *model.Spec, need *engine.Need) {
	in, threads := e.elementBytes(), int64(e.info.Threads)
	q, kv := int64(s.Heads*s.HeadDim), int64(s.KVHeads*s.HeadDim)
	d, f, v := int64(s.Hidden), int64(s.FF), int64(s.Vocab)

	need.Tape = (q+2*kv+int64(s.Heads)+d)*4 + (q+2*f)*in
	need.Tape += (q + kv + 2*d) * 4 // head norms' and post-norms' inputs, where there are any
	operands := (3*d+3*f+q+2*kv+2*d)*in + (2*d+2*q+2*kv)*4
	if s.Parallel {
		operands += d * 4 // what the feed-forward owes the norm
	}
	if e.adder() != nil {
		operands += (f + d) * 4 // what products by columns give
	}
	need.Back = need.Tape + operands
	need.Trained = 4 * 4
	if e.bf16 {
		need.Trained += in
	}

	tile := rowTile * (2*f + 3*max(f, d, q)) * 4
	reduce := reduceBlock * max(f, d, q) * 4
	group := int64(s.Heads/s.KVHeads) * queryTile
	heads := (group*(3*e.headWidth(s)+3*keyBlock) + (4*int64(min(s.MaxPositions, 1<<15))+max(keyBlock, group))*e.headWidth(s)) * 4
	need.FixedBack = threads*(tile+reduce+heads) + reduceRows*(v*(4+in)+2*d*4+d*in)
}

// headWidth is how many values a head's key has where attention reads it, headBytes what
// one takes.
func (e *Engine) headWidth(s *model.Spec) int64 {
	if e.tiled() {
		return int64(headDepth(s.HeadDim))
	}
	return int64(s.HeadDim)
}

func (e *Engine) headBytes() int64 {
	if e.tiled() {
		return 2
	}
	return 4
}

// providerBytes is what a provider keeps of its own, primitives and their code,
// with what it takes to probe it and to cut products by columns; for large models
// that is more, beside codeBytes.
const (
	providerBytes = 32 << 20
	codeBytes     = 8 << 20
)

// layerBytes is what resident layer i takes beyond mapped files, and what it
// takes of them. Of one for many rows the largest map is there twice as it comes in.
func (e *Engine) layerBytes(m *model.Model, i int, many bool) (copied, mapped int64) {
	var largest int64
	for _, w := range m.Spec.LayerWeights(i) {
		t, _ := m.Source.Tensor(w.Name)
		mapped += t.Bytes
		switch {
		case len(w.Shape) != 2:
		case many:
			copied += int64(w.Shape[1]*pitchOf(w.Shape[0])) * 4
			largest = max(largest, w.Elements()*4)
		case !e.direct(t.DType):
			copied += w.Elements() * e.elementBytes()
		}
	}
	return copied, mapped + largest
}
