package model

import (
	"iter"
	"slices"
	"strconv"
	"strings"
)

// Spec is everything an engine needs to know about a decoder-only transformer.
// It holds no tensors and nothing in it names a family to branch on.
type Spec struct {
	Architecture string // config.json architectures[0], e.g. "LlamaForCausalLM"
	Family       string // the family's own name, e.g. "llama"; for people, not for branching

	Layers         int // L
	Hidden         int // D
	Heads          int // H
	KVHeads        int // K, divides H
	HeadDim        int // columns per head; H*HeadDim may differ from D
	FF             int // F
	Vocab          int // V
	MaxPositions   int // longest sequence the model was made for
	NormEps        float64
	AttnScale      float64 // multiplies q.k before the softmax
	AttnSoftCap    float64 // c: scores become c tanh(score / c) before the mask; 0 for none
	Windows        []int   // [L] keys a query of each layer sees, its own included; 0, or nil for all layers: every one before it
	Rope           Rope
	Ropes          []Rope  // [L] where layers differ, some perhaps rotating nothing; nil: Rope for all
	LayerNorm      bool    // norms of the residual stream take the mean off first, and may have biases
	WholeNorm      bool    // query and key norms are of all heads together
	Parallel       bool    // attention and feed-forward both take the same norm of the layer's input
	ResidualScale  float64 // multiplies what attention and feed-forward add; 0 stands for 1
	Activation     Activation
	Ungated        bool    // the feed-forward is down(activation(up x)), without a gate
	PositionOffset int     // added to positions that are looked up, where positions are learned
	EmbedScale     float64 // multiplies what the embedding gives
	NormOffset     float64 // added to the weight of every norm: 1 where w stands for 1 + w
	LogitSoftCap   float64 // as AttnSoftCap, of the head's logits
	LogitScale     float64 // multiplies the head's products, before the cap; 0 stands for 1
	HeadUnitRows   bool    // rows of the head are divided by their L2 norm
	Tied           bool    // the head is the embedding matrix
	AttnBias       bool    // q, k, v have biases
	OutBias        bool    // the attention output projection has one
	MLPBias        bool    // gate, up, down have biases

	BOS []int // from config.json; empty when absent
	EOS []int

	DType string // torch_dtype/dtype of config.json, as written there

	family  *family
	unknown []error // see Runnable
}

// Window is how many keys a query of layer i sees, its own included; 0 means all.
func (s *Spec) Window(i int) int {
	if s.Windows == nil {
		return 0
	}
	return s.Windows[i]
}

// RopeOf is how layer i rotates queries and keys.
func (s *Spec) RopeOf(i int) Rope {
	if s.Ropes == nil {
		return s.Rope
	}
	return s.Ropes[i]
}

// RopeChoice tells sequences apart whose tokens rotary embeddings treat
// differently for their lengths: those of one choice may share tokens. See
// [Rope.Choice].
func (s *Spec) RopeChoice(length int) int {
	choice := s.Rope.Choice(length)
	for _, r := range s.Ropes {
		choice = max(choice, r.Choice(length))
	}
	return choice
}

// RopeRestarts is [Rope.Restarts] of any layer.
func (s *Spec) RopeRestarts(from, to int) bool {
	return s.Rope.Restarts(from, to) || slices.ContainsFunc(s.Ropes, func(r Rope) bool { return r.Restarts(from, to) })
}

// Residual is ResidualScale, 1 where it is not given.
func (s *Spec) Residual() float64 { return orNumber(s.ResidualScale, 1) }

// Logit is LogitScale, 1 where it is not given.
func (s *Spec) Logit() float64 { return orNumber(s.LogitScale, 1) }

// Activation is the function on the gate of a gated feed-forward, or in the
// middle of one without a gate.
type Activation string

// Activations: x sigmoid(x), x Phi(x) exactly or by its tanh approximation,
// max(x, 0) and its square.
const (
	SiLU     Activation = "silu"
	GELU     Activation = "gelu"
	GELUTanh Activation = "gelu-tanh"
	ReLU     Activation = "relu"
	ReLU2    Activation = "relu-squared"
)

// Role is what a tensor does in the model, independent of its name on disk.
type Role string

// Roles of tensors. Weights of linear maps are [out, in].
const (
	Embedding Role = "embedding"  // [V, D]
	FinalNorm Role = "final-norm" // [D]
	LMHead    Role = "lm-head"    // [V, D]; absent when tied
	Positions Role = "positions"  // [MaxPositions + PositionOffset, D], added to embeddings where they are learned

	AttnNorm Role = "attention-norm"  // [D]
	QKV      Role = "query-key-value" // [(H+2K)*HeadDim, D], in that order; instead of the three below
	Query    Role = "query"           // [H*HeadDim, D]
	Key      Role = "key"             // [K*HeadDim, D]
	Value    Role = "value"           // [K*HeadDim, D]
	Out      Role = "attention-out"   // [D, H*HeadDim]
	MLPNorm  Role = "mlp-norm"        // [D]
	GateUp   Role = "gate-up"         // [2F, D], in that order; instead of the two below
	Gate     Role = "gate"            // [F, D]
	Up       Role = "up"              // [F, D]
	Down     Role = "down"            // [D, F]

	// Present where the family has them.
	QueryNorm    Role = "query-norm"          // [HeadDim], of each head before rotary embeddings; [H*HeadDim] of all
	KeyNorm      Role = "key-norm"            // [HeadDim]
	AttnPostNorm Role = "attention-post-norm" // [D], of the attention's output before it is added
	MLPPostNorm  Role = "mlp-post-norm"       // [D], of the feed-forward's output before it is added

	FinalNormBias Role = "final-norm-bias"
	AttnNormBias  Role = "attention-norm-bias"
	MLPNormBias   Role = "mlp-norm-bias"

	QKVBias     Role = "query-key-value-bias"
	GateUpBias  Role = "gate-up-bias"
	QueryBias   Role = "query-bias"
	KeyBias     Role = "key-bias"
	ValueBias   Role = "value-bias"
	OutProjBias Role = "attention-out-bias"
	GateBias    Role = "gate-bias"
	UpBias      Role = "up-bias"
	DownBias    Role = "down-bias"
)

// Weight is one tensor the spec expects.
type Weight struct {
	Role  Role
	Name  string
	Shape []int
	Layer int // -1 for tensors outside the layers
}

// Elements is the number of parameters in the tensor.
func (w Weight) Elements() int64 {
	n := int64(1)
	for _, d := range w.Shape {
		n *= int64(d)
	}
	return n
}

// IsBias reports whether the tensor is an additive bias. Magnitude and Taylor
// scores leave biases out.
func (w Weight) IsBias() bool { return strings.HasSuffix(string(w.Role), "-bias") }

// TopWeights lists the tensors outside the layers.
func (s *Spec) TopWeights() []Weight { return s.family.top(s) }

// LayerWeights lists the tensors of layer i.
func (s *Spec) LayerWeights(i int) []Weight {
	prefix := s.family.layerPrefix + strconv.Itoa(i) + "."
	ws := s.family.layer(s)
	for j := range ws {
		ws[j].Name = prefix + ws[j].Name
		ws[j].Layer = i
	}
	return ws
}

// Weights iterates over every tensor the spec expects: top, then layer by layer.
func (s *Spec) Weights() iter.Seq[Weight] {
	return func(yield func(Weight) bool) {
		for _, w := range s.TopWeights() {
			if !yield(w) {
				return
			}
		}
		for i := range s.Layers {
			for _, w := range s.LayerWeights(i) {
				if !yield(w) {
					return
				}
			}
		}
	}
}

// Parameters counts the weights of the whole model; a tied head counts once.
func (s *Spec) Parameters() int64 {
	var n int64
	for _, w := range s.TopWeights() {
		n += w.Elements()
	}
	return n + int64(s.Layers)*s.LayerParameters()
}

// LayerParameters counts the weights of one layer.
func (s *Spec) LayerParameters() int64 {
	var n int64
	for _, w := range s.family.layer(s) {
		n += w.Elements()
	}
	return n
}

// MACsPerToken counts multiply-accumulates of the linear maps for one token,
// head included; attention over the context and norms are left out.
func (s *Spec) MACsPerToken() int64 {
	var n int64
	for _, w := range s.family.layer(s) {
		if len(w.Shape) == 2 {
			n += w.Elements()
		}
	}
	return n*int64(s.Layers) + int64(s.Vocab)*int64(s.Hidden)
}

// LayerOf splits a tensor's name into the layer it belongs to and the rest;
// ok is false for tensors outside the layers.
func (s *Spec) LayerOf(name string) (layer int, rest string, ok bool) {
	tail, found := strings.CutPrefix(name, s.family.layerPrefix)
	if !found {
		return 0, "", false
	}
	index, rest, found := strings.Cut(tail, ".")
	if !found {
		return 0, "", false
	}
	layer, err := strconv.Atoi(index)
	if err != nil || layer < 0 {
		return 0, "", false
	}
	return layer, rest, true
}

// HasLayers says whether any of the names is of a tensor of a layer that the model
// does not have.
func (s *Spec) HasLayers(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		i, _, ok := s.LayerOf(name)
		return ok && i >= s.Layers
	})
}

// Renamer returns the renaming that keeps exactly the layers in keep, in that
// order, numbered 0…len(keep)-1. A layer may be kept only once.
func (s *Spec) Renamer(keep []int) func(name string) (newName string, kept bool) {
	to := make(map[int]int, len(keep))
	for i, l := range keep {
		to[l] = i
	}
	return func(name string) (string, bool) {
		layer, rest, ok := s.LayerOf(name)
		if !ok {
			return name, true
		}
		i, kept := to[layer]
		if !kept {
			return "", false
		}
		return s.family.layerPrefix + strconv.Itoa(i) + "." + rest, true
	}
}

// ignored names tensors that checkpoints carry without need: buffers of rotary
// frequencies, which are recomputed, and the head of a model whose head is tied
// to its embedding.
func (s *Spec) ignored(name string) bool {
	return strings.HasSuffix(name, ".inv_freq") || s.Tied && name == s.untiedHead()
}

// untiedHead is the name the head would have if it were not tied.
func (s *Spec) untiedHead() string {
	untied := *s
	untied.Tied = false
	for _, w := range untied.TopWeights() {
		if w.Role == LMHead {
			return w.Name
		}
	}
	return ""
}
