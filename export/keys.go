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
	for _, k := range slices.Concat(optionalKeys(c, s, form, opt.Keep), scalingKeys(c, s, form), slidingKeys(s, form, opt.Keep)) {
		add(k.Name, k.Value)
	}
	epsilon := "attention.layer_norm_rms_epsilon"
	if s.LayerNorm {
		epsilon = "attention.layer_norm_epsilon"
	}
	add(epsilon, float32(s.NormEps))
	return append(keys,
		gguf.Key{Name: "general.file_type", Value: fileType(opt.Type)},
		gguf.Key{Name: "general.quantization_version", Value: uint32(2)})
}

// optionalKeys are those that some architectures have, or some models.
func optionalKeys(c *checkpoint.Checkpoint, s *model.Spec, form *model.GGUF, keep []int) (keys []gguf.Key) {
	wide := s.Heads*s.HeadDim != s.Hidden || given(c, "head_dim") > 0
	logits := s.Logit()
	if form.Divides {
		logits = 1 / logits
	}
	for _, k := range []struct {
		name  string
		value any
		also  bool // wanted though the architecture need not have it
	}{
		{"rope.freq_base", float32(s.Rope.Theta), s.Rope.Theta != 10000},
		{"rope.freq_base_swa", float32(slidingBase(s)), false},
		{"rope.dimension_count", uint32(s.Rope.Dim), false},
		{"vocab_size", uint32(s.Vocab), false},
		{"attention.key_length", uint32(s.HeadDim), wide},
		{"attention.value_length", uint32(s.HeadDim), wide},
		{"attention.rope_pattern", rotated(s, keep), false},
		{"attention.scale", float32(s.AttnScale), false},
		{"embedding_scale", float32(s.EmbedScale), false},
		{"residual_scale", float32(s.Residual()), false},
		{"logit_scale", float32(logits), false},
		{"attn_logit_softcapping", float32(s.AttnSoftCap), false},
		{"final_logit_softcapping", float32(s.LogitSoftCap), s.LogitSoftCap != 0},
		{"use_parallel_residual", s.Parallel, false},
	} {
		if k.also || slices.Contains(form.Keys, k.name) {
			keys = append(keys, gguf.Key{Name: k.name, Value: k.value})
		}
	}
	return keys
}

// slidingBase is the rotary base of layers that slide.
func slidingBase(s *model.Spec) float64 {
	for l := range s.Layers {
		if s.Kind(l) {
			return s.RopeOf(l).Theta
		}
	}
	return s.Rope.Theta
}

// scalingKeys say how rotary frequencies are scaled. llama.cpp multiplies cosines
// and sines by what YaRN's paper gives, and by rope.scaling.attn_factor, which the
// converter does not write for it.
func scalingKeys(c *checkpoint.Checkpoint, s *model.Spec, form *model.GGUF) (keys []gguf.Key) {
	add := func(name string, value any) {
		keys = append(keys, gguf.Key{Name: "rope.scaling." + name, Value: value})
	}
	scaling := s.Rope.Scaling
	original, factor := scaling.OriginalPosition, s.Rope.Magnitude()
	switch scaling.Kind {
	case "linear", "yarn":
		add("type", scaling.Kind)
		add("factor", float32(scaling.Factor))
		if scaling.Kind == "yarn" {
			factor /= 1 + 0.1*math.Log(max(scaling.Factor, 1))
		}
	case "longrope":
		if !slices.Contains(form.Keys, "rope.scaling.original_context_length") { // who always has that takes the lists as they come
			add("type", scaling.Kind)
		}
	default: // llama3 has factors of its own
		if original = given(c, "original_max_position_embeddings"); original == 0 {
			original = s.MaxPositions
		}
		if slices.Contains(form.Keys, "rope.scaling.type") {
			add("type", "none")
		}
	}
	if scaling.Kind == "yarn" || scaling.Kind == "longrope" || slices.Contains(form.Keys, "rope.scaling.original_context_length") {
		add("original_context_length", uint32(original))
	}
	if math.Abs(factor-1) > 1e-12 {
		add("attn_factor", float32(factor))
	}
	return keys
}

// slidingKeys say how many keys layers that slide see, and which those are where
// llama.cpp would not know.
func slidingKeys(s *model.Spec, form *model.GGUF, keep []int) (keys []gguf.Key) {
	if !slices.Contains(form.Keys, "attention.sliding_window") {
		return nil
	}
	kinds := kindsOf(s, form, keep)
	window := 0
	for _, l := range keep {
		window = max(window, s.Window(l))
	}
	slide := slices.Contains(kinds, true)
	if !slide && form.Rotates { // it wants one that slides: as far as texts reach
		kinds[0], slide = true, true
	}
	switch {
	case slide || form.Slides == nil && form.Kinds != nil:
		if window == 0 { // it makes layers slide regardless: as far as texts reach
			window = s.MaxPositions
		}
	case form.Slides != nil:
		return nil
	}
	keys = append(keys, gguf.Key{Name: "attention.sliding_window", Value: uint32(window)})
	if slices.Contains(form.Keys, "attention.sliding_window_pattern") || listsKinds(s, form, keep) {
		keys = append(keys, gguf.Key{Name: "attention.sliding_window_pattern", Value: kinds})
	}
	return keys
}

// kindsOf says which layers slide.
func kindsOf(s *model.Spec, form *model.GGUF, keep []int) []bool {
	kinds := make([]bool, len(keep))
	for i, l := range keep {
		kinds[i] = s.Window(l) > 0 || !form.Rotates && s.Kind(l)
	}
	return kinds
}

// rotated says which layers are.
func rotated(s *model.Spec, keep []int) []bool {
	are := make([]bool, len(keep))
	for i, l := range keep {
		are[i] = s.RopeOf(l).Dim > 0
	}
	return are
}

// listsKinds says whether some layers slide, and not those that llama.cpp takes for
// them.
func listsKinds(s *model.Spec, form *model.GGUF, keep []int) bool {
	kinds := kindsOf(s, form, keep)
	return form.Kinds != nil && slices.Contains(kinds, true) && !slices.Equal(kinds, form.Kinds(len(keep)))
}

// given is a number of config.json as it stands there, 0 where it does not: some
// keys are written only then.
func given(c *checkpoint.Checkpoint, key string) int {
	var config map[string]json.RawMessage
	var n int
	if json.Unmarshal(c.Config(), &config) != nil || json.Unmarshal(config[key], &n) != nil {
		return 0
	}
	return n
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
