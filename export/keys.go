package export

import (
	"encoding/json"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/gguf"
	"github.com/coppice-ml/coppice/model"
)

// fileType is llama.cpp's number for a file whose matrices are of a type.
func fileType(t gguf.Type) uint32 {
	switch t {
	case gguf.F16:
		return 1
	case gguf.Q8_0:
		return 7
	case gguf.BF16:
		return 32
	}
	return 0
}

// modelKeys are the keys of the model itself.
func modelKeys(c *checkpoint.Checkpoint, s *model.Spec, form *model.GGUF, opt Options, tensors []*tensor) []gguf.Key {
	var parameters int64
	for _, t := range tensors {
		n := int64(1)
		for _, d := range t.shape {
			n *= d
		}
		parameters += n
	}
	keys := []gguf.Key{
		{Name: "general.architecture", Value: form.Name},
		{Name: "general.type", Value: "model"},
		{Name: "general.name", Value: title(opt.Name)},
		{Name: "general.size_label", Value: sizeLabel(parameters)},
	}
	add := func(name string, value any) {
		keys = append(keys, gguf.Key{Name: form.Name + "." + name, Value: value})
	}
	n := func(v int) uint32 { return uint32(v) }
	add("block_count", n(len(opt.Keep)))
	add("context_length", n(s.MaxPositions))
	add("embedding_length", n(s.Hidden))
	add("feed_forward_length", n(s.FF))
	add("attention.head_count", n(s.Heads))
	add("attention.head_count_kv", n(s.KVHeads))
	for _, k := range optionalKeys(c, s, form, opt.Keep) {
		add(k.Name, k.Value)
	}
	add("attention.layer_norm_rms_epsilon", float32(s.NormEps))
	return append(keys,
		gguf.Key{Name: "general.file_type", Value: fileType(opt.Type)},
		gguf.Key{Name: "general.quantization_version", Value: uint32(2)})
}

// optionalKeys are those that some architectures have, or some models.
func optionalKeys(c *checkpoint.Checkpoint, s *model.Spec, form *model.GGUF, keep []int) (keys []gguf.Key) {
	wide := s.Heads*s.HeadDim != s.Hidden || headDimGiven(c)
	for _, k := range []struct {
		name  string
		value any
		also  bool // wanted though the architecture need not have it
	}{
		{"rope.freq_base", float32(s.Rope.Theta), s.Rope.Theta != 10000},
		{"rope.dimension_count", uint32(s.Rope.Dim), false},
		{"rope.scaling.type", "linear", s.Rope.Scaling.Kind == "linear"},
		{"rope.scaling.factor", float32(s.Rope.Scaling.Factor), s.Rope.Scaling.Kind == "linear"},
		{"vocab_size", uint32(s.Vocab), false},
		{"attention.key_length", uint32(s.HeadDim), wide},
		{"attention.value_length", uint32(s.HeadDim), wide},
		{"attn_logit_softcapping", float32(s.AttnSoftCap), false},
		{"final_logit_softcapping", float32(s.LogitSoftCap), false},
		{"attention.sliding_window", uint32(window(s, keep)), false},
	} {
		if k.also || slices.Contains(form.Keys, k.name) {
			keys = append(keys, gguf.Key{Name: k.name, Value: k.value})
		}
	}
	return keys
}

// window is the size of the kept layers' windows. Where none of them slides, it is
// as large as texts get: llama.cpp makes every other layer slide regardless.
func window(s *model.Spec, keep []int) int {
	w := 0
	for _, l := range keep {
		w = max(w, s.Window(l))
	}
	if w == 0 {
		return s.MaxPositions
	}
	return w
}

// headDimGiven says whether config.json has the key: the converter repeats it.
func headDimGiven(c *checkpoint.Checkpoint) bool {
	var config struct {
		HeadDim *json.Number `json:"head_dim"`
	}
	return json.Unmarshal(c.Config(), &config) == nil && config.HeadDim != nil
}

// title is a directory's name or the last part of a hub id, as the converter writes
// it: words that are lower case get a capital, but for versions and numbers.
func title(name string) string {
	words := strings.Fields(strings.ReplaceAll(path.Base(filepath.ToSlash(name)), "-", " "))
	for i, w := range words {
		first := []rune(w)[0]
		if w != strings.ToLower(w) || unicode.IsDigit(first) || first == 'v' && len(w) > 1 && unicode.IsDigit(rune(w[1])) {
			continue
		}
		words[i] = string(unicode.ToUpper(first)) + w[len(string(first)):]
	}
	return strings.Join(words, " ")
}

// sizeLabel writes a number of parameters with two digits at least, such as 1.2B.
func sizeLabel(parameters int64) string {
	scaled, suffix := float64(parameters)/1e3, "K"
	switch {
	case parameters > 1e12:
		scaled, suffix = float64(parameters)/1e12, "T"
	case parameters > 1e9:
		scaled, suffix = float64(parameters)/1e9, "B"
	case parameters > 1e6:
		scaled, suffix = float64(parameters)/1e6, "M"
	}
	digits := len(strings.TrimLeft(strconv.Itoa(int(math.RoundToEven(scaled))), "0"))
	return fmt.Sprintf("%.*f%s", max(2-digits, 0), scaled, suffix)
}
