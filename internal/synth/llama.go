package synth

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/coppice-ml/coppice/safetensors"
)

// Options describe a Llama model; the zero value is a pico model of eight
// layers and under a megabyte.
type Options struct {
	Layers  int // 0 means 8
	Hidden  int // 0 means 64
	Heads   int // 0 means 4
	KVHeads int // 0 means half of Heads, at least 1
	HeadDim int // 0 means Hidden/Heads
	FF      int // 0 means 172
	Vocab   int // 0 means 272

	MaxPositions int            // 0 means 512
	RopeTheta    float64        // 0 means 10000
	RopeScaling  map[string]any // written as it is; nil means null

	DType    safetensors.DType // F32, BF16 or F16; "" means BF16
	Tied     bool              // no lm_head.weight
	AttnBias bool
	MLPBias  bool

	Shards    int    // 0 and 1 mean model.safetensors, more mean shards and an index
	Torch     bool   // pytorch_model.bin, as torch.save writes it, in place of safetensors
	Seed      uint64 // weights are a function of the seed and the tensor's name
	Tokenizer bool   // write tokenizer.json and tokenizer_config.json too
}

// withDefaults returns the options with every zero replaced.
func (o Options) withDefaults() (Options, error) {
	def := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	def(&o.Layers, 8)
	def(&o.Hidden, 64)
	def(&o.Heads, 4)
	def(&o.KVHeads, max(1, o.Heads/2))
	def(&o.HeadDim, o.Hidden/o.Heads)
	def(&o.FF, 172)
	def(&o.Vocab, byteTokens+len(merges())+specialTokens)
	def(&o.MaxPositions, 512)
	def(&o.Shards, 1)
	if o.RopeTheta == 0 {
		o.RopeTheta = 10000
	}
	if o.DType == "" {
		o.DType = safetensors.BF16
	}
	switch {
	case min(o.Layers, o.Hidden, o.Heads, o.KVHeads, o.HeadDim, o.FF, o.Vocab, o.Shards) < 1:
		return o, fmt.Errorf("options %+v: sizes must be positive", o)
	case o.Heads%o.KVHeads != 0:
		return o, fmt.Errorf("%d heads are not a multiple of %d key/value heads", o.Heads, o.KVHeads)
	case o.Tokenizer && o.Vocab < byteTokens+specialTokens:
		return o, fmt.Errorf("a tokenizer needs a vocabulary of at least %d, not %d", byteTokens+specialTokens, o.Vocab)
	case !knownDType(o.DType):
		return o, fmt.Errorf("dtype %q: want F32, BF16 or F16", o.DType)
	}
	return o, nil
}

// Tensors lists the model's tensors in the order transformers writes them.
func (o Options) Tensors() ([]safetensors.Tensor, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return o.tensors(), nil
}

func (o Options) tensors() []safetensors.Tensor {
	q, kv := o.Heads*o.HeadDim, o.KVHeads*o.HeadDim
	var ts []safetensors.Tensor
	add := func(name string, shape ...int) {
		ts = append(ts, safetensors.Tensor{Name: name, DType: o.DType, Shape: shape})
	}
	linear := func(name string, bias bool, out, in int) {
		add(name+".weight", out, in)
		if bias {
			add(name+".bias", out)
		}
	}
	add("model.embed_tokens.weight", o.Vocab, o.Hidden)
	for i := range o.Layers {
		p := "model.layers." + strconv.Itoa(i) + "."
		linear(p+"self_attn.q_proj", o.AttnBias, q, o.Hidden)
		linear(p+"self_attn.k_proj", o.AttnBias, kv, o.Hidden)
		linear(p+"self_attn.v_proj", o.AttnBias, kv, o.Hidden)
		linear(p+"self_attn.o_proj", o.AttnBias, o.Hidden, q)
		linear(p+"mlp.gate_proj", o.MLPBias, o.FF, o.Hidden)
		linear(p+"mlp.up_proj", o.MLPBias, o.FF, o.Hidden)
		linear(p+"mlp.down_proj", o.MLPBias, o.Hidden, o.FF)
		add(p+"input_layernorm.weight", o.Hidden)
		add(p+"post_attention_layernorm.weight", o.Hidden)
	}
	add("model.norm.weight", o.Hidden)
	if !o.Tied {
		add("lm_head.weight", o.Vocab, o.Hidden)
	}
	return ts
}

// WriteLlama writes a checkpoint to dir, which is created if need be. It
// streams: memory does not grow with the model. The same options write the
// same bytes. Files already there are overwritten.
func WriteLlama(dir string, o Options) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := o.writeJSON(dir); err != nil {
		return err
	}
	shards := split(o.tensors(), o.Shards)
	for i, ts := range shards {
		write := o.writeShard
		if o.Torch {
			write = o.writeTorch
		}
		if err := write(filepath.Join(dir, o.shardName(i, len(shards))), ts); err != nil {
			return err
		}
	}
	if len(shards) > 1 {
		return o.writeIndex(dir, shards)
	}
	return nil
}

// split cuts the tensors into n runs of about equal bytes, none empty.
func split(ts []safetensors.Tensor, n int) [][]safetensors.Tensor {
	n = min(n, len(ts))
	total := totalBytes(ts)
	shards := make([][]safetensors.Tensor, 0, n)
	first, done := 0, int64(0)
	for i, t := range ts {
		done += tensorBytes(t)
		left := n - len(shards)
		full := done*int64(n) >= total*int64(len(shards)+1)
		if left > 1 && (full || len(ts)-i-1 < left) {
			shards = append(shards, ts[first:i+1])
			first = i + 1
		}
	}
	return append(shards, ts[first:])
}

// form is how the names of weight files begin and end.
func (o Options) form() (stem, extension string) {
	if o.Torch {
		return "pytorch_model", ".bin"
	}
	return "model", ".safetensors"
}

func (o Options) shardName(i, n int) string {
	stem, extension := o.form()
	if n == 1 {
		return stem + extension
	}
	return fmt.Sprintf("%s-%05d-of-%05d%s", stem, i+1, n, extension)
}

func (o Options) writeShard(path string, ts []safetensors.Tensor) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := safetensors.WriteHeader(w, ts, map[string]string{"format": "pt"}); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, t := range ts {
		if err := o.writeTensor(w, t); err != nil {
			return fmt.Errorf("%s: tensor %s: %w", path, t.Name, err)
		}
	}
	return w.Flush()
}

func (o Options) writeTensor(w io.Writer, t safetensors.Tensor) error {
	v := o.values(t.Name, t.Shape)
	const chunk = 1 << 14
	buf := make([]byte, 0, chunk*t.DType.Size())
	for left := elements(t.Shape); left > 0; left -= chunk {
		buf = buf[:0]
		for range min(left, chunk) {
			buf = appendValue(buf, t.DType, v.next())
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

func elements(shape []int) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= int64(d)
	}
	return n
}

func tensorBytes(t safetensors.Tensor) int64 { return elements(t.Shape) * int64(t.DType.Size()) }

func totalBytes(ts []safetensors.Tensor) int64 {
	var n int64
	for _, t := range ts {
		n += tensorBytes(t)
	}
	return n
}

// layerGain is how strongly layer i writes to the residual stream: from 0.6
// down to about 0.07 over the layers, in an order drawn from the seed.
func (o Options) layerGain(i int) float64 {
	rank := newRand(o.Seed, "order of layers").Perm(o.Layers)[i]
	return 0.6 * math.Exp(-2.2*float64(rank)/float64(max(1, o.Layers-1)))
}
