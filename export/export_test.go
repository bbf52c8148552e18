package export_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/export"
	"github.com/coppice-ml/coppice/gguf"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/tokenizer"
)

// types are those that are written, by the names of llama.cpp's converter.
var types = map[string]gguf.Type{"f32": gguf.F32, "f16": gguf.F16, "bf16": gguf.BF16, "q8_0": gguf.Q8_0}

// withTokenizer copies a checkpoint and puts a tokenizer.model beside it. Its 512
// tokens are more than the goldens embed.
func withTokenizer(t *testing.T, dir string) string {
	t.Helper()
	out := t.TempDir()
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile("../testdata/trained/tokenizer.model")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(out, "tokenizer.model"), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	return out
}

// write exports a directory and reads the file back.
func write(t *testing.T, dir string, opt export.Options) (*reading, *export.File) {
	t.Helper()
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := model.OpenLayout(c)
	if err != nil {
		t.Fatal(err)
	}
	f, err := export.New(c, m.Spec, opt)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "m.gguf")
	w, err := f.Write(t.Context(), out, checkpoint.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(raw)) != w.Bytes || w.Bytes != f.Bytes {
		t.Errorf("%d bytes, said to be %d and %d", len(raw), w.Bytes, f.Bytes)
	}
	if _, err := gguf.Open(out); err != nil {
		t.Error(err)
	}
	return readAgain(t, raw), f
}

// reading is a file as another reader sees it, which knows nothing of package gguf.
type reading struct {
	keys    map[string]any
	order   []string
	tensors map[string]stored
}

type stored struct {
	kind  uint32
	shape []uint64 // row major
	data  []byte
}

// readAgain reads as the format's description says.
func readAgain(t *testing.T, raw []byte) *reading {
	t.Helper()
	at := 0
	u32 := func() uint32 { at += 4; return binary.LittleEndian.Uint32(raw[at-4:]) }
	u64 := func() uint64 { at += 8; return binary.LittleEndian.Uint64(raw[at-8:]) }
	text := func() string { n := int(u64()); at += n; return string(raw[at-n : at]) }
	var value func(kind uint32) any
	value = func(kind uint32) any {
		switch kind {
		case 4:
			return u32()
		case 5:
			return int32(u32())
		case 6:
			return math.Float32frombits(u32())
		case 7:
			at++
			return raw[at-1] == 1
		case 8:
			return text()
		case 9:
			of, n := u32(), u64()
			list := make([]any, n)
			for i := range list {
				list[i] = value(of)
			}
			return list
		}
		t.Fatalf("a value of type %d", kind)
		return nil
	}
	if string(raw[:8]) != "GGUF\x03\x00\x00\x00" {
		t.Fatalf("begins with %q", raw[:8])
	}
	at = 8
	r := &reading{keys: map[string]any{}, tensors: map[string]stored{}}
	tensors, keys := u64(), u64()
	for range keys {
		name := text()
		r.keys[name] = value(u32())
	}
	offsets := map[string]uint64{}
	for range tensors {
		name := text()
		s := stored{shape: make([]uint64, u32())}
		for i := range s.shape {
			s.shape[len(s.shape)-1-i] = u64()
		}
		s.kind, offsets[name] = u32(), u64()
		r.order, r.tensors[name] = append(r.order, name), s
	}
	at = (at + 31) / 32 * 32
	for name, s := range r.tensors {
		n := uint64(1)
		for _, d := range s.shape {
			n *= d
		}
		size := map[uint32]uint64{0: 4 * n, 1: 2 * n, 30: 2 * n, 8: n / 32 * 34}[s.kind]
		begin := uint64(at) + offsets[name]
		s.data = raw[begin : begin+size]
		r.tensors[name] = s
	}
	return r
}

var layerNumber = regexp.MustCompile(`^blk\.\d+\.`)

// hashes are what scripts/gguf-hashes.py prints.
func (r *reading) hashes() map[string]any {
	kinds := map[string]hash.Hash{}
	for _, name := range r.order {
		s, kind := r.tensors[name], layerNumber.ReplaceAllString(name, "blk.")
		if kinds[kind] == nil {
			kinds[kind] = sha256.New()
		}
		shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(s.shape), "[]"), " ", "x")
		fmt.Fprintf(kinds[kind], "%s %s\n", map[uint32]string{0: "F32", 1: "F16", 8: "Q8_0", 30: "BF16"}[s.kind], shape)
		kinds[kind].Write(s.data)
	}
	out := map[string]any{}
	for kind, h := range kinds {
		out[kind] = hex.EncodeToString(h.Sum(nil))[:32]
	}
	return out
}

// A pruning on the way is the export of the pruned checkpoint.
func TestKeep(t *testing.T) {
	dir := "../testdata/trained"
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	spec, err := model.SpecOf(c)
	if err != nil {
		t.Fatal(err)
	}
	keep := []int{0, 2, 3}
	config, err := spec.PruneConfig(c.Config(), keep)
	if err != nil {
		t.Fatal(err)
	}
	pruned := filepath.Join(t.TempDir(), "pruned")
	if _, err := checkpoint.Write(t.Context(), c, pruned, checkpoint.Surgery{Rename: spec.Renamer(keep), Config: config}, checkpoint.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	a, _ := write(t, dir, export.Options{Type: gguf.Q8_0, Keep: keep, Name: "m"})
	b, _ := write(t, pruned, export.Options{Type: gguf.Q8_0, Name: "m"})
	if diff := cmp.Diff(a, b, cmp.AllowUnexported(reading{}, stored{})); diff != "" {
		t.Error(diff)
	}
	if a.keys["llama.block_count"] != uint32(3) {
		t.Errorf("block_count %v", a.keys["llama.block_count"])
	}
}

// Keys that decide what is computed, of every family.
func TestKeys(t *testing.T) {
	for name, want := range map[string]map[string]any{
		"llama": {"general.architecture": "llama", "llama.rope.freq_base": float32(20000), "llama.rope.dimension_count": uint32(8), "llama.vocab_size": uint32(144),
			"llama.attention.head_count_kv": uint32(2), "general.size_label": "90K", "tokenizer.ggml.bos_token_id": uint32(142), "tokenizer.ggml.eos_token_id": uint32(143)},
		"mistral": {"general.architecture": "llama"},
		"vicuna":  {"general.architecture": "llama", "llama.rope.freq_base": float32(10000)},
		"qwen2":   {"general.architecture": "qwen2", "qwen2.rope.freq_base": float32(1e6), "qwen2.attention.key_length": nil},
		"qwen3":   {"general.architecture": "qwen3", "qwen3.attention.key_length": uint32(12), "qwen3.attention.value_length": uint32(12)},
		"gemma2": {"gemma2.attention.sliding_window": uint32(10), "gemma2.attn_logit_softcapping": float32(3), "gemma2.final_logit_softcapping": float32(8),
			"gemma2.attention.key_length": uint32(12), "gemma2.rope.freq_base": nil},
		"baichuan": {"general.architecture": "llama", "llama.attention.layer_norm_rms_epsilon": float32(1e-6), "llama.context_length": uint32(512)},
	} {
		got, _ := write(t, converted(t, name), export.Options{Type: gguf.BF16})
		for key, value := range want {
			if got.keys[key] != value {
				t.Errorf("%s: %s = %v, want %v", name, key, got.keys[key], value)
			}
		}
		if tokens, _ := got.keys["tokenizer.ggml.tokens"].([]any); len(tokens) != 144 {
			t.Errorf("%s: %d tokens for an embedding of 144", name, len(tokens))
		}
	}
}

func floats(s stored) []float32 {
	out := make([]float32, len(s.data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(s.data[4*i:]))
	}
	return out
}

// A Baichuan is written as the Llama that it is: W_pack in three, and the rows of
// its head of length 1.
func TestBaichuan(t *testing.T) {
	got, f := write(t, converted(t, "baichuan"), export.Options{Type: gguf.F32, Keep: []int{0, 5}})
	if len(f.Notes) != 1 || !strings.Contains(f.Notes[0], "512") { // the tokenizer's tokens
		t.Errorf("notes: %q", f.Notes)
	}
	head := got.tensors["output.weight"]
	for row := range slices.Chunk(floats(head), int(head.shape[1])) {
		sum := 0.0
		for _, v := range row {
			sum += float64(v) * float64(v)
		}
		if math.Abs(sum-1) > 1e-6 {
			t.Fatalf("a row of the head has length %g", math.Sqrt(sum))
		}
	}
	c, err := checkpoint.Open("../testdata/goldens/baichuan/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	packed, err := c.Data("model.layers.5.self_attn.W_pack.weight")
	if err != nil {
		t.Fatal(err)
	}
	const hidden, half = 32, 4 // heads of 8 rows
	at := func(row int) []byte { return packed[row*hidden*2:][:hidden*2] }
	for part, name := range []string{"blk.1.attn_q.weight", "blk.1.attn_k.weight", "blk.1.attn_v.weight"} {
		rows := slices.Collect(slices.Chunk(floats(got.tensors[name]), hidden))
		for r, row := range rows {
			from := part*hidden + r
			if part < 2 { // pairs are neighbours
				from = part*hidden + r/8*8 + r%8/2 + r%2*half
			}
			for i, v := range row {
				if want := math.Float32frombits(uint32(binary.LittleEndian.Uint16(at(from)[2*i:])) << 16); v != want {
					t.Fatalf("%s: row %d, column %d: %g, want %g", name, r, i, v, want)
				}
			}
		}
	}
}

// Queries of a Gemma 2 are multiplied so that llama.cpp's scale gives the model's.
func TestGemma2Scale(t *testing.T) {
	got, f := write(t, converted(t, "gemma2"), export.Options{Type: gguf.F32, Keep: []int{0, 2, 3}})
	c, err := checkpoint.Open("../testdata/goldens/gemma2/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.Data("model.layers.2.self_attn.q_proj.weight")
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range floats(got.tensors["blk.1.attn_q.weight"]) {
		want := float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:]))<<16)) * math.Sqrt(12./20)
		if math.Abs(float64(v)-want) > 1e-7*math.Abs(want)+1e-12 {
			t.Fatalf("query %d: %g, want %g", i, v, want)
		}
	}
	if diff := cmp.Diff([]any{true, true, false}, got.keys["gemma2.attention.sliding_window_pattern"]); diff != "" || !strings.Contains(strings.Join(f.Notes, "\n"), "v0.5.0 or later") {
		t.Errorf("which layers slide: %s, notes %q", diff, f.Notes)
	}
	if whole, f := write(t, converted(t, "gemma2"), export.Options{Type: gguf.F32}); whole.keys["gemma2.attention.sliding_window_pattern"] != nil {
		t.Errorf("kinds are listed that llama.cpp knows, notes %q", f.Notes)
	}
	full, f := write(t, converted(t, "gemma2"), export.Options{Type: gguf.F32, Keep: []int{1, 3}})
	if w := full.keys["gemma2.attention.sliding_window"]; w != uint32(512) || strings.Contains(strings.Join(f.Notes, "\n"), "sliding") {
		t.Errorf("without sliding layers: a window of %v, notes %q", w, f.Notes)
	}
}

// Layers keep their kinds, whatever their numbers become, and with them their base
// of rotary embeddings; a Gemma 3's norm of queries has what the scale of attention
// scores lacks in llama.cpp.
func TestGemma3(t *testing.T) {
	got, f := write(t, converted(t, "gemma3_text"), export.Options{Type: gguf.F32})
	if diff := cmp.Diff([]any{true, true, false, true}, got.keys["gemma3.attention.sliding_window_pattern"]); diff != "" || !strings.Contains(strings.Join(f.Notes, "\n"), "lists them") {
		t.Errorf("whole: %s, notes %q", diff, f.Notes)
	}
	c, err := checkpoint.Open("../testdata/goldens/gemma3_text/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.Data("model.layers.1.self_attn.q_norm.weight")
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range floats(got.tensors["blk.1.attn_q_norm.weight"]) {
		want := (1 + float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:]))<<16))) * math.Sqrt(8./10)
		if math.Abs(float64(v)-want) > 1e-6 {
			t.Fatalf("norm %d: %g, want %g", i, v, want)
		}
	}
	config := func(kinds string) string {
		dir := converted(t, "gemma3_text")
		edit(t, dir, `"sliding_window": 8`, `"sliding_window": 8, "layer_types": [`+kinds+`]`)
		return dir
	}
	const s, a = `"sliding_attention"`, `"full_attention"`
	got, _ = write(t, config(s+","+a+","+s+","+a), export.Options{Type: gguf.F32, Keep: []int{1, 2}})
	if diff := cmp.Diff([]any{false, true}, got.keys["gemma3.attention.sliding_window_pattern"]); diff != "" {
		t.Error(diff)
	}
	got, _ = write(t, config(s+","+a+","+s+","+a), export.Options{Type: gguf.F32, Keep: []int{1, 3}})
	if w := got.keys["gemma3.attention.sliding_window"]; w != nil || got.keys["gemma3.rope.freq_base"] != float32(100000) {
		t.Errorf("without layers that slide: a window of %v", w)
	}
}

// A head that llama.cpp wants by itself is written though it is tied.
func TestUntied(t *testing.T) {
	dir := converted(t, "olmo2")
	edit(t, dir, `"tie_word_embeddings": false`, `"tie_word_embeddings": true`)
	got, _ := write(t, dir, export.Options{Type: gguf.BF16})
	if diff := cmp.Diff(got.tensors["token_embd.weight"].data, got.tensors["output.weight"].data); diff != "" || len(got.tensors["output.weight"].data) == 0 {
		t.Error("no copy of the embedding for a head")
	}
}

// A SmolLM3 whose layers are not what their numbers say is one that llama.cpp is
// told of layer by layer.
func TestSmolLM3(t *testing.T) {
	dir := withTokenizer(t, "../testdata/goldens/smollm3/checkpoint")
	got, _ := write(t, dir, export.Options{Type: gguf.BF16, Keep: []int{0, 2, 3}})
	if got.keys["general.architecture"] != "granite_swa" {
		t.Errorf("architecture %v", got.keys["general.architecture"])
	}
	for key, want := range map[string][]any{"attention.rope_pattern": {true, false, true}, "attention.sliding_window_pattern": {true, false, false}} {
		if diff := cmp.Diff(want, got.keys["granite_swa."+key]); diff != "" {
			t.Errorf("%s: %s", key, diff)
		}
	}
	if s := floats(got.tensors["blk.2.attn_sinks.weight"]); len(s) != 2 || math.Exp(float64(s[0])) != 0 {
		t.Errorf("sinks %v", s)
	}
	edit(t, dir, `"no_rope_layer_interval": 3`, `"no_rope_layer_interval": 4`)
	if got, f := write(t, dir, export.Options{Type: gguf.BF16}); got.keys["general.architecture"] != "smollm3" || len(f.Notes) > 1 {
		t.Errorf("architecture %v, notes %q", got.keys["general.architecture"], f.Notes)
	}
}

// The vocabulary of a ChatGLM has its own tokens behind SentencePiece's.
func TestChatGLM(t *testing.T) {
	dir := converted(t, "chatglm")
	edit(t, dir, `"padded_vocab_size": 144`, `"padded_vocab_size": 520`)
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	v, err := tokenizer.ReadVocabulary(dir)
	if err != nil {
		t.Fatal(err)
	}
	if p := v.Pieces[513]; p.Text != "[gMASK]" || p.Kind != tokenizer.Control || v.AddsBOS || v.Opening != "[gMASK]sop" {
		t.Errorf("token 513: %+v; BOS %v, opening %q", p, v.AddsBOS, v.Opening)
	}
	_, f := write(t, converted(t, "chatglm"), export.Options{Type: gguf.BF16})
	if !strings.Contains(strings.Join(f.Notes, "\n"), "the tokenizer puts [gMASK]sop before every text, and llama.cpp does not") {
		t.Errorf("notes: %q", f.Notes)
	}
}

// Where nothing can be repaired it is said, in prune's words.
func TestNotes(t *testing.T) {
	_, f := write(t, converted(t, "mistral"), export.Options{Type: gguf.BF16})
	if !slices.Contains(f.Notes, "llama.cpp leaves out this family's attention windows: results differ there for texts of more than 12 tokens") {
		t.Errorf("mistral: %q", f.Notes)
	}
	if _, f = write(t, "../testdata/trained", export.Options{Type: gguf.BF16}); len(f.Notes) > 0 {
		t.Errorf("a Llama: %q", f.Notes)
	}
}

// edit replaces something in a directory's config.json.
func edit(t *testing.T, dir, from, to string) {
	t.Helper()
	path := filepath.Join(dir, "config.json")
	raw, err := os.ReadFile(path)
	if err != nil || !bytes.Contains(raw, []byte(from)) {
		t.Fatalf("%s: %v, want %s in it", path, err, from)
	}
	if err := os.WriteFile(path, bytes.Replace(raw, []byte(from), []byte(to), 1), 0o644); err != nil {
		t.Fatal(err)
	}
}

// retyped says that a checkpoint's first tensor has another dtype.
func retyped(t *testing.T, dir, from, to string) string {
	t.Helper()
	path := filepath.Join(dir, "model.safetensors")
	raw, err := os.ReadFile(path)
	if err != nil || len(from) != len(to) || !bytes.Contains(raw, []byte(from)) {
		t.Fatalf("%s: %v", path, err)
	}
	if err := os.WriteFile(path, bytes.Replace(raw, []byte(from), []byte(to), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRefused(t *testing.T) {
	config := func(dir, from, to string) string { edit(t, dir, from, to); return dir }
	bpe := t.TempDir()
	if err := os.CopyFS(bpe, os.DirFS("../testdata/trained")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(bpe, "tokenizer.model")), os.WriteFile(filepath.Join(bpe, "tokenizer.json"), []byte(
		`{"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, dir string
		is        error
		want      string
	}{
		{"a family that it lacks", "../testdata/goldens/opt/checkpoint", model.ErrUnsupported, "OPTForCausalLM cannot be written as GGUF: llama.cpp does not know OPT"},
		{"no tokenizer", "../testdata/goldens/llama/checkpoint", tokenizer.ErrNone, "no tokenizer"},
		{"words cut otherwise", bpe, tokenizer.ErrUnsupported, "is none of those it has registered"},
		{"Gemma 2 without caps", config(converted(t, "gemma2"), `"attn_logit_softcapping": 3.0`, `"attn_logit_softcapping": null`), model.ErrUnsupported, "always caps"},
		{"exact GELU", config(converted(t, "gemma2"), `"hidden_activation": "gelu_pytorch_tanh"`, `"hidden_activation": "gelu"`), model.ErrUnsupported, "tanh approximation"},
		{"scaling by length", converted(t, "llama_dynamic"), model.ErrUnsupported, "llama.cpp's llama is not told of rotary scaling of type dynamic"},
		{"YaRN of other betas", config(converted(t, "olmo3"), `"beta_fast": 32.0`, `"beta_fast": 16.0`), model.ErrUnsupported, "takes beta_fast = 32"},
		{"biases that it lacks", config(converted(t, "olmo2"), `"attention_bias": false`, `"attention_bias": true`), model.ErrUnsupported, "has no attention out bias"},
		{"another dtype", retyped(t, converted(t, "llama"), `"BF16"`, ` "I16"`), nil, "has dtype I16, want F32, F16 or BF16"},
	} {
		ck, err := checkpoint.Open(c.dir)
		if err != nil {
			t.Fatal(err)
		}
		spec, err := model.SpecOf(ck)
		if err != nil {
			t.Fatal(err)
		}
		_, err = export.New(ck, spec, export.Options{Type: gguf.F32})
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		ck.Close()
	}
}
