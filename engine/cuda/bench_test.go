//go:build !nopurego && linux && (amd64 || arm64)

package cuda_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cuda"
	"github.com/coppice-ml/coppice/engine/cuda/cudatest"
	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/safetensors"
)

// onGPU says whether tests run on a GPU of this machine instead of the fake one.
func onGPU() bool { return os.Getenv("COPPICE_TEST_GPU") == "1" }

// repeated is a model whose tensors all have the same made-up values, so that one of
// the largest is all that is in memory.
type repeated struct {
	spec   *model.Spec
	values []byte
	model.Source
}

func (r *repeated) Tensor(name string) (checkpoint.TensorInfo, bool) {
	for w := range r.spec.Weights() {
		if w.Name == name {
			return checkpoint.TensorInfo{Tensor: safetensors.Tensor{Name: name, DType: safetensors.BF16, Shape: w.Shape, Bytes: 2 * w.Elements()}}, true
		}
	}
	return checkpoint.TensorInfo{}, false
}

func (r *repeated) Data(name string) ([]byte, error) {
	t, _ := r.Tensor(name)
	return r.values[:t.Bytes], nil
}

func (r *repeated) Release(...string)  {}
func (r *repeated) Prefetch(...string) {}
func (r *repeated) Populate(...string) {}

// shaped is a model of Llama-3.1-8B's shape on a GPU, of a small one's on the fake.
func shaped(b *testing.B) *model.Model {
	b.Helper()
	config := `{"architectures": ["LlamaForCausalLM"], "hidden_size": %d, "intermediate_size": %d, "num_attention_heads": %d, "num_key_value_heads": %d,
		"num_hidden_layers": %d, "vocab_size": %d, "max_position_embeddings": 131072, "rope_theta": 500000.0, "torch_dtype": "bfloat16"}`
	if onGPU() {
		config = fmt.Sprintf(config, 4096, 14336, 32, 8, 32, 128256)
	} else {
		config = fmt.Sprintf(config, 64, 128, 4, 2, 2, 300)
	}
	s, err := model.ParseConfig([]byte(config))
	if err != nil {
		b.Fatal(err)
	}
	r := &repeated{spec: s}
	for w := range s.Weights() {
		r.values = append(r.values, make([]byte, max(0, int(2*w.Elements())-len(r.values)))...)
	}
	state := uint32(1)
	for i := 0; i+1 < len(r.values); i += 2 {
		state = state*1664525 + 1013904223
		v := number.ToBF16((float32(state>>8)/(1<<23) - 1) * 0.03)
		r.values[i], r.values[i+1] = byte(v), byte(v>>8)
	}
	r.values = mapped(b, r.values)
	return &model.Model{Spec: s, Source: r}
}

// mapped are bytes as a file that is mapped has them.
func mapped(b *testing.B, values []byte) []byte {
	b.Helper()
	path := filepath.Join(b.TempDir(), "values")
	if err := os.WriteFile(path, values, 0o666); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	m, err := mmap.New(f, int64(len(values)))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Close() })
	return m.Bytes(0, int64(len(values)))
}

// openGPU starts an engine on the GPU of this machine, or on the fake.
func openGPU(b testing.TB, o cuda.Options) engine.Engine {
	b.Helper()
	o.Getenv, o.Cache = os.Getenv, os.Getenv("COPPICE_CACHE")
	if !onGPU() {
		f := cudatest.New(b)
		o.Getenv, o.Cache, o.Probes = f.Getenv, f.Cache, cudatest.Probes()
	}
	e, err := cuda.New(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	return e
}

// BenchmarkScoring scores every token of sequences of one length. The figures
// are of a GPU's (COPPICE_TEST_GPU=1), real tokens a second.
func BenchmarkScoring(b *testing.B) {
	for _, shape := range [][2]int{{8, 2048}, {64, 256}} {
		b.Run(fmt.Sprintf("%dx%d", shape[0], shape[1]), func(b *testing.B) {
			if !onGPU() {
				shape = [2]int{2, 16}
			}
			m := shaped(b)
			p := newPasses(b, openGPU(b, cuda.Options{}), m, shape[0], shape[1])
			p.keep()
			limit := p.products()
			took := measure(b, shape[0]*shape[1], p.score)
			b.ReportMetric(limit().Seconds()/took, "of-products")
		})
	}
}

// BenchmarkStreaming scores with layers that stream, two of which are there at a time,
// from pages that stay. The limit is the larger of copying them and of the products.
func BenchmarkStreaming(b *testing.B) {
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("%dx2048", n), func(b *testing.B) {
			length := 2048
			if !onGPU() {
				length = 16
			}
			m := shaped(b)
			p := newPasses(b, openGPU(b, cuda.Options{}), m, n, length)
			for i := range m.Spec.Layers {
				b.Cleanup(p.e.(engine.Pinner).Pin(m, i))
			}
			limit := p.products()
			took := measure(b, n*length, p.score)
			b.ReportMetric(max(limit().Seconds(), p.copies())/took, "of-limit")
		})
	}
}

// BenchmarkDecoding grows one sequence a token at a time.
func BenchmarkDecoding(b *testing.B) {
	m := shaped(b)
	p := newPasses(b, openGPU(b, cuda.Options{}), m, 1, 16)
	p.keep()
	const steps = 32
	at := 0
	for range m.Spec.Layers {
		kv, err := p.e.NewKV(m, 1, 4096)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(kv.Release)
		p.kvs = append(p.kvs, kv)
	}
	logits := make([]float32, m.Spec.Vocab)
	measure(b, steps, func() {
		if at > 2048 {
			at = 0
			for _, kv := range p.kvs {
				kv.Truncate(0, 0)
			}
		}
		for range steps {
			step := &engine.Batch{}
			step.Continue([]int32{int32(at % m.Spec.Vocab)}, 0, at)
			p.forward(step)
			if err := p.head.Logits(b.Context(), p.x.Slice(0, 1), []int{0}, logits); err != nil {
				b.Fatal(err)
			}
			at++
		}
	})
}

// measure reports tokens a second and returns how many seconds one run takes.
func measure(b *testing.B, tokens int, run func()) float64 {
	b.Helper()
	run() // what is compiled and probed
	began, n := time.Now(), 0
	for b.Loop() {
		run()
		n++
	}
	took := time.Since(began).Seconds()
	b.ReportMetric(float64(tokens*n)/took, "tokens/s")
	return took / float64(n)
}

// passes are forward passes of one batch.
type passes struct {
	b       *testing.B
	e       engine.Engine
	m       *model.Model
	embed   engine.Embedding
	layers  []engine.Layer // that stay; nil: they stream
	kvs     []engine.KV
	head    engine.Head
	x       engine.Hidden
	batch   *engine.Batch
	targets []engine.Target
	out     []engine.TokenScore
}

func newPasses(b *testing.B, e engine.Engine, m *model.Model, sequences, length int) *passes {
	b.Helper()
	p := &passes{b: b, e: e, m: m, batch: &engine.Batch{}, out: make([]engine.TokenScore, sequences*length)}
	for s := range sequences {
		ids := make([]int32, length)
		for i := range ids {
			ids[i] = int32((i*7919 + s*104729) % m.Spec.Vocab)
			p.targets = append(p.targets, engine.Target{Row: s*length + i, Token: ids[i]})
		}
		p.batch.Add(ids, engine.NoParent)
	}
	var err error
	if p.embed, err = e.Embedding(m, engine.EmbeddingOptions{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.embed.Release)
	if p.head, err = e.Head(m, engine.HeadOptions{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.head.Release)
	if p.x, err = e.NewHidden(m, sequences*length); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.x.Release)
	return p
}

// keep makes the layers stay.
func (p *passes) keep() {
	for i := range p.m.Spec.Layers {
		l, err := p.e.Fetch(p.m, i, engine.LayerOptions{}).Wait(p.b.Context())
		if err != nil {
			p.b.Fatal(err)
		}
		p.b.Cleanup(l.Release)
		p.layers = append(p.layers, l)
	}
}

func (p *passes) forward(batch *engine.Batch) {
	ctx := p.b.Context()
	if err := p.embed.Forward(ctx, batch, p.x); err != nil {
		p.b.Fatal(err)
	}
	var next engine.Fetched
	if p.layers == nil {
		next = p.e.Fetch(p.m, 0, engine.LayerOptions{Streams: true})
	}
	for i := range p.m.Spec.Layers {
		var l engine.Layer
		var err error
		if p.layers != nil {
			l = p.layers[i]
		} else if l, err = next.Wait(ctx); err != nil {
			p.b.Fatal(err)
		} else if i+1 < p.m.Spec.Layers {
			next = p.e.Fetch(p.m, i+1, engine.LayerOptions{Streams: true})
		}
		c := &engine.Call{Batch: batch}
		if p.kvs != nil {
			c.KV = p.kvs[i]
		}
		if err := l.Forward(ctx, c, p.x, p.x); err != nil {
			p.b.Fatal(err)
		}
		if p.layers == nil {
			l.Release()
		}
	}
}

// products is what takes as long as the passes' products alone.
func (p *passes) products() func() time.Duration {
	s, n := p.m.Spec, p.batch.Len()
	var list []engine.Product
	for i := range s.Layers {
		for _, w := range s.LayerWeights(i) {
			if len(w.Shape) == 2 {
				list = append(list, engine.Product{M: n, N: w.Shape[0], K: w.Shape[1]})
			}
		}
	}
	for range (n + 1023) / 1024 { // the head, some rows at a time
		list = append(list, engine.Product{M: min(n, 1024), N: s.Vocab, K: s.Hidden})
	}
	run, _ := p.e.(engine.Limiter).Products(p.b.Context(), list)
	return func() time.Duration { return min(run(), run()) }
}

// copies is how many seconds bringing all layers in takes, with nothing beside.
func (p *passes) copies() float64 {
	ctx := p.b.Context()
	began := time.Now()
	for i := range p.m.Spec.Layers {
		l, err := p.e.Fetch(p.m, i, engine.LayerOptions{Streams: true}).Wait(ctx)
		if err != nil {
			p.b.Fatal(err)
		}
		l.Release()
	}
	if err := p.x.Sync(ctx); err != nil {
		p.b.Fatal(err)
	}
	return time.Since(began).Seconds()
}

func (p *passes) score() {
	p.forward(p.batch)
	if err := p.head.LogProbs(p.b.Context(), p.x, p.targets, p.out); err != nil {
		p.b.Fatal(err)
	}
}

// TestFolder says where the fake GPU's libraries lie, for what looks for them itself.
func TestFolder(t *testing.T) { t.Logf("the fake GPU lies in %s", cudatest.New(t).Dir) }
