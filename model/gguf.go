package model

import (
	"fmt"
	"slices"
	"strings"
)

// GGUF is what llama.cpp knows a family as: what a file for it needs to be told
// beside the Spec. Source: src/models and conversion of github.com/ggml-org/llama.cpp.
type GGUF struct {
	Name string // general.architecture, and what the model's keys begin with
	// Pairs: it rotates columns (2j, 2j+1) of a head, so that rows of queries and
	// keys whose pairs are (j, j+Dim/2) change places.
	Pairs       bool
	Tied        bool     // its head is always the embedding
	SquareQuery bool     // it takes H*HeadDim to be D
	Llama3      bool     // it reads factors of rotary frequencies
	Biases      []Role   // those it has beside weights
	Keys        []string // those it has beside what all have
	// Scale, which may be nil, is what it multiplies attention scores by in a model
	// of so many layers; nil: 1/sqrt(HeadDim).
	Scale func(s *Spec, layers int) float64
	// Notes, which may be nil, say what it computes otherwise of a model of these
	// layers, and no file can tell it.
	Notes func(s *Spec, keep []int) []string
}

// llamaGGUF is the form of Llama, which others can be rewritten as.
func llamaGGUF(notes func(s *Spec, keep []int) []string) *GGUF {
	return &GGUF{
		Name: "llama", Pairs: true, Llama3: true,
		Biases: []Role{QueryBias, KeyBias, ValueBias, OutProjBias, GateBias, UpBias, DownBias},
		Keys:   []string{"rope.freq_base", "rope.dimension_count", "vocab_size"},
		Notes:  notes,
	}
}

// GGUF says how llama.cpp takes the model. It fails with ErrUnsupported where it
// does not, or where it would compute something else that the file cannot repair.
func (s *Spec) GGUF() (*GGUF, error) {
	g := s.family.gguf
	if g == nil {
		reason := s.family.noGGUF
		if reason == "" {
			reason = "Coppice does not know how llama.cpp takes it"
		}
		return nil, fmt.Errorf("%w: %s cannot be written as GGUF: %s", ErrUnsupported, s.Architecture, reason)
	}
	if problems := s.notInGGUF(g); len(problems) > 0 {
		return nil, fmt.Errorf("%w: this %s cannot be written as GGUF: %s", ErrUnsupported, s.Architecture, strings.Join(problems, "; "))
	}
	return g, nil
}

// notInGGUF lists what the architecture of llama.cpp lacks.
func (s *Spec) notInGGUF(g *GGUF) (problems []string) {
	lacks := func(format string, args ...any) {
		problems = append(problems, "llama.cpp's "+g.Name+" "+fmt.Sprintf(format, args...))
	}
	if g.Tied && !s.Tied {
		lacks("takes the embedding for the head, and this model has one of its own")
	}
	if g.SquareQuery && s.Heads*s.HeadDim != s.Hidden {
		lacks("wants as many rows of queries as hidden_size = %d, and this model has %d", s.Hidden, s.Heads*s.HeadDim)
	}
	if s.Rope.Scaling.Kind == "llama3" && !g.Llama3 {
		lacks("has no rotary scaling of type llama3")
	}
	if kind := s.Rope.Scaling.Kind; kind != "" && kind != "linear" && kind != "llama3" {
		lacks("is not told of rotary scaling of type %s", kind)
	}
	if s.Ropes != nil || s.Rope.Dim != s.HeadDim {
		lacks("is not told of rotary embeddings of some layers or a part of each head")
	}
	if s.Activation == GELU {
		lacks("computes GELU by its tanh approximation, and this model was made with the exact one")
	}
	if slices.Contains(g.Keys, "attn_logit_softcapping") && (s.AttnSoftCap == 0 || s.LogitSoftCap == 0) {
		lacks("always caps attention scores and logits, and this model does not")
	}
	for _, w := range s.family.layer(s) {
		if w.IsBias() && !slices.Contains(g.Biases, w.Role) {
			lacks("has no %s", strings.ReplaceAll(string(w.Role), "-", " "))
		}
	}
	return problems
}
