//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"

	"github.com/coppice-ml/coppice/engine/block"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// matrix is a linear map's weights [out, in] as products take them, or several maps
// of one input below each other.
type matrix struct {
	shape
	at    address
	parts []block.Linear // what it is made of
}

// bytes of a matrix in memory.
func (e *Engine) bytes(s shape) int64 { return int64(s.out) * int64(s.in) * e.inputBytes() }

// inputBytes is the size of a value that products take.
func (e *Engine) inputBytes() int64 {
	if e.half {
		return 2
	}
	return 4
}

// stored dtypes as kernels number them.
func storedDType(d safetensors.DType) int {
	switch d {
	case safetensors.F32:
		return 0
	case safetensors.BF16:
		return 1
	}
	return 2 // F16; model.Check refuses others
}

// direct says whether products take stored values as they are.
func (e *Engine) direct(d safetensors.DType) bool {
	if e.half {
		return d == safetensors.BF16
	}
	return d == safetensors.F32
}

// weightMemory takes memory that the copy stream fills, after what used it before.
func (e *Engine) weightMemory(bytes int64) (b buffer, err error) {
	if b, err = e.pool.take(weights, bytes); err != nil || b.freed == 0 {
		return b, err
	}
	freed := b.freed
	b.freed = 0
	if err := e.d.do(e.d.streamWait, e.copies, freed, 0); err != nil {
		return b, err
	}
	return b, e.d.do(e.d.eventDestroy, freed)
}

// letGo gives such memory back, once the compute stream has come so far.
func (e *Engine) letGo(b buffer) (err error) {
	if b.at == 0 {
		return nil
	}
	if err := e.pool.spoil(b); err != nil {
		return err
	}
	if b.freed, err = e.record(e.compute); err != nil {
		return err
	}
	return e.pool.give(b)
}

// bring copies stored values [rows, in] to the device as products take them. also, if
// not nil, is queued behind each run of rows, which lie stored at a place.
func (e *Engine) bring(ctx context.Context, name string, to address, raw []byte, d safetensors.DType, in int, also func(stored address, row, rows int) error) error {
	size := d.Size()
	unit := size * in
	if e.direct(d) {
		return e.stage.up(ctx, name, e.copies, func(at int) address { return to + address(at) }, raw, unit, func(at, n int) error {
			if also == nil {
				return nil
			}
			return also(to+address(at), at/unit, n/unit)
		})
	}
	return e.stage.up(ctx, name, e.copies, func(int) address { return e.chunk.at }, raw, unit, func(at, n int) error {
		dst := to + address(int64(at/size)*e.inputBytes())
		if err := e.spreadOn(e.copies, "convert", n/size, dst, e.chunk, storedDType(d), uint64(n/size)); err != nil || also == nil {
			return err
		}
		return also(e.chunk.at, at/unit, n/unit)
	})
}

// ready makes sure of the memory that stored values pass through.
func (e *Engine) ready(name string) error {
	return e.w.do(name, func() (err error) {
		if e.chunk.at == 0 {
			e.chunk, err = e.weightMemory(int64(e.stage.size))
		}
		return err
	})
}

// bringMatrix brings the parts of a matrix.
func (e *Engine) bringMatrix(ctx context.Context, name string, m *model.Model, x matrix) error {
	to := x.at
	for _, p := range x.parts {
		raw, d, err := m.Stored(p.Weight)
		if err != nil {
			return err
		}
		row := p.In * d.Size()
		if err := e.bring(ctx, name, to, raw[p.Row*row:(p.Row+p.Out)*row], d, p.In, nil); err != nil {
			return err
		}
		to += address(e.bytes(shape{p.Out, p.In}))
	}
	return nil
}

// vectors collects small weights in float32 for one copy to the device.
type vectors struct{ values []float32 }

// add appends vectors one behind the other, zeros for those that are not there, and
// returns where they begin; -1 if none is there. lengths are what the missing have.
func (v *vectors) add(m *model.Model, lengths []int, list ...block.Vector) (int, error) {
	present := false
	for _, x := range list {
		present = present || x.Present()
	}
	if !present {
		return -1, nil
	}
	at := roundUp(len(v.values), 4)
	v.values = append(v.values, make([]float32, at-len(v.values))...)
	for i, x := range list {
		if !x.Present() {
			v.values = append(v.values, make([]float32, lengths[i])...)
			continue
		}
		raw, d, err := m.Stored(x.Weight)
		if err != nil {
			return -1, err
		}
		row := make([]float32, x.Len)
		number.Widen(row, raw[x.First*d.Size():][:x.Len*d.Size()], d)
		for j := range row {
			row[j] += x.Offset
		}
		v.values = append(v.values, row...)
	}
	return at, nil
}
