package heal

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/heal/adapter"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// Replacements are the trained tensors of a copy of the kept layers of m, by
// their names in the copy: in the dtype that the model has them in, rounded to
// nearest even, or, with wide, in float32, and then all other tensors too.
func (s *Set) Replacements(ctx context.Context, m *model.Model, kept []int, wide bool) map[string]checkpoint.Tensor {
	out := map[string]checkpoint.Tensor{}
	rename := m.Spec.Renamer(kept)
	for _, w := range weights(m.Spec, kept) {
		info, _ := m.Source.Tensor(w.Name)
		name, _ := rename(w.Name)
		d := info.DType
		if wide {
			d = safetensors.F32
		}
		if t, trains := s.Trained.Tensors[w.Name]; trains {
			out[name] = checkpoint.Tensor{DType: d, Shape: w.Shape, Read: readMaster(ctx, t, d)}
		} else if d != info.DType {
			out[name] = checkpoint.Tensor{DType: d, Shape: w.Shape, Read: widened(m.Source, w.Name, info.DType)}
		}
	}
	return out
}

// WriteTrained writes the trained tensors of the set by the names that m has for
// them, in the dtype that dtype gives for each. The file appears whole or not at all.
func (s *Set) WriteTrained(ctx context.Context, path string, dtype func(tensor string) safetensors.DType) error {
	var list []safetensors.Tensor
	for _, t := range s.List {
		list = append(list, safetensors.Tensor{Name: t.Name(), DType: dtype(t.Name()), Shape: t.Shape()})
	}
	tmp := filepath.Join(filepath.Dir(path), partialPrefix+filepath.Base(path))
	err := writeSynced(tmp, func(w io.Writer) error {
		if _, err := safetensors.WriteHeader(w, list, map[string]string{"format": "pt"}); err != nil {
			return err
		}
		for i, t := range s.List {
			if err := writeMaster(ctx, w, t, list[i].DType); err != nil {
				return fmt.Errorf("%s: %w", t.Name(), err)
			}
		}
		return nil
	})
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

// writeMaster writes a Trainable's values in a dtype.
func writeMaster(ctx context.Context, w io.Writer, t engine.Trainable, d safetensors.DType) error {
	read, size := readMaster(ctx, t, d), int64(elements(t.Shape())*d.Size())
	raw := make([]byte, min(size, int64(chunk*d.Size())))
	for at := int64(0); at < size; at += int64(len(raw)) {
		part := raw[:min(int64(len(raw)), size-at)]
		if err := read(part, at); err != nil {
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// readMaster gives a Trainable's values in a dtype.
func readMaster(ctx context.Context, t engine.Trainable, d safetensors.DType) func(dst []byte, at int64) error {
	var values []float32
	return func(dst []byte, at int64) error {
		n := len(dst) / d.Size()
		values = slices.Grow(values[:0], n)[:n]
		if err := t.Read(ctx, engine.Master, int(at)/d.Size(), values); err != nil {
			return err
		}
		number.Narrow(dst, values, d)
		return nil
	}
}

// widened gives a stored tensor in float32.
func widened(src model.Source, name string, d safetensors.DType) func(dst []byte, at int64) error {
	return func(dst []byte, at int64) error {
		raw, err := src.Data(name)
		if err != nil {
			return err
		}
		values := make([]float32, len(dst)/4)
		number.Widen(values, raw[at/4*int64(d.Size()):], d)
		number.Narrow(dst, values, safetensors.F32)
		if at/4+int64(len(values)) == int64(len(raw)/d.Size()) {
			src.Release(name)
		}
		return nil
	}
}

// Adapter reads what the adapters of the set have become, for PEFT's files.
func (s *Set) Adapter(ctx context.Context, c *Chosen, config adapter.Config) (*adapter.Adapter, error) {
	out := &adapter.Adapter{Config: config}
	for _, w := range c.Adapted {
		a := s.Trained.Adapters[w.Name]
		p := adapter.Pair{Weight: w, Rank: a.A.Shape()[0], Scale: float64(a.Scale)}
		p.A, p.B = make([]float32, elements(a.A.Shape())), make([]float32, elements(a.B.Shape()))
		if err := a.A.Read(ctx, engine.Master, 0, p.A); err != nil {
			return nil, fmt.Errorf("adapter of %s: %w", w.Name, err)
		}
		if err := a.B.Read(ctx, engine.Master, 0, p.B); err != nil {
			return nil, fmt.Errorf("adapter of %s: %w", w.Name, err)
		}
		out.Pairs = append(out.Pairs, p)
	}
	return out, nil
}

// Load gives the adapters of a set the values of an adapter that was read.
func (s *Set) Load(ctx context.Context, from *adapter.Adapter) error {
	for _, p := range from.Pairs {
		a, ok := s.Trained.Adapters[p.Weight.Name]
		if !ok {
			return fmt.Errorf("the adapter has matrices for %s, which is not adapted here", p.Weight.Name)
		}
		if err := a.A.Write(ctx, engine.Master, 0, p.A); err != nil {
			return err
		}
		if err := a.B.Write(ctx, engine.Master, 0, p.B); err != nil {
			return err
		}
	}
	return nil
}

// Frozen makes adapters that were read ready to run on an engine.
func Frozen(ctx context.Context, e engine.Trainer, from *adapter.Adapter) (*Set, error) {
	s := &Set{Trained: engine.Trained{Adapters: map[string]engine.Adapter{}}}
	for _, p := range from.Pairs {
		a, err := s.frozen(ctx, e, AdapterName(p.Weight.Name, "A"), []int{p.Rank, p.Weight.Shape[1]}, p.A)
		if err == nil {
			var b engine.Trainable
			b, err = s.frozen(ctx, e, AdapterName(p.Weight.Name, "B"), []int{p.Weight.Shape[0], p.Rank}, p.B)
			s.Trained.Adapters[p.Weight.Name] = engine.Adapter{A: a, B: b, Scale: float32(p.Scale)}
		}
		if err != nil {
			s.Release()
			return nil, fmt.Errorf("adapter of %s: %w", p.Weight.Name, err)
		}
	}
	return s, nil
}

func (s *Set) frozen(ctx context.Context, e engine.Trainer, name string, shape []int, values []float32) (engine.Trainable, error) {
	t, err := s.add(e, name, shape, engine.TrainableOptions{NoMoments: true}, false)
	if err != nil {
		return nil, err
	}
	return t, t.Write(ctx, engine.Master, 0, values)
}
