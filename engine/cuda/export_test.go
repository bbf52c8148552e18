//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
)

// Tuning is what tests change of an engine.
type Tuning struct {
	Patience time.Duration
	Pooled   bool                    // share memory as outside tests, without spoiling what is given back
	Edit     func(map[string]string) // changes the kernels' source
	Staged   int                     // bytes of a staging buffer
	Unwaited bool                    // streams do not wait for each other
	Unprobed bool                    // products use what the library likes best
}

// Start starts an engine as tests want it: every buffer of its very size and spoilt
// when given back, few rows probed.
func Start(o Options, t Tuning) (engine.Engine, error) {
	u := defaults()
	u.repeats, u.exact, u.unwaited, u.unprobed = 1, !t.Pooled, t.Unwaited, t.Unprobed
	u.staged, u.patience = 1<<20, 10*time.Minute // machines of tests can be slow
	if t.Patience > 0 {
		u.patience = t.Patience
	}
	if t.Staged > 0 {
		u.staged = t.Staged
	}
	if t.Edit != nil {
		u.edit = func(p *program) { t.Edit(p.files) }
	}
	return start(o, u)
}

// Attention is attention alone: of Values [rows, (Heads + 2 KVHeads) Width], queries,
// keys and values behind each other.
type Attention struct {
	Width, Heads, KVHeads, Window int
	Scale, Cap                    float32
	Values                        []float32
}

func (a *Attention) line() int { return (a.Heads + 2*a.KVHeads) * a.Width }

// Query is a row's query of a head.
func (a *Attention) Query(row, head int) []float32 {
	return a.Values[row*a.line()+head*a.Width:][:a.Width]
}

// Seen are some rows' keys and values of a key/value head.
func (a *Attention) Seen(rows []int, head int) (keys, values [][]float32) {
	for _, r := range rows {
		keys = append(keys, a.Query(r, a.Heads+head))
		values = append(values, a.Query(r, a.Heads+a.KVHeads+head))
	}
	return keys, values
}

// Run computes attention of some rows of a batch, nil for all: [rows, Heads Width].
func (a *Attention) Run(ctx context.Context, from engine.Engine, b *engine.Batch, rows []int) ([]float32, error) {
	e := from.(*Engine)
	l := &layer{e: e, window: a.Window, s: &model.Spec{Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.Width, AttnScale: float64(a.Scale), AttnSoftCap: float64(a.Cap)}}
	l.qkv.out = a.line()
	p := &pass{scratch: scratch{e: e}, l: l, n: b.Len()}
	if err := p.t.take(l, &engine.Call{Batch: b, Rows: rows}, nil); err != nil {
		return nil, err
	}
	var qkv, att buffer
	err := e.w.do("test", func() (err error) {
		if qkv, err = p.take(len(a.Values), 4); err == nil {
			att, err = p.take(p.t.outputs*a.Heads*a.Width, e.inputBytes())
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := e.stage.up(ctx, "test", e.compute, func(at int) address { return qkv.from(int64(at)) }, bytesOf(a.Values), 4, nil); err != nil {
		return nil, err
	}
	if p.lists, err = e.upload(ctx, "test", p.t.numbers); err != nil {
		return nil, err
	}
	err = e.w.do("test", func() error {
		x, err := p.asInputs(qkv)
		if err != nil {
			return err
		}
		keys := x.from(e.inputBytes() * int64(a.Heads*a.Width))
		return p.attend(att, x, keys, keys+address(e.inputBytes()*int64(a.KVHeads*a.Width)), a.line())
	})
	if err != nil {
		return nil, err
	}
	out := make([]uint16, p.t.outputs*a.Heads*a.Width)
	if err := e.stage.down(ctx, "test", bytesOf(out), att.at); err != nil {
		return nil, err
	}
	wide := make([]float32, len(out))
	for i, x := range out {
		wide[i] = number.FromBF16(x)
	}
	return wide, e.w.do("test", func() error { return errors.Join(p.end(), e.pool.give(p.lists)) })
}

// FindBLAS opens cuBLASLt for a driver of a CUDA version and says where it lies.
func FindBLAS(newest int, getenv func(string) string) (string, error) {
	lib, err := openLibrary(theBLAS(), newest, getenv)
	return lib.path, err
}

// Folders lists where libraries are looked for.
func Folders(getenv func(string) string) []string {
	named, usual := folders(getenv)
	return append(named, usual...)
}
