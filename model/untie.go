package model

import (
	"slices"

	"github.com/coppice-ml/coppice/checkpoint"
)

// Untied is the model with a head of its own, which begins as a copy of the
// embedding: what training the head of a tied model alone needs. A model whose
// head is its own already is returned as it is.
func (m *Model) Untied() *Model {
	if !m.Spec.Tied {
		return m
	}
	spec := *m.Spec
	spec.Tied = false
	s := &untiedSource{Source: m.Source, head: m.Spec.untiedHead()}
	for _, w := range m.Spec.TopWeights() {
		if w.Role == Embedding {
			s.embedding = w.Name
		}
	}
	return &Model{Spec: &spec, Source: s}
}

// untiedSource gives the embedding's bytes under the head's name, too.
type untiedSource struct {
	Source
	head, embedding string
}

func (s *untiedSource) of(name string) string {
	if name == s.head {
		return s.embedding
	}
	return name
}

func (s *untiedSource) all(names []string) []string {
	out := slices.Clone(names)
	for i, n := range out {
		out[i] = s.of(n)
	}
	return out
}

func (s *untiedSource) Tensor(name string) (checkpoint.TensorInfo, bool) {
	t, ok := s.Source.Tensor(s.of(name))
	t.Name = name
	return t, ok
}

func (s *untiedSource) Data(name string) ([]byte, error) { return s.Source.Data(s.of(name)) }
func (s *untiedSource) Prefetch(names ...string)         { s.Source.Prefetch(s.all(names)...) }
func (s *untiedSource) Populate(names ...string)         { s.Source.Populate(s.all(names)...) }
func (s *untiedSource) Release(names ...string)          { s.Source.Release(s.all(names)...) }
func (s *untiedSource) ReleasePart(name string, lo, hi int64) {
	s.Source.ReleasePart(s.of(name), lo, hi)
}
