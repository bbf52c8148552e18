package enginetest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// shapeTolerance bounds the relative error of float32 gradients where sums are
// long: of more rows, keys and tokens of the vocabulary than kernels and engines
// take at a time.
const shapeTolerance = 1e-5

// widthTolerance bounds the mean error of log-probabilities in bfloat16, relative to
// how far logits lie from 0.
const widthTolerance = 0.01

// shapes are models whose heads are as wide as those people have, with windows,
// soft caps, head norms and interleaved pairs among them.
func shapes() map[string]map[string]any {
	wide := func(name string, heads, kv, dim int, more map[string]any) map[string]any {
		c := picoConfigs()[name]
		maps.Copy(c, map[string]any{"hidden_size": 256, "intermediate_size": 344, "vocab_size": 3001, "max_position_embeddings": 1024,
			"num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": dim, "num_hidden_layers": 2})
		maps.Copy(c, more)
		return c
	}
	glm := picoConfigs()["chatglm"]
	maps.Copy(glm, map[string]any{"hidden_size": 256, "ffn_hidden_size": 344, "padded_vocab_size": 3001, "seq_length": 1024, "kv_channels": 64, "num_layers": 2})
	return map[string]map[string]any{
		"heads of 64":          wide("mistral", 4, 2, 64, map[string]any{"sliding_window": 96}),
		"heads of 80":          wide("mistral", 3, 3, 80, map[string]any{"sliding_window": 96}),
		"heads of 96":          wide("qwen3", 4, 1, 96, nil),
		"heads of 128":         wide("qwen3", 2, 2, 128, map[string]any{"use_sliding_window": true, "sliding_window": 96, "max_window_layers": 1}),
		"heads of 256":         wide("gemma2", 2, 1, 256, map[string]any{"sliding_window": 96, "query_pre_attn_scalar": 200, "attn_logit_softcapping": 20.0, "final_logit_softcapping": 15.0}),
		"unit rows":            wide("baichuan", 4, 4, 64, nil),
		"interleaved":          glm,
		"one key/value head":   wide("gemma", 4, 1, 64, nil),
		"tied, half of window": wide("qwen2", 4, 2, 64, map[string]any{"sliding_window": 96, "max_window_layers": 1}),
	}
}

// long is a question about 1,300 rows: one sequence of 600 tokens, two that share
// their first 300. Every other row has a target.
func long(vocab int) question {
	b := &engine.Batch{}
	b.Add(tokens(600, vocab, 1), engine.NoParent)
	root := b.Add(tokens(300, vocab, 2), engine.NoParent)
	b.Add(tokens(150, vocab, 3), root)
	b.Add(tokens(250, vocab, 4), root)
	q := question{batch: b}
	random := rand.New(rand.NewPCG(7, 8))
	for row := 0; row < b.Len(); row += 1 + random.IntN(3) {
		q.targets = append(q.targets, engine.Target{Row: row, Token: int32(random.IntN(vocab))})
		q.weights = append(q.weights, float32(0.2+random.Float64()))
	}
	return q
}

// RunShapes holds gradients to the float64 engine's on models of the width and
// batches of the length at which engines cut their work, which those of RunAll
// are too small for. The float64 engine takes seconds for each.
func RunShapes(t *testing.T, build New) {
	for name, config := range shapes() {
		t.Run(name, func(t *testing.T) {
			m := shaped(t, config)
			q := long(m.Spec.Vocab)
			want := train(t, Slow(t), m, everything, nil)
			wantLoss, gradients := want.loss(q), want.gradients()
			for _, every := range []bool{false, true} {
				got := train(t, build(t, engine.Float32), m, everything, nil)
				got.every = every
				if loss := got.loss(q); !(math.Abs(loss-wantLoss) <= 1e-6*wantLoss) {
					t.Errorf("loss %g, want %g", loss, wantLoss)
				}
				sameGradients(t, fmt.Sprintf("every row %v: ", every), got.gradients(), gradients, shapeTolerance)
			}
		})
	}
}

func shaped(t testing.TB, config map[string]any) *model.Model {
	t.Helper()
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "model")
	if err := WriteModel(dir, raw, 12); err != nil {
		t.Fatal(err)
	}
	return Open(t, dir)
}

// testWidths holds logits of those models, over several blocks of keys, to the
// float64 reference: in float32, and what bfloat16 costs in log-probability.
func testWidths(t *testing.T, build New) {
	for name, config := range shapes() {
		t.Run(name, func(t *testing.T) {
			m := shaped(t, config)
			ids := tokens(200, m.Spec.Vocab, 3)
			want := Logits(t, m, ids)
			r := load(t, build(t, engine.Float32), m)
			_, logits := r.forward(t, pack(ids), nil)
			within(t, "logits", logits, want, logitTolerance)

			r = load(t, build(t, engine.BFloat16), m)
			_, logits = r.forward(t, pack(ids), nil)
			var sum float64
			v := m.Spec.Vocab
			for i, next := range ids[1:] {
				got, exact := logits[i*v:(i+1)*v], want[i*v:(i+1)*v]
				sum += math.Abs(float64(got[next]) - logSum(got) - float64(exact[next]) + logSum(exact))
			}
			var squares float64
			for _, x := range want {
				squares += float64(x) * float64(x)
			}
			mean, size := sum/float64(len(ids)-1), math.Sqrt(squares/float64(len(want)))
			t.Logf("mean error in bfloat16 %.2g of logits of about %.2g", mean, size)
			if !(mean <= widthTolerance*size) {
				t.Errorf("mean error of log-probabilities in bfloat16 = %g, want at most %g", mean, widthTolerance*size)
			}
		})
	}
}
