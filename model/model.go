// Package model says what a model family is: how its config.json becomes a
// [Spec], which tensors its layers consist of, and which config keys change
// when layers go. One family is one file; the table in families.go lists them.
//
// It belongs here if it can be known from config.json and tensor headers. What
// runs a model belongs in package engine, what reads and writes files in
// package checkpoint.
//
// Shape legend used throughout: N tokens, T length of one sequence, D hidden
// size, H query heads, K key/value heads, F feed-forward size, V vocabulary,
// L layers.
package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/safetensors"
)

// Source is where a model's tensors come from: a *checkpoint.Checkpoint, or
// tensors made in memory. Implementations are safe for concurrent use.
type Source interface {
	// Tensors lists every tensor, sorted by name.
	Tensors() []checkpoint.TensorInfo
	// Tensor finds one tensor by name.
	Tensor(name string) (checkpoint.TensorInfo, bool)
	// Data returns the tensor's bytes, row major, little endian. The slice
	// belongs to the source, must not be written to, and is valid until the
	// source is closed.
	Data(name string) ([]byte, error)
	// Prefetch hints that the tensors will be read soon.
	Prefetch(names ...string)
	// Populate reads the tensors into memory and returns when they are there; a
	// source that cannot takes it as a hint.
	Populate(names ...string)
	// Release hints that the tensors' pages may leave memory; reading them
	// again later is correct, only slower.
	Release(names ...string)
	// ReleasePart is Release of bytes [lo, hi) of one tensor.
	ReleasePart(name string, lo, hi int64)
}

// Model is a Spec with the tensors that fulfil it.
type Model struct {
	Spec   *Spec
	Source Source
	// Warnings say what people should know who use these tensors with this config.
	Warnings []string
}

// Stored is a weight's bytes, as long as its shape says, and their dtype.
func (m *Model) Stored(w Weight) ([]byte, safetensors.DType, error) {
	t, ok := m.Source.Tensor(w.Name)
	if !ok {
		return nil, "", fmt.Errorf("tensor %s is missing", w.Name)
	}
	raw, err := m.Source.Data(w.Name)
	if err != nil {
		return nil, "", fmt.Errorf("tensor %s: %w", w.Name, err)
	}
	if int64(len(raw)) != w.Elements()*int64(t.DType.Size()) {
		return nil, "", fmt.Errorf("tensor %s: %d bytes for shape %v of %s", w.Name, len(raw), w.Shape, t.DType)
	}
	return raw, t.DType, nil
}

// Open validates the checkpoint's config and tensors and returns the model. Every
// missing and misshapen tensor is named in one *TensorError; what can be cut but
// not run is refused with ErrUnsupported. Of a model whose head is tied, a head in
// the files is compared with the embedding, which reads both.
func Open(c *checkpoint.Checkpoint) (*Model, error) {
	m, err := OpenLayout(c)
	if err != nil {
		return nil, err
	}
	if err := m.Spec.Runnable(); err != nil {
		return nil, fmt.Errorf("%s/config.json: %w", c.Dir(), err)
	}
	return m, nil
}

// OpenLayout is Open for work that does not run the model.
func OpenLayout(c *checkpoint.Checkpoint) (*Model, error) {
	spec, err := SpecOf(c)
	if err != nil {
		return nil, err
	}
	m, err := fulfil(spec, c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Dir(), err)
	}
	return m, nil
}

// SpecOf reads the checkpoint's config, and what lies beside it, for work that does
// not run the model.
func SpecOf(c *checkpoint.Checkpoint) (*Spec, error) {
	spec, err := ParseLayout(c.Config(), c.Beside)
	if err != nil {
		return nil, fmt.Errorf("%s/config.json: %w", c.Dir(), err)
	}
	spec.nameAs(c.Tensors())
	return spec, nil
}

// nameAs goes over to the names that the tensors have, of families that are
// published under several.
func (s *Spec) nameAs(tensors []checkpoint.TensorInfo) {
	if s.family.renamed == nil {
		return
	}
	other := s.family.renamed()
	if slices.ContainsFunc(tensors, func(t checkpoint.TensorInfo) bool { return strings.HasPrefix(t.Name, other.layerPrefix) }) {
		s.family = other
	}
}

// New pairs a spec with tensors, checking that they fulfil it and can be run.
func New(spec *Spec, src Source) (*Model, error) {
	if err := spec.Runnable(); err != nil {
		return nil, err
	}
	return fulfil(spec, src)
}

func fulfil(spec *Spec, src Source) (*Model, error) {
	tensors := src.Tensors()
	spec.nameAs(tensors)
	report := spec.Check(tensors)
	if len(report.Missing)+len(report.Misshapen) > 0 {
		return nil, &TensorError{Report: report, Cause: spec.Diagnose(tensors, report)}
	}
	m := &Model{Spec: spec, Source: src}
	if len(report.Unused) > 0 {
		m.warn("%s of the files are not part of this model and are left alone: %s", counted(len(report.Unused), "tensor"), abbreviate(report.Unused, 6))
	}
	other, err := m.otherHead()
	if err != nil {
		return nil, err
	}
	if other != "" {
		m.warn("tie_word_embeddings is true, and the values of %s differ from the embedding's: the embedding is the head here, as in transformers 4; transformers 5 takes %s", other, other)
	}
	return m, nil
}

func (m *Model) warn(format string, args ...any) {
	m.Warnings = append(m.Warnings, fmt.Sprintf(format, args...))
}

// CheckReport lists what is wrong between a spec and a set of tensors.
type CheckReport struct {
	Missing   []string // expected, not there
	Unused    []string // there, not expected
	Misshapen []string // "name: shape [a b], want [c d]", or a dtype that cannot be used
	Ignored   []string // there, recomputed from the config instead of read
}

// TensorError reports tensors that do not fulfil the spec, all of them at once.
type TensorError struct {
	Report CheckReport
	Cause  string // what lies behind it, with a remedy; "" where that is not known
}

func (e *TensorError) Error() string {
	msg := "tensors do not match config.json"
	if e.Cause != "" {
		msg += ": " + e.Cause
	}
	for _, part := range []struct {
		label string
		names []string
	}{{"missing", e.Report.Missing}, {"misshapen", e.Report.Misshapen}, {"unused", e.Report.Unused}} {
		if len(part.names) > 0 {
			msg += fmt.Sprintf("; %d %s: %s", len(part.names), part.label, abbreviate(part.names, 6))
		}
	}
	if e.Cause == "" {
		msg += " (see `coppice inspect`; weights and config.json are of different models or versions)"
	}
	return msg
}

// Check compares tensors with what the spec expects. It reads no tensor data.
func (s *Spec) Check(tensors []checkpoint.TensorInfo) CheckReport {
	var r CheckReport
	have := make(map[string]checkpoint.TensorInfo, len(tensors))
	for _, t := range tensors {
		have[t.Name] = t
	}
	for w := range s.Weights() {
		t, ok := have[w.Name]
		delete(have, w.Name)
		switch {
		case !ok:
			r.Missing = append(r.Missing, fmt.Sprintf("%s %v", w.Name, w.Shape))
		case !slices.Equal(t.Shape, w.Shape):
			r.Misshapen = append(r.Misshapen, fmt.Sprintf("%s: shape %v, want %v", w.Name, t.Shape, w.Shape))
		case !Computable(t.DType):
			r.Misshapen = append(r.Misshapen, fmt.Sprintf("%s: dtype %s, want F32, F16 or BF16", w.Name, t.DType))
		}
	}
	for _, t := range tensors {
		if _, left := have[t.Name]; !left {
			continue
		}
		if s.ignored(t.Name) {
			r.Ignored = append(r.Ignored, t.Name)
		} else {
			r.Unused = append(r.Unused, t.Name)
		}
	}
	return r
}

// Computable says whether an engine can use weights of this dtype.
func Computable(d safetensors.DType) bool {
	return d == safetensors.F32 || d == safetensors.F16 || d == safetensors.BF16
}

// ErrUnsupported is wrapped by errors about checkpoints that are valid but of
// a kind Coppice does not know.
var ErrUnsupported = errors.New("unsupported model")

func abbreviate(names []string, n int) string {
	if len(names) <= n {
		return fmt.Sprintf("%v", names)
	}
	return fmt.Sprintf("%v and %d more", names[:n], len(names)-n)
}
