//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

var _ engine.Limiter = (*Engine)(nil)

// rotation is how many bytes of weights products and reads walk through at least:
// more than caches of a GPU hold.
const rotation = 512 << 20

// Products implements engine.Limiter: each product alone, by the library's first
// choice for its number of rows, whether or not it keeps bits. What they take of the
// device goes back when the engine is closed; nothing is computed where they do not fit.
func (e *Engine) Products(ctx context.Context, list []engine.Product) (run func() time.Duration, way string) {
	var in, out, largest, total int64
	for _, x := range list {
		in, out = max(in, int64(x.M)*int64(x.K)), max(out, int64(x.M)*int64(x.N))
		largest, total = max(largest, int64(x.N)*int64(x.K)), total+int64(x.N)*int64(x.K)
	}
	length := max(largest, min(total, rotation/e.inputBytes()))
	queued, at := []product{}, int64(0)
	err := e.w.do("Products", func() error {
		x, err := e.measured(in * e.inputBytes())
		w, err2 := e.measured(length * e.inputBytes())
		y, err3 := e.measured(out * 4)
		if err := errors.Join(err, err2, err3, e.spread("make_up", int(in), x, uint64(in), 1), e.spread("make_up", int(length), w, uint64(length), 2)); err != nil {
			return err
		}
		for _, p := range list {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			s := shape{out: p.N, in: p.K}
			best, err := e.b.algorithms(s, e.half, p.M, true)
			if err != nil {
				return err
			}
			if at += e.bytes(s); at > length*e.inputBytes() {
				at = e.bytes(s)
			}
			queued = append(queued, product{shape: s, half: e.half, n: p.M, w: w.from((at - e.bytes(s)) / 16 * 16), x: x.at, y: y.at,
				algorithm: best[0].algorithm, workspace: e.law.workspace, stream: e.compute})
		}
		return nil
	})
	if err != nil {
		queued = nil
	}
	return func() time.Duration {
		return e.duration("Products", func() (err error) {
			for _, p := range queued {
				err = errors.Join(err, e.b.run(p))
			}
			return err
		})
	}, "cuBLASLt's first choice"
}

// Reads implements engine.Limiter: as many bytes as a model's layers and head take of
// the device, read from a part of its memory over and over.
func (e *Engine) Reads(m *model.Model) (func() time.Duration, error) {
	total := e.headBytes(m)
	if e.shares(m) {
		total += e.bytes(shape{m.Spec.Vocab, m.Spec.Hidden})
	}
	for i := range m.Spec.Layers {
		_, _, bytes, err := e.newLayer(m, i)
		if err != nil {
			return nil, err
		}
		total += bytes
	}
	part := min(total, rotation) / 16 * 16
	var from buffer
	err := e.w.do("Reads", func() (err error) {
		if from, err = e.measured(part); err == nil {
			err = e.d.do(e.d.fill, uintptr(from.at), 0, uintptr(part), e.compute)
		}
		return err
	})
	return func() time.Duration {
		return e.duration("Reads", func() (err error) {
			for left := total; left > 0; left -= part {
				n := min(left, part) / 16
				err = errors.Join(err, e.spread("read_all", int(n), e.law.workspace, from, uint64(n)))
			}
			return err
		})
	}, err
}

// measured takes memory that is kept until the engine is closed; on the worker.
func (e *Engine) measured(bytes int64) (buffer, error) {
	b, err := e.pool.take(work, bytes)
	if err == nil {
		e.kept = append(e.kept, b)
	}
	return b, err
}

// duration is how long the device takes over what is queued, 0 if that fails.
func (e *Engine) duration(name string, queue func() error) time.Duration {
	var ms float32
	err := e.w.do(name, func() (err error) {
		ms, err = e.timed(queue)
		return err
	})
	if err != nil {
		return 0
	}
	return time.Duration(float64(ms) * float64(time.Millisecond))
}

// timed is how many milliseconds the compute stream takes over what is queued.
func (e *Engine) timed(queue func() error) (float32, error) {
	begin, err := e.record(e.compute)
	if err != nil {
		return 0, err
	}
	if err := queue(); err != nil {
		return 0, err
	}
	end, err := e.record(e.compute)
	if err != nil {
		return 0, err
	}
	return e.elapsed(begin, end)
}

// Profile implements engine.Limiter: it waits for every kernel and product of the
// compute stream, which slows them where they are short.
func (e *Engine) Profile(f func() error) ([]engine.Share, error) {
	took := map[string]float64{}
	watch := func(p map[string]float64) error {
		return e.w.do("Profile", func() error {
			e.profile = p
			return nil
		})
	}
	if err := watch(took); err != nil {
		return nil, err
	}
	err := errors.Join(f(), watch(nil))
	var shares []engine.Share
	for _, name := range slices.Sorted(maps.Keys(took)) {
		shares = append(shares, engine.Share{Name: name, Seconds: took[name]})
	}
	return shares, err
}

// noted queues work of the compute stream, whose time Profile wants by name.
func (e *Engine) noted(name string, queue func() error) error {
	if e.profile == nil {
		return queue()
	}
	ms, err := e.timed(queue)
	e.profile[name] += float64(ms) / 1e3
	return err
}
