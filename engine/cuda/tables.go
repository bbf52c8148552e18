//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/block"
)

// tables is what kernels read of a batch: lists of 32-bit numbers, one behind the
// other in one copy to the device.
type tables struct {
	numbers   []int32
	positions int // [N] where each list begins
	angles    int // [N] which rotary table is a row's
	all       int // [N] 0, 1, 2, …
	rows      int // [W] wanted rows of the batch
	places    int // [N] rows of the cache
	tiles     int // [tiles, 5], see attend.cu's tile
	runs      int // [runs, 2]

	outputs int // W
	cut     int // tiles
	rotary  []*block.Rotary
}

// take describes a call of a layer.
func (t *tables) take(l *layer, c *engine.Call, kv *kvCache) error {
	b, n := c.Batch, c.Batch.Len()
	t.positions, t.angles = t.add(b.Positions), t.add(nil)
	if err := t.rotaries(l, b); err != nil {
		return err
	}
	t.all = t.add(nil)
	for i := range n {
		t.numbers = append(t.numbers, int32(i))
	}
	if t.rows, t.outputs = t.all, n; c.Rows != nil {
		checkRows(c.Rows, n)
		t.rows, t.outputs = t.add(nil), len(c.Rows)
		for _, r := range c.Rows {
			t.numbers = append(t.numbers, int32(r))
		}
	}
	t.places = len(t.numbers)
	if kv != nil {
		for _, s := range b.Segments {
			for i := range s.Len {
				t.numbers = append(t.numbers, int32(s.Slot*kv.capacity+s.Past+i))
			}
		}
	}
	t.attention(b, kv, l.e.queryTile(l.s.HeadDim))
	return nil
}

// add appends a list and returns where it begins.
func (t *tables) add(list []int32) int {
	at := len(t.numbers)
	t.numbers = append(t.numbers, list...)
	return at
}

// rotaries finds the tables of cosines and sines, and which is each row's.
func (t *tables) rotaries(l *layer, b *engine.Batch) error {
	if l.rope.Dim == 0 {
		return nil
	}
	choices, err := b.Choices(l.rope, nil)
	if err != nil {
		return err
	}
	var top int32
	for _, p := range b.Positions {
		top = max(top, p)
	}
	index := map[int]int32{}
	for i, s := range b.Segments {
		which, ok := index[choices[i]]
		if !ok {
			which = int32(len(t.rotary))
			index[choices[i]] = which
			t.rotary = append(t.rotary, l.e.rotaries.Reach(l.rope, choices[i], top))
		}
		for range s.Len {
			t.numbers = append(t.numbers, which)
		}
	}
	return nil
}

// attention cuts the wanted rows into tiles of at most so many, and says where keys
// lie.
func (t *tables) attention(b *engine.Batch, kv *kvCache, tile int) {
	type span struct{ run, runs int }
	spans := make([]span, len(b.Segments))
	var runs, tiles []int32
	for i, s := range b.Segments {
		spans[i].run = len(runs) / 2
		if kv != nil {
			runs = append(runs, 0, int32(s.Slot*kv.capacity))
		} else {
			runs = appendRuns(runs, b, i)
		}
		spans[i].runs = len(runs)/2 - spans[i].run
	}
	wanted := t.numbers[t.rows : t.rows+t.outputs]
	at := 0
	for i, s := range b.Segments {
		shift := b.Context(i) - s.Start
		for at < len(wanted) && int(wanted[at]) < s.Start+s.Len {
			end := at
			for end < len(wanted) && end < at+tile && int(wanted[end]) < s.Start+s.Len {
				end++
			}
			tiles = append(tiles, int32(at), int32(end-at), int32(shift), int32(spans[i].run), int32(spans[i].runs))
			at = end
		}
	}
	t.cut = len(tiles) / 5
	t.tiles = t.add(tiles)
	t.runs = t.add(runs)
}

// appendRuns lists the keys of a segment and of its ancestors before them, each run
// by the position it begins at and what its rows are beyond positions.
func appendRuns(runs []int32, b *engine.Batch, i int) []int32 {
	s := b.Segments[i]
	if s.Parent != engine.NoParent {
		runs = appendRuns(runs, b, s.Parent)
	}
	context := b.Context(i)
	return append(runs, int32(context), int32(s.Start-context))
}

// checkRows panics unless rows ascend below n.
func checkRows(rows []int, n int) {
	last := -1
	for _, r := range rows {
		if r <= last || r >= n {
			panic(fmt.Sprintf("cuda: row %d after row %d of %d: want ascending rows", r, last, n))
		}
		last = r
	}
}

// angles are a table of cosines and sines on the device.
type angles struct{ cos, sin buffer }

// mostAngles bounds what is kept: where each length has a table, they come and go.
const mostAngles = 64

// anglesOf brings tables to the device that are not there yet. Calls come one at a
// time.
func (e *Engine) anglesOf(ctx context.Context, list []*block.Rotary) error {
	for _, r := range list {
		if _, have := e.angles[r]; have {
			continue
		}
		var a angles
		err := e.w.do("Rotary", func() (err error) {
			if len(e.angles)+len(list) > mostAngles {
				err = e.forgetAngles(list)
			}
			for _, b := range []*buffer{&a.cos, &a.sin} {
				if err == nil {
					*b, err = e.pool.take(work, int64(4*len(r.Cos)))
				}
			}
			return err
		})
		for i, b := range []buffer{a.cos, a.sin} {
			if err == nil {
				values := [][]float32{r.Cos, r.Sin}[i]
				err = e.stage.up(ctx, "Rotary", e.compute, func(at int) address { return b.from(int64(at)) }, bytesOf(values), 4, nil)
			}
		}
		if err != nil {
			return err
		}
		e.angles[r] = a
	}
	return nil
}

// forgetAngles gives tables back, but those in use.
func (e *Engine) forgetAngles(but []*block.Rotary) (err error) {
	for r, a := range e.angles {
		if !slices.Contains(but, r) {
			err = errors.Join(err, e.pool.give(a.cos), e.pool.give(a.sin))
			delete(e.angles, r)
		}
	}
	return err
}
