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
	Partial     bool     // it rotates a part of each head where it is told to
	Tied        bool     // its head is always the embedding
	Untied      bool     // its head is never the embedding: one that is gets a copy
	SquareQuery bool     // it takes H*HeadDim to be D
	Llama3      bool     // it reads factors of rotary frequencies
	LongRope    bool     // it reads two lists of them
	Divides     bool     // its logit_scale divides
	Fused       []Role   // those it takes in one tensor
	Biases      []Role   // those it has beside weights
	Keys        []string // those it has beside what all have
	// Fewer, where it is not 0, is how many layers it must have fewer than.
	Fewer int
	// Scale, which may be nil, is what it multiplies attention scores by in a model
	// of so many layers; nil: what the file says, or 1/sqrt(HeadDim).
	Scale func(s *Spec, layers int) float64
	// Slides says whether it rotates layers of the sliding kind as r does; nil: it
	// rotates all layers alike.
	Slides func(s *Spec, r Rope) bool
	// Kinds, which may be nil, are the kinds of so many layers where the file does
	// not list them: true for those that slide.
	Kinds func(layers int) []bool
	// Rotates: it is told of each layer whether it is rotated; those that slide are
	// those with a window.
	Rotates bool
	// Sinks: it takes an attention sink for each head, which a model without has none of.
	Sinks bool
	// Instead, which may be nil, is another architecture for a model of layers that
	// this one cannot be told; nil where it can.
	Instead func(s *Spec, keep []int) *GGUF
	// Notes, which may be nil, say what it computes otherwise of a model of these
	// layers, and no file can tell it.
	Notes func(s *Spec, keep []int) []string
}

// llamaGGUF is the form of Llama, which others can be rewritten as.
func llamaGGUF(notes func(s *Spec, keep []int) []string) *GGUF {
	return &GGUF{
		Name: "llama", Pairs: true, Llama3: true, LongRope: true,
		Biases: []Role{QueryBias, KeyBias, ValueBias, OutProjBias, GateBias, UpBias, DownBias},
		Keys:   []string{"rope.freq_base", "rope.dimension_count", "vocab_size"},
		Notes:  notes,
	}
}

// everyOther are kinds of layers of which every nth sees everything.
func everyOther(n int) func(layers int) []bool {
	return func(layers int) []bool {
		kinds := make([]bool, layers)
		for i := range kinds {
			kinds[i] = (i+1)%n != 0
		}
		return kinds
	}
}

// Kind says whether layer i is of the kind that slides: it has a window, or rotary
// embeddings that are not those of others.
func (s *Spec) Kind(i int) (slides bool) { return s.Window(i) > 0 || s.RopeOf(i) != s.Rope }

// GGUF says how llama.cpp takes the model of the kept layers. It fails with
// ErrUnsupported where it does not, or where it would compute something else that
// the file cannot repair.
func (s *Spec) GGUF(keep []int) (*GGUF, error) {
	g := s.family.gguf
	if g == nil {
		reason := s.family.noGGUF
		if reason == "" {
			reason = "Coppice does not know how llama.cpp takes it"
		}
		return nil, fmt.Errorf("%w: %s cannot be written as GGUF: %s", ErrUnsupported, s.Architecture, reason)
	}
	if g.Instead != nil {
		if other := g.Instead(s, keep); other != nil {
			g = other
		}
	}
	problems := append(s.notInGGUF(g, len(keep)), s.ropesNotInGGUF(g, keep)...)
	if len(problems) > 0 {
		return nil, fmt.Errorf("%w: this %s cannot be written as GGUF: llama.cpp's %s %s", ErrUnsupported, s.Architecture, g.Name, strings.Join(problems, "; it "))
	}
	return g, nil
}

// notInGGUF lists what the architecture of llama.cpp lacks, rotary embeddings apart.
func (s *Spec) notInGGUF(g *GGUF, layers int) (problems []string) {
	lacks := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if g.Tied && !s.Tied {
		lacks("takes the embedding for the head, and this model has one of its own")
	}
	if g.SquareQuery && s.Heads*s.HeadDim != s.Hidden {
		lacks("wants as many rows of queries as hidden_size = %d, and this model has %d", s.Hidden, s.Heads*s.HeadDim)
	}
	if g.Fewer > 0 && layers >= g.Fewer {
		lacks("wants norms of queries and keys in a model of %d layers or more, and this one has %d without", g.Fewer, layers)
	}
	if s.Activation == GELU {
		lacks("computes GELU by its tanh approximation, and this model was made with the exact one")
	}
	if slices.Contains(g.Keys, "attn_logit_softcapping") && (s.AttnSoftCap == 0 || s.LogitSoftCap == 0) {
		lacks("always caps attention scores and logits, and this model does not")
	} else if !slices.Contains(g.Keys, "attn_logit_softcapping") && s.AttnSoftCap != 0 {
		lacks("does not cap attention scores, and this model does")
	}
	for _, w := range slices.Concat(s.family.top(s), s.family.layer(s)) {
		if w.IsBias() && !slices.Contains(g.Biases, w.Role) {
			lacks("has no %s", strings.ReplaceAll(string(w.Role), "-", " "))
		}
	}
	return problems
}

// ropesNotInGGUF lists what of the rotary embeddings it is not told.
func (s *Spec) ropesNotInGGUF(g *GGUF, keep []int) (problems []string) {
	lacks := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	switch scaling := s.Rope.Scaling; scaling.Kind {
	case "", "linear":
	case "llama3":
		if !g.Llama3 {
			lacks("has no rotary scaling of type llama3")
		}
	case "longrope":
		if !g.LongRope {
			lacks("has no rotary scaling of type longrope")
		}
	case "yarn":
		if scaling.FastBeta != 32 || scaling.SlowBeta != 1 || scaling.Fractional {
			lacks("takes beta_fast = 32, beta_slow = 1 and truncate = true of rotary scaling of type yarn for granted, and this model has %g, %g and %v", scaling.FastBeta, scaling.SlowBeta, !scaling.Fractional)
		}
	default:
		lacks("is not told of rotary scaling of type %s", scaling.Kind)
	}
	if s.Rope.Dim != s.HeadDim && !g.Partial {
		lacks("is not told of rotary embeddings of a part of each head")
	}
	for _, l := range keep {
		if r := s.RopeOf(l); r != s.Rope && (g.Slides == nil || !g.Slides(s, r)) {
			lacks("is not told of rotary embeddings of layer %d, which are not those of others", l)
			break
		}
	}
	return problems
}

// longRopeNote is for families whose rotary embeddings depend on a text's length.
func longRopeNote(s *Spec, _ []int) []string {
	if s.Rope.Scaling.Kind != "longrope" {
		return nil
	}
	return []string{fmt.Sprintf("llama.cpp chooses rotary embeddings by the size of its context, not by how long a text is: with one of more than %d tokens (-c) shorter texts get those of long ones", s.Rope.Scaling.OriginalPosition)}
}
