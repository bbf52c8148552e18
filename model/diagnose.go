package model

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/internal/layerlist"
)

// Diagnose says in one sentence what lies behind tensors that are missing, where
// it is one of the things that people do to checkpoints, else "".
func (s *Spec) Diagnose(tensors []checkpoint.TensorInfo, r CheckReport) string {
	if len(r.Missing) == 0 && len(r.Misshapen) == 0 {
		return ""
	}
	names := make(map[string]bool, len(tensors))
	for _, t := range tensors {
		names[t.Name] = true
	}
	for _, cause := range []string{packedWeights(tensors), s.otherPrefix(names), s.otherLayers(names), s.noHead(r)} {
		if cause != "" {
			return cause
		}
	}
	return ""
}

// packedWeights recognises quantised weights whose config does not say so.
func packedWeights(tensors []checkpoint.TensorInfo) string {
	for _, t := range tensors {
		last := t.Name[strings.LastIndexByte(t.Name, '.')+1:]
		packed := slices.Contains([]string{"qweight", "qzeros", "SCB", "absmax", "quant_map", "weight_packed", "weight_scale", "scales"}, last)
		if integers := !Computable(t.DType) && t.DType != "F64" && last == "weight"; packed || integers {
			return fmt.Sprintf("the weights are quantised (%s is %s); use the original checkpoint in F32, F16 or BF16", t.Name, t.DType)
		}
	}
	return ""
}

// otherPrefix recognises names that begin otherwise than they should: of a model
// that was saved inside a wrapper, or without its head.
func (s *Spec) otherPrefix(names map[string]bool) string {
	expected := make([]string, 0, 16)
	for _, w := range s.LayerWeights(0) {
		expected = append(expected, w.Name)
	}
	first, _, _ := strings.Cut(expected[0], ".")
	for _, cut := range []string{"", first + "."} {
		suffix := expected[0][len(cut):]
		for _, name := range slices.Sorted(maps.Keys(names)) {
			prefix, ok := strings.CutSuffix(name, suffix)
			if !ok || prefix == cut || prefix != "" && !strings.HasSuffix(prefix, ".") {
				continue
			}
			found := 0
			for _, e := range expected {
				if names[prefix+e[len(cut):]] {
					found++
				}
			}
			if 2*found > len(expected) {
				return prefixCause(prefix, cut)
			}
		}
	}
	return ""
}

func prefixCause(have, want string) string {
	switch {
	case strings.Contains(have, "base_model.model.") && want == "":
		return fmt.Sprintf("tensor names begin with the prefix %q, as peft wraps a model; save it after merge_and_unload, or without the prefix", have)
	case strings.Contains(have, "_orig_mod.") && want == "":
		return fmt.Sprintf("tensor names begin with the prefix %q, as torch.compile wraps a model; save the model inside (model._orig_mod), or without the prefix", have)
	case want == "":
		return fmt.Sprintf("tensor names begin with the prefix %q of a wrapper; save the model inside it, or without the prefix", have)
	case have == "":
		return fmt.Sprintf("tensor names lack the prefix %q: the model was saved without its head (AutoModel); save it as a causal language model (AutoModelForCausalLM)", want)
	}
	return fmt.Sprintf("tensor names begin with the prefix %q where %q is wanted; rename them, or save the model as a causal language model", have, want)
}

// otherLayers recognises layers that were removed or left out by hand.
func (s *Spec) otherLayers(names map[string]bool) string {
	have := map[int]bool{}
	for name := range names {
		if i, _, ok := s.LayerOf(name); ok {
			have[i] = true
		}
	}
	layers := slices.Sorted(maps.Keys(have))
	numbered := len(layers) > 0 && layers[len(layers)-1] == len(layers)-1
	switch {
	case len(layers) == 0 || numbered && len(layers) >= s.Layers:
		return ""
	case numbered:
		return fmt.Sprintf("the files have layers %s and config.json wants %d of them; the rest is missing, or num_hidden_layers is wrong", layerlist.Format(layers), s.Layers)
	}
	return fmt.Sprintf("the files have layers %s and config.json wants %s: layers were removed by hand and the rest not renumbered; rename their tensors in order (and set the layer count to %d), or cut the original with `coppice prune --keep`",
		layerlist.Format(layers), layerlist.Format(upTo(s.Layers)), len(layers))
}

// noHead recognises a head that is tied, and a config that does not say so.
func (s *Spec) noHead(r CheckReport) string {
	head := s.untiedHead()
	if s.Tied || len(r.Missing) != 1 || len(r.Misshapen) != 0 || !strings.HasPrefix(r.Missing[0], head+" ") {
		return ""
	}
	return fmt.Sprintf("%s is missing; if the head is the embedding, set tie_word_embeddings to true, else the model was saved without its head", head)
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// otherHead names the head of the files where the config ties it to the embedding
// and their values differ; else "".
func (m *Model) otherHead() (string, error) {
	name := m.Spec.untiedHead()
	head, ok := m.Source.Tensor(name)
	if !m.Spec.Tied || !ok {
		return "", nil
	}
	embedding := ""
	for _, w := range m.Spec.TopWeights() {
		if w.Role == Embedding {
			embedding = w.Name
		}
	}
	e, _ := m.Source.Tensor(embedding)
	if e.DType != head.DType || !slices.Equal(e.Shape, head.Shape) {
		return name, nil
	}
	a, err := m.Source.Data(embedding)
	if err != nil {
		return "", err
	}
	b, err := m.Source.Data(name)
	if err != nil {
		return "", err
	}
	defer m.Source.Release(embedding, name)
	const step = 16 << 20
	for lo := 0; lo < len(a); lo += step {
		hi := min(len(a), lo+step)
		if !bytes.Equal(a[lo:hi], b[lo:hi]) {
			return name, nil
		}
		m.Source.ReleasePart(embedding, int64(lo), int64(hi))
		m.Source.ReleasePart(name, int64(lo), int64(hi))
	}
	return "", nil
}

func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
