// Package overlay runs models some of whose tensors were trained: the tensors lie
// in files of their own, by the names that they have in the dense model, and take
// the places of the model's. So a healed model needs no checkpoint.
//
// Training, and writing what came of it, is package heal's; adapters, which run
// beside the weights, are heal/adapter's.
package overlay

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// FileName is the file of trained tensors in a directory.
const FileName = "trained.safetensors"

// Tensors are the trained tensors of one or more directories.
type Tensors struct {
	files []*safetensors.File
	of    map[string]place
	// SHA256 identifies the files, in their order.
	SHA256 string
}

type place struct {
	file   *safetensors.File
	tensor safetensors.Tensor
}

// Open maps the files of the directories. A tensor that several have is the last
// one's. Close them when no model that was made with them runs any more.
func Open(dirs []string) (*Tensors, error) {
	t := &Tensors{of: map[string]place{}}
	h := sha256.New()
	for _, dir := range dirs {
		path := filepath.Join(dir, FileName)
		if err := t.add(path, h); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	t.SHA256 = hex.EncodeToString(h.Sum(nil))
	return t, nil
}

func (t *Tensors) add(path string, hash io.Writer) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(hash, in)
	if err = errors.Join(err, in.Close()); err != nil {
		return err
	}
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	t.files = append(t.files, f)
	for _, tensor := range f.Header().Tensors {
		t.of[tensor.Name] = place{f, tensor}
	}
	return nil
}

// Has says whether a tensor is among them.
func (t *Tensors) Has(name string) bool { _, ok := t.of[name]; return ok }

// Close lets the files go.
func (t *Tensors) Close() (err error) {
	for _, f := range t.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// Into puts the tensors into a model, which must have all of them, in the same
// shapes. A head beside an embedding that is the head unties them.
func (t *Tensors) Into(m *model.Model) (*model.Model, error) {
	if t.missing(m) != "" {
		m = m.Untied()
	}
	if name := t.missing(m); name != "" {
		return nil, fmt.Errorf("trained tensor %s: the model has none such", name)
	}
	for name, p := range t.of {
		if info, _ := m.Source.Tensor(name); !slices.Equal(info.Shape, p.tensor.Shape) {
			return nil, fmt.Errorf("trained tensor %s: shape %v, and the model's is %v", name, p.tensor.Shape, info.Shape)
		}
	}
	out := *m
	out.Source = &source{Source: m.Source, of: t.of}
	return &out, nil
}

// missing is the first of the tensors that a model does not have; "": none.
func (t *Tensors) missing(m *model.Model) string {
	var names []string
	for name := range t.of {
		if _, ok := m.Source.Tensor(name); !ok {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return slices.Min(names)
}

// source gives the trained tensors in place of a model's.
type source struct {
	model.Source
	of map[string]place
}

func (s *source) Tensors() []checkpoint.TensorInfo {
	list := s.Source.Tensors()
	for i, t := range list {
		if p, ok := s.of[t.Name]; ok {
			list[i].Tensor = p.tensor
		}
	}
	return list
}

func (s *source) Tensor(name string) (checkpoint.TensorInfo, bool) {
	t, ok := s.Source.Tensor(name)
	if p, trained := s.of[name]; trained {
		t.Tensor = p.tensor
	}
	return t, ok
}

func (s *source) Data(name string) ([]byte, error) {
	if p, ok := s.of[name]; ok {
		return p.file.Data(p.tensor), nil
	}
	return s.Source.Data(name)
}

// each gives trained tensors to do and returns the names of the others.
func (s *source) each(names []string, do func(place)) (others []string) {
	for _, name := range names {
		if p, ok := s.of[name]; ok {
			do(p)
		} else {
			others = append(others, name)
		}
	}
	return others
}

func (s *source) Prefetch(names ...string) {
	s.Source.Prefetch(s.each(names, func(p place) { p.file.Prefetch(p.tensor) })...)
}

func (s *source) Populate(names ...string) {
	s.Source.Populate(s.each(names, func(p place) { p.file.Populate(p.tensor) })...)
}

func (s *source) Release(names ...string) {
	s.Source.Release(s.each(names, func(p place) { p.file.Release(p.tensor) })...)
}

func (s *source) ReleasePart(name string, lo, hi int64) {
	if p, ok := s.of[name]; ok {
		part := p.tensor
		part.Offset, part.Bytes = part.Offset+lo, hi-lo
		p.file.Release(part)
		return
	}
	s.Source.ReleasePart(name, lo, hi)
}
