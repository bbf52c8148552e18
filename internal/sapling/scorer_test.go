package sapling_test

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/internal/sapling"
	"github.com/coppice-ml/coppice/safetensors"
	"github.com/coppice-ml/coppice/stage"
	"github.com/coppice-ml/coppice/tokenizer"
)

// llama is Sapling in float64, by the plainest loops: no engine, no Spec, no caches.
type llama struct {
	tensors map[string][]float64
}

const (
	layers, hidden, heads, kvHeads, headDim = 12, 128, 4, 2, 32
)

func readLlama(t *testing.T, path string) *llama {
	t.Helper()
	f, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := &llama{map[string][]float64{}}
	for _, info := range f.Header().Tensors {
		raw := f.Data(info)
		values := make([]float32, len(raw)/info.DType.Size())
		number.Widen(values, raw, info.DType)
		for _, v := range values {
			m.tensors[info.Name] = append(m.tensors[info.Name], float64(v))
		}
	}
	return m
}

// linear is W x, W [out, len(x)].
func (m *llama) linear(name string, x []float64) []float64 {
	w := m.tensors[name+".weight"]
	out := make([]float64, len(w)/len(x))
	for i := range out {
		var sum float64
		for j, weight := range w[i*len(x) : (i+1)*len(x)] {
			sum += weight * x[j]
		}
		out[i] = sum
	}
	return out
}

// norm is RMSNorm with epsilon 1e-5.
func (m *llama) norm(name string, x []float64) []float64 {
	var squares float64
	for _, v := range x {
		squares += v * v
	}
	scale := 1 / math.Sqrt(squares/float64(len(x))+1e-5)
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v * scale * m.tensors[name+".weight"][i]
	}
	return out
}

// rotate turns pairs (i, i+16) of each head by the position.
func rotate(x []float64, position int) {
	for h := 0; h < len(x); h += headDim {
		for i := range headDim / 2 {
			angle := float64(position) * math.Pow(10000, -2*float64(i)/headDim)
			sin, cos := math.Sincos(angle)
			a, b := x[h+i], x[h+i+headDim/2]
			x[h+i], x[h+i+headDim/2] = a*cos-b*sin, b*cos+a*sin
		}
	}
}

// logprobs are log-probabilities of the next token after each of ids, [len(ids)][V].
func (m *llama) logprobs(ids []int) [][]float64 {
	xs := make([][]float64, len(ids))
	for t, id := range ids {
		xs[t] = slices.Clone(m.tensors["model.embed_tokens.weight"][id*hidden : (id+1)*hidden])
	}
	for l := range layers {
		p := "model.layers." + strconv.Itoa(l) + "."
		var keys, values [][]float64
		for t, x := range xs {
			n := m.norm(p+"input_layernorm", x)
			q, k := m.linear(p+"self_attn.q_proj", n), m.linear(p+"self_attn.k_proj", n)
			rotate(q, t)
			rotate(k, t)
			keys, values = append(keys, k), append(values, m.linear(p+"self_attn.v_proj", n))
			add(x, m.linear(p+"self_attn.o_proj", attend(q, keys, values)))
			n = m.norm(p+"post_attention_layernorm", x)
			gate, up := m.linear(p+"mlp.gate_proj", n), m.linear(p+"mlp.up_proj", n)
			for i, g := range gate {
				up[i] *= g / (1 + math.Exp(-g))
			}
			add(x, m.linear(p+"mlp.down_proj", up))
		}
	}
	out := make([][]float64, len(ids))
	for t, x := range xs {
		out[t] = logSoftmax(m.linear("lm_head", m.norm("model.norm", x)))
	}
	return out
}

func add(x, y []float64) {
	for i := range x {
		x[i] += y[i]
	}
}

func attend(q []float64, keys, values [][]float64) []float64 {
	out := make([]float64, len(q))
	for h := range heads {
		kv := h / (heads / kvHeads) * headDim
		scores := make([]float64, len(keys))
		for s, k := range keys {
			for i := range headDim {
				scores[s] += q[h*headDim+i] * k[kv+i] / math.Sqrt(headDim)
			}
		}
		for s, p := range logSoftmax(scores) {
			for i := range headDim {
				out[h*headDim+i] += math.Exp(p) * values[s][kv+i]
			}
		}
	}
	return out
}

func logSoftmax(x []float64) []float64 {
	top, sum := slices.Max(x), 0.0
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v - top - math.Log(sum)
	}
	return out
}

// sample is a line of eval's --samples-out.
type sample struct {
	Task      string          `json:"task"`
	Arguments [][2]string     `json:"arguments"`
	Resps     [][2]any        `json:"resps"`
	Target    json.RawMessage `json:"target"`
	Doc       struct{ Answer any }
}

// gold is the place of the right answer.
func (s *sample) gold(t *testing.T) int {
	text := string(s.Target)
	if answer, ok := s.Doc.Answer.(string); ok { // WinoGrande's target is the end of the sentence
		text = answer
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Doc.Answer.(string); ok {
		n--
	}
	return n
}

// TestScorer: what eval says of the first documents of each task, with COPPICE_SLOW of
// all, is what the plainest computation in float64 says: every sum to 2e-4, and every
// answer by each metric.
func TestScorer(t *testing.T) {
	limit := 2
	if os.Getenv("COPPICE_SLOW") != "" {
		limit = 0
	}
	dir := t.TempDir()
	if err := sapling.Make(dir); err != nil {
		t.Fatal(err)
	}
	e := stage.DefaultEval()
	e.Model, e.Names, e.Limit = filepath.Join(dir, sapling.ModelDir), sapling.Group, limit
	e.TaskDir, e.DataDir, e.SamplesOut, e.DType = filepath.Join(dir, sapling.TaskDir), filepath.Join(dir, sapling.DataDir), filepath.Join(dir, "samples.jsonl"), "float32"
	results, err := e.Run(t.Context(), stage.Env{Getenv: os.Getenv, Cache: t.TempDir(), Talk: stage.Silent{}})
	if err != nil {
		t.Fatal(err)
	}
	right, asked := plainly(t, e.Model, e.SamplesOut)
	metrics := 0
	for _, r := range results[0] {
		if r.Task == sapling.Group {
			continue
		}
		metrics++
		if n := asked[r.Task]; n == 0 || limit > 0 && n != limit || math.Abs(float64(r.Value)-right[r.Task+" "+r.Metric]/float64(n)) > 1e-12 {
			t.Errorf("%s, %s: %v, want %v of %d right", r.Task, r.Metric, r.Value, right[r.Task+" "+r.Metric], n)
		}
	}
	if len(asked) != len(sapling.Tasks()) || metrics != len(sapling.Tasks())+5 { // all but WinoGrande and MMLU have acc_norm
		t.Errorf("%d tasks, %d metrics", len(asked), metrics)
	}
}

// plainly computes the samples that eval wrote anew: how many answers are right, by
// task and metric, and how many documents each task asks.
func plainly(t *testing.T, model, samples string) (right map[string]float64, asked map[string]int) {
	t.Helper()
	tok, err := tokenizer.Load(model)
	if err != nil {
		t.Fatal(err)
	}
	m := readLlama(t, filepath.Join(model, "model.safetensors"))
	right, asked = map[string]float64{}, map[string]int{}
	f, err := os.Open(samples)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var s sample
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		var sums, norms []float64
		for i, a := range s.Arguments {
			sum := m.sum(tok, a[0], a[1])
			sums, norms = append(sums, sum), append(norms, sum/float64(len(a[1])-1)) // without the space that answers begin with
			if got := s.Resps[i][0].(float64); math.Abs(got-sum) > 2e-4 {
				t.Errorf("%s: %q after %q: %v, want %v", s.Task, a[1], a[0], got, sum)
			}
		}
		asked[s.Task]++
		for metric, values := range map[string][]float64{"acc": sums, "acc_norm": norms} {
			if slices.Index(values, slices.Max(values)) == s.gold(t) {
				right[s.Task+" "+metric]++
			}
		}
	}
	return right, asked
}

// sum is the log-probability of a text's end after its beginning.
func (m *llama) sum(tok *tokenizer.Tokenizer, context, end string) (sum float64) {
	ids, from := tok.Encode(context+end, false), len(tok.Encode(context, false))
	next := m.logprobs(ids[:len(ids)-1])
	for t := from; t < len(ids); t++ {
		sum += next[t-1][ids[t]]
	}
	return sum
}
