// Package export writes models in the forms of other programs: a GGUF file for
// llama.cpp and what builds on it, and ollama's Modelfile.
//
// Here belongs what such a file must hold so that the other program computes what
// the checkpoint means: names and order of tensors, what becomes of their values,
// keys, the vocabulary. The container is package gguf's, what a family is called
// there model's, and nothing here runs a model.
package export

import (
	"context"
	"fmt"
	"sync"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/gguf"
	"github.com/coppice-ml/coppice/model"
)

// Magic is what a GGUF file begins with, for those who ask whether one may be
// replaced.
const Magic = "GGUF"

// Options of New.
type Options struct {
	Type gguf.Type // of matrices; vectors are F32 always
	Keep []int     // layers that are written, in order; nil: all
	Name string    // what the model is called: a directory's name or a hub id
	// Stop are the tokens that end a text, the most important first, as the model's
	// files list them.
	Stop []int
	// Template is the chat template; "" for none.
	Template string
}

// File is a GGUF file before it is written.
type File struct {
	// Notes are what llama.cpp computes otherwise and no file can tell it, and what
	// of the options could not be kept.
	Notes   []string
	Tensors int
	Bytes   int64

	parts []checkpoint.Part
}

// New lays out the file that holds a model, without reading its tensors. It fails
// with [model.ErrUnsupported] for a model, and with [tokenizer.ErrUnsupported] for a
// vocabulary, that llama.cpp cannot take.
func New(c *checkpoint.Checkpoint, spec *model.Spec, opt Options) (*File, error) {
	if err := spec.Runnable(); err != nil {
		return nil, err
	}
	if opt.Keep == nil {
		for i := range spec.Layers {
			opt.Keep = append(opt.Keep, i)
		}
	}
	if len(opt.Keep) == 0 {
		return nil, fmt.Errorf("no layer would be left: keep at least one")
	}
	form, err := spec.GGUF(opt.Keep)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if form.Notes != nil {
		f.Notes = form.Notes(spec, opt.Keep)
	}
	if form.Kinds != nil && listsKinds(spec, form, opt.Keep) {
		f.Notes = append(f.Notes, "layers that slide are not those that llama.cpp takes for them by their number: the file lists them, for llama.cpp v0.5.0 or later")
	}
	tensors, notes, err := listTensors(c, spec, form, opt)
	if err != nil {
		return nil, err
	}
	f.Notes = append(f.Notes, notes...)
	words, err := f.vocabulary(c, spec, opt)
	if err != nil {
		return nil, err
	}
	keys := append(modelKeys(c, spec, form, opt, tensors), words...)
	return f, f.layOut(c, keys, tensors)
}

// layOut makes the parts of the file.
func (f *File) layOut(c *checkpoint.Checkpoint, keys []gguf.Key, tensors []*tensor) error {
	described := make([]gguf.Tensor, len(tensors))
	for i, t := range tensors {
		described[i] = t.described()
	}
	head, size, err := gguf.Head(keys, described)
	if err != nil {
		return err
	}
	f.Tensors, f.Bytes = len(tensors), size
	f.parts = append(f.parts, content(head))
	pool := &sync.Pool{}
	for i, t := range tensors {
		end := size
		if i+1 < len(tensors) {
			end = described[i+1].Offset
		}
		f.parts = append(f.parts, t.part(c, described[i].Bytes, pool))
		if pad := end - described[i].Offset - described[i].Bytes; pad > 0 {
			f.parts = append(f.parts, content(make([]byte, pad)))
		}
	}
	return nil
}

func content(b []byte) checkpoint.Part {
	return checkpoint.Part{Bytes: int64(len(b)), Step: int64(len(b)), Fill: func(dst []byte, at int64) error {
		copy(dst, b[at:])
		return nil
	}}
}

// Write writes the file to out, which appears complete or not at all, with the
// errors of [checkpoint.WriteFile]. Tensors are read and converted as they are
// written, a few megabytes at a time.
func (f *File) Write(ctx context.Context, out string, opt checkpoint.WriteOptions) (checkpoint.Written, error) {
	w, err := checkpoint.WriteFile(ctx, out, Magic, f.parts, opt)
	w.Tensors = f.Tensors
	return w, err
}
