//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/model"
)

// Memory implements engine.Engine. It follows what calls take from the pool, whose
// sizes are rounded up by an eighth at most.
func (e *Engine) Memory(m *model.Model, _ engine.LayerOptions) engine.Memory {
	s, in := m.Spec, e.inputBytes()
	q, kv := int64(s.Heads*s.HeadDim), int64(s.KVHeads*s.HeadDim)
	d, f := int64(s.Hidden), int64(s.FF)
	wide := 2 * f
	if s.Ungated {
		wide = f
	}
	call := d*in + (q+2*kv)*4 + q*in + d*4 + d*in + wide*4 + f*in + d*4 // norm, [q;k;v], attention, output, norm, [gate;up], activated, down
	if s.Parallel {
		call += d * in
	}
	if e.half {
		call += (q + 2*kv) * in // rounded
	}
	lists := int64(4 * (5 + 5 + 4)) // positions, tables, rows, places, tiles and runs
	scores := int64(16 + 4*5)       // softmax, targets
	columns := int64(min(headBlock, s.Vocab))
	host, mapped := int64(stageSlots*e.stage.size), int64(0)
	need := engine.Need{
		Row:       9 * (call + lists + scores) / 8,
		Fixed:     workspaceBytes + int64(e.stage.size) + 9*(64*call+headTile*2*(columns*4+d*in))/8 + 9*e.probeBytes(s)/8 + 1<<20,
		Hidden:    9 * d * 4 / 8,
		KVToken:   9 * 2 * kv * in / 8,
		Head:      e.headBytes(m),
		Embedding: 512,
	}
	tables := []model.Weight{block.EmbeddingOf(s)}
	if w, learned := block.PositionsOf(s); learned {
		tables = append(tables, w)
	}
	for _, w := range tables {
		if t, ok := m.Source.Tensor(w.Name); ok {
			need.Embedding += t.Bytes
		}
	}
	for i := range s.Layers {
		if _, _, bytes, err := e.newLayer(m, i); err == nil {
			need.Layer = max(need.Layer, roundUp(bytes, 256))
		}
		var stored int64
		for _, w := range s.LayerWeights(i) {
			t, _ := m.Source.Tensor(w.Name)
			stored += t.Bytes
		}
		mapped = max(mapped, stored)
	}
	return engine.Memory{Host: engine.Need{Fixed: host, Mapped: mapped}, Device: need}
}

// probeBytes is what probing the largest of a model's products takes.
func (e *Engine) probeBytes(s *model.Spec) (most int64) {
	q, kv, wide := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim, 2*s.FF
	if s.Ungated {
		wide = s.FF
	}
	rows := int64(e.law.mostRows())
	for _, p := range []shape{{q + 2*kv, s.Hidden}, {s.Hidden, q}, {wide, s.Hidden}, {s.Hidden, s.FF}, {min(headBlock, s.Vocab), s.Hidden}} {
		most = max(most, e.bytes(p)+rows*(int64(p.in)*e.inputBytes()+8*int64(p.out)))
	}
	return most
}
