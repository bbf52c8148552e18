package export

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/gguf"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// stepBytes is about how much of a tensor is converted at a time.
const stepBytes = 2 << 20

// baseFrequency is frequency j before scaling, rounded to float32 on the way as
// the converter's tensors are.
func baseFrequency(r model.Rope, j int) float32 {
	exponent := float32(2*j) / float32(r.Dim)
	return 1 / float32(math.Pow(r.Theta, float64(exponent)))
}

// dtypeOf is the checkpoint's name of a type that is not quantised, "" for others.
func dtypeOf(t gguf.Type) safetensors.DType {
	switch t {
	case gguf.F32:
		return safetensors.F32
	case gguf.F16:
		return safetensors.F16
	case gguf.BF16:
		return safetensors.BF16
	}
	return ""
}

// plain says that the values are those that are stored.
func (t *tensor) plain() bool { return t.scale == 1 && t.offset == 0 && !t.unit }

// part is the tensor as bytes of the file.
func (t *tensor) part(c *checkpoint.Checkpoint, bytes int64, pool *sync.Pool) checkpoint.Part {
	if t.values != nil {
		raw := make([]byte, bytes)
		number.Narrow(raw, t.values, safetensors.F32)
		return content(raw)
	}
	same := t.plain() && t.dtype == dtypeOf(t.typ)
	if path, offset, ok := c.Place(t.source); ok && same && t.headDim == 0 {
		return checkpoint.Part{Path: path, Offset: offset + t.first*int64(t.dtype.Size()), Bytes: bytes}
	}
	row := bytes / t.rows
	rows := max(1, min(t.rows, stepBytes/row))
	if t.headDim > 0 {
		rows = max(1, rows/t.headDim) * t.headDim
	}
	f := &filler{t: t, c: c, row: row, same: same, pool: pool, kernels: variants()[0]}
	return checkpoint.Part{Bytes: bytes, Step: rows * row, Fill: f.fill}
}

// filler converts a tensor, some rows at a time.
type filler struct {
	t    *tensor
	c    *checkpoint.Checkpoint
	row  int64      // bytes of a row in the file
	same bool       // rows are copied as they are
	pool *sync.Pool // of buffers, shared by all tensors
	kernels
}

// buffers of one call.
type buffers struct {
	raw    []byte
	values []float32
}

func (f *filler) fill(dst []byte, at int64) error {
	t := f.t
	size := int64(t.dtype.Size())
	first, n := at/f.row, int64(len(dst))/f.row
	b, _ := f.pool.Get().(*buffers)
	if b == nil {
		b = &buffers{}
	}
	defer f.pool.Put(b)
	raw := grown(&b.raw, n*t.columns*size)
	if err := f.c.ReadTensor(t.source, raw, (t.first+first*t.columns)*size); err != nil {
		return err
	}
	in := t.columns * size
	for r := range n {
		from := raw[t.from(r)*in:][:in]
		to := dst[r*f.row:][:f.row]
		if err := f.convert(to, from, b); err != nil {
			return err
		}
	}
	return nil
}

// convert writes one row.
func (f *filler) convert(dst, src []byte, b *buffers) error {
	t := f.t
	if f.same {
		copy(dst, src)
		return nil
	}
	values := grown(&b.values, t.columns)
	if t.dtype == safetensors.BF16 {
		f.widen(values, src)
	} else {
		number.Widen(values, src, t.dtype)
	}
	t.change(values)
	return t.store(dst, values, f.quantise)
}

// from is the row that row r of a step is stored as. Steps are whole heads.
func (t *tensor) from(r int64) int64 {
	if t.headDim == 0 {
		return r
	}
	head, in := r/t.headDim, r%t.headDim
	return head*t.headDim + in%2*(t.headDim/2) + in/2
}

func grown[T any](s *[]T, n int64) []T {
	if int64(cap(*s)) < n {
		*s = make([]T, n)
	}
	return (*s)[:n]
}

// change makes a row's values those that llama.cpp needs.
func (t *tensor) change(values []float32) {
	if t.unit {
		sum := 0.0
		for _, v := range values {
			sum += float64(v) * float64(v)
		}
		norm := max(math.Sqrt(sum), 1e-12) // as torch.nn.functional.normalize
		for i, v := range values {
			values[i] = float32(float64(v) / norm)
		}
	}
	if t.offset != 0 {
		for i := range values {
			values[i] += t.offset
		}
	}
	if t.scale != 1 {
		for i, v := range values {
			values[i] = float32(float64(v) * t.scale)
		}
	}
}

// store writes a row. Values that the type cannot hold are refused, not bent.
func (t *tensor) store(dst []byte, values []float32, quantise func([]byte, []float32) int) error {
	switch t.typ {
	case gguf.Q8_0:
		if done := quantise(dst, values) * q8Block; done < len(values) {
			return t.cannotHold(values[done : done+q8Block])
		}
		return nil
	case gguf.F16:
		for i, v := range values {
			h := number.ToF16(v)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(v), 0) {
				return t.cannotHold(values[i : i+1])
			}
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		}
		return nil
	}
	number.Narrow(dst, values, dtypeOf(t.typ))
	return nil
}

func (t *tensor) cannotHold(values []float32) error {
	worst := values[0]
	for _, v := range values {
		if v != v || math.Abs(float64(v)) > math.Abs(float64(worst)) {
			worst = v
		}
	}
	return fmt.Errorf("tensor %s holds %g, which %v cannot; choose bf16 or f32", t.source, worst, t.typ)
}
