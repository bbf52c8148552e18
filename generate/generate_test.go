package generate_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/engine/enginetest/slow"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/google/go-cmp/cmp"
)

func open(tb testing.TB, dir string) *model.Model {
	tb.Helper()
	c, err := checkpoint.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	m, err := model.Open(c)
	if errors.Is(err, model.ErrUnsupported) {
		tb.Skipf("the family cannot be loaded yet: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func runner(tb testing.TB, m *model.Model, opt cpu.Options) *forest.Runner {
	tb.Helper()
	if opt.Kernels == "" {
		opt.Kernels = os.Getenv("COPPICE_KERNELS")
	}
	e, err := cpu.New(opt)
	if err != nil {
		tb.Fatal(err)
	}
	run := forest.New(m, e, forest.Options{})
	tb.Cleanup(func() {
		run.Close()
		_ = e.Close()
	})
	return run
}

// continuations collects what Run emits, by prompt.
func continuations(tb testing.TB, run *forest.Runner, layers []int, prompts [][]int32, opt generate.Options) [][]int32 {
	tb.Helper()
	out := make([][]int32, len(prompts))
	err := generate.Run(context.Background(), run.Resident(), layers, prompts, opt, func(seq int, id int32) error {
		out[seq] = append(out[seq], id)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestGoldenGreedy(t *testing.T) {
	for _, family := range testkit.AllGoldens(t) {
		for _, oneDNN := range []string{"off", ""} {
			t.Run(family+"/oneDNN="+oneDNN, func(t *testing.T) {
				g := testkit.Golden(t, family)
				var prompt, want []int32
				g.Decode(t, &prompt, "greedy", "prompt")
				g.Decode(t, &want, "greedy", "continuation")
				run := runner(t, open(t, g.Checkpoint), cpu.Options{DType: "float32", OneDNN: oneDNN})
				got := continuations(t, run, nil, [][]int32{prompt}, generate.Options{MaxTokens: len(want)})
				if diff := cmp.Diff(want, got[0]); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

// On an engine with memory of its own, whose calls are queued, within too little
// memory for its layers, too.
func TestOnADevice(t *testing.T) {
	for _, family := range []string{"llama", "chatglm2", "gemma2"} {
		g := testkit.Golden(t, family)
		m := open(t, g.Checkpoint)
		var prompt, want []int32
		g.Decode(t, &prompt, "greedy", "prompt")
		g.Decode(t, &want, "greedy", "continuation")
		broken, armed := errors.New("broken"), false // armed: touched between calls that wait
		e := slow.New(slow.Options{Fail: func(call string) error {
			if armed && call == "Layer.Forward" {
				return broken
			}
			return nil
		}})
		t.Cleanup(func() { _ = e.Close() })
		for memory := range 2 { // the second time less than the first took
			_, peak := e.DeviceMemory()
			memory := int64(memory) * (peak - 1)
			run := forest.New(m, e, forest.Options{DeviceMemory: memory})
			opt := generate.Options{MaxTokens: len(want)}
			if diff := cmp.Diff(want, continuations(t, run, nil, [][]int32{prompt}, opt)[0]); diff != "" {
				t.Errorf("%s with %d bytes (-want +got):\n%s", family, memory, diff)
			}
			if there := len(run.Resident().Layers()); (there == m.Spec.Layers) != (memory == 0) {
				t.Errorf("%s with %d bytes: %d of %d layers stay", family, memory, there, m.Spec.Layers)
			}
			armed = true
			if err := generate.Run(context.Background(), run.Resident(), nil, [][]int32{prompt}, opt, nil); !errors.Is(err, broken) {
				t.Errorf("%s: a call that fails late: %v", family, err)
			}
			armed = false
			run.Close()
		}
	}
}

// Trained models, against continuations computed in float64.
func TestGoldenStories(t *testing.T) {
	for _, dir := range testkit.Trained(t) {
		raw, err := os.ReadFile(filepath.Join(dir, "golden_greedy_f64.json"))
		if err != nil {
			t.Fatal(err)
		}
		var golden struct {
			IDs []int32 `json:"ids"`
		}
		if err := json.Unmarshal(raw, &golden); err != nil {
			t.Fatal(err)
		}
		run := runner(t, open(t, dir), cpu.Options{DType: "float32"})
		for _, n := range []int{1, 10, 100} { // from any start of the text, it goes on alike
			got := continuations(t, run, nil, [][]int32{golden.IDs[:n]}, generate.Options{MaxTokens: len(golden.IDs) - n})
			if diff := cmp.Diff(golden.IDs[n:], got[0]); diff != "" {
				t.Errorf("%s after %d tokens (-want +got):\n%s", dir, n, diff)
			}
		}
	}
}

func randomPrompts(n, longest, vocab int) [][]int32 {
	r := rand.New(rand.NewPCG(5, 6))
	prompts := make([][]int32, n)
	for i := range prompts {
		prompts[i] = make([]int32, 1+r.IntN(longest))
		for j := range prompts[i] {
			prompts[i][j] = r.Int32N(int32(vocab))
		}
	}
	return prompts
}

// Every token is what the whole sequence, run at once without a cache, says is
// the likeliest, in the whole model and in a pruning.
func TestCacheEqualsWholeSequence(t *testing.T) {
	m := open(t, testkit.Llama(t, testkit.Options{Layers: 4}))
	for _, opt := range []cpu.Options{{DType: "float32", OneDNN: "off"}, {DType: "float32"}, {DType: "bfloat16"}} {
		run := runner(t, m, opt)
		prompts := randomPrompts(5, 90, m.Spec.Vocab)
		for _, layers := range [][]int{nil, {0, 2, 3}} {
			got := continuations(t, run, layers, prompts, generate.Options{MaxTokens: 20})
			var whole [][]int32
			for i, p := range prompts {
				whole = append(whole, slices.Concat(p, got[i]))
			}
			err := run.LogProbs(context.Background(), layers, whole, func(seq int, scores []engine.TokenScore) error {
				for i, s := range scores[len(prompts[seq])-1:] {
					if !s.Greedy {
						t.Errorf("%+v, layers %v, prompt %d: token %d is not the likeliest", opt, layers, seq, i)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A prompt's continuation is its own, whatever else is in the batch: greedy and
// sampled, more prompts than rows of logits, prefills of several batches.
func TestPromptsAreIndependent(t *testing.T) {
	m := open(t, testkit.Llama(t, testkit.Options{Layers: 2, Hidden: 32, Heads: 2, FF: 64, MaxPositions: 4096}))
	run := runner(t, m, cpu.Options{DType: "float32"})
	prompts := append(randomPrompts(40, 100, m.Spec.Vocab), randomPrompts(1, 1, m.Spec.Vocab)[0], make([]int32, 2100))
	for _, opt := range []generate.Options{
		{MaxTokens: 6},
		{MaxTokens: 6, Temperature: 1.5, Seed: 9},
		{MaxTokens: 6, Temperature: .8, TopK: 20, TopP: .9, Seed: 9},
	} {
		together := continuations(t, run, nil, prompts, opt)
		for _, i := range []int{0, 7, 39, 40, 41} {
			if alone := continuations(t, run, nil, prompts[i:i+1], opt)[0]; !slices.Equal(alone, together[i]) {
				t.Errorf("%+v, prompt %d: %v alone, %v in company", opt, i, alone, together[i])
			}
		}
		again := continuations(t, run, nil, prompts, opt)
		if diff := cmp.Diff(together, again); diff != "" {
			t.Errorf("%+v: a second run differs:\n%s", opt, diff)
		}
	}
}

func TestSeedMatters(t *testing.T) {
	m := open(t, testkit.Llama(t, testkit.Options{Layers: 2}))
	run := runner(t, m, cpu.Options{DType: "float32"})
	same := [][]int32{{5, 6}, {5, 6}}
	opt := generate.Options{MaxTokens: 30, Temperature: 2, Seed: 1}
	one := continuations(t, run, nil, same, opt)
	opt.Seed = 2
	two := continuations(t, run, nil, same, opt)
	if slices.Equal(one[0], one[1]) || slices.Equal(one[0], two[0]) {
		t.Errorf("repeats and seeds should differ: %v, %v", one, two)
	}
}

func TestStop(t *testing.T) {
	run := counting(t)
	got := continuations(t, run, nil, [][]int32{{1, 2}, {50}, {6}, {8}}, generate.Options{MaxTokens: 5, Stop: []int{9, 300}})
	want := [][]int32{{3, 4, 5, 6, 7}, {51, 52, 53, 54, 55}, {7, 8}, nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Tokens come step by step, and prompts in order within a step.
func TestOrderOfEmission(t *testing.T) {
	var order []int
	err := generate.Run(context.Background(), counting(t).Resident(), nil, [][]int32{{1}, {8}, {2, 3}}, generate.Options{MaxTokens: 3, Stop: []int{10}}, func(seq int, _ int32) error {
		order = append(order, seq)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{0, 1, 2, 0, 2, 0, 2}, order); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRunRejects(t *testing.T) {
	m := open(t, testkit.Llama(t, testkit.Options{Layers: 2, MaxPositions: 16}))
	run := forest.New(m, &fake{vocab: m.Spec.Vocab, logits: func(_ int32, out []float32) { out[3] = float32(math.NaN()) }}, forest.Options{})
	defer run.Close()
	ok, one := [][]int32{{1}}, generate.Options{MaxTokens: 1}
	for _, tt := range []struct {
		name    string
		layers  []int
		prompts [][]int32
		opt     generate.Options
		want    string
	}{
		{"no prompts", nil, nil, one, "no prompts"},
		{"empty prompt", nil, [][]int32{{1}, {}}, one, "prompt 1 is empty; begin it with the model's BOS"},
		{"id outside", nil, [][]int32{{1, -1}}, one, "prompt 0: token id -1 at index 1 is outside the vocabulary"},
		{"id too large", nil, [][]int32{{9999}}, one, "token id 9999"},
		{"too long", nil, [][]int32{make([]int32, 10)}, generate.Options{MaxTokens: 8}, "prompt 0 has 10 tokens, and 8 more are past the model's 16 positions; ask for at most 7"},
		{"far too long", nil, ok, generate.Options{MaxTokens: math.MaxInt}, "ask for at most 16"},
		{"no room", nil, [][]int32{make([]int32, 17)}, one, "shorten it to at most 16 tokens"},
		{"no tokens", nil, ok, generate.Options{}, "max tokens = 0"},
		{"temperature", nil, ok, generate.Options{MaxTokens: 1, Temperature: -1}, "temperature = -1"},
		{"temperature NaN", nil, ok, generate.Options{MaxTokens: 1, Temperature: math.NaN()}, "temperature = NaN"},
		{"top-k", nil, ok, generate.Options{MaxTokens: 1, TopK: -1}, "top-k = -1"},
		{"top-p", nil, ok, generate.Options{MaxTokens: 1, TopP: 1.1}, "top-p = 1.1"},
		{"layers", []int{2}, ok, one, "layer 2 does not exist"},
		{"NaN", nil, ok, one, "prompt 0, after 1 tokens: the logits hold NaN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := generate.Run(context.Background(), run.Resident(), tt.layers, tt.prompts, tt.opt, func(int, int32) error { return nil })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// TestFillsPositions: the last new token needs no position, since nothing follows it.
func TestFillsPositions(t *testing.T) {
	m := open(t, testkit.Llama(t, testkit.Options{Layers: 2, MaxPositions: 16}))
	for prompt := 1; prompt <= 16; prompt++ {
		run := runner(t, m, cpu.Options{DType: "float32", OneDNN: "off"})
		got := continuations(t, run, nil, [][]int32{make([]int32, prompt)}, generate.Options{MaxTokens: 17 - prompt})
		if len(got[0]) != 17-prompt {
			t.Errorf("after %d tokens: %d new ones, want %d", prompt, len(got[0]), 17-prompt)
		}
	}
}

// TestFinished: every sequence says why it ended.
func TestFinished(t *testing.T) {
	why := map[int]generate.Reason{}
	opt := generate.Options{MaxTokens: 5, Stop: []int{9}, Finished: func(seq int, r generate.Reason) {
		if why[seq] != "" {
			t.Errorf("sequence %d ended twice", seq)
		}
		why[seq] = r
	}}
	err := generate.Run(context.Background(), counting(t).Resident(), nil, [][]int32{{1}, {6}, {20}, {8}}, opt, func(_ int, id int32) error {
		if id == 22 {
			return generate.ErrEnd
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[int]generate.Reason{0: generate.Length, 1: generate.EndToken, 2: generate.Stopped, 3: generate.EndToken}
	if diff := cmp.Diff(want, why); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestStreaming: with layers that do not fit, the same tokens come, and what is
// needed is within the budget or refused.
func TestStreaming(t *testing.T) {
	m := open(t, testkit.Llama(t, testkit.Options{Layers: 6, Hidden: 64, FF: 2048}))
	e, err := cpu.New(cpu.Options{DType: "float32", OneDNN: "off"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	prompts := randomPrompts(3, 20, m.Spec.Vocab)
	opt := generate.Options{MaxTokens: 4}
	want := continuations(t, runner(t, m, cpu.Options{DType: "float32", OneDNN: "off"}), nil, prompts, opt)
	need := e.Memory(m, engine.LayerOptions{}).Host
	var budget int64 // the smallest that is not refused
	for add := int64(0); budget == 0; add += 1 << 18 {
		run := forest.New(m, e, forest.Options{Memory: need.Fixed + add})
		got := make([][]int32, len(prompts))
		err := generate.Run(context.Background(), run.Resident(), nil, prompts, opt, func(seq int, id int32) error {
			got[seq] = append(got[seq], id)
			return nil
		})
		there := len(run.Resident().Layers())
		run.Close()
		if err != nil && !strings.Contains(err.Error(), "--memory ") {
			t.Fatal(err)
		}
		if err != nil {
			continue
		}
		budget = add
		if diff := cmp.Diff(want, got); diff != "" || there == 6 {
			t.Errorf("%d layers stayed; (-want +got):\n%s", there, diff)
		}
	}
	if all := 6 * (need.Layer + need.Mapped); budget > 16<<20+all {
		t.Errorf("refused below %d bytes, though all layers take %d", budget, all)
	}
}

func TestStopsOnErrors(t *testing.T) {
	run := counting(t)
	because := errors.New("enough")
	emitted := 0
	err := generate.Run(context.Background(), run.Resident(), nil, [][]int32{{1}}, generate.Options{MaxTokens: 50}, func(int, int32) error {
		if emitted++; emitted == 3 {
			return because
		}
		return nil
	})
	if !errors.Is(err, because) || emitted != 3 {
		t.Errorf("emit's error: %v after %d tokens", err, emitted)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	err = generate.Run(ctx, run.Resident(), nil, [][]int32{{1}}, generate.Options{MaxTokens: 50}, func(int, int32) error {
		cancel(because)
		return nil
	})
	if !errors.Is(err, because) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestErrEnd: one sequence ends where emit says so, the others go on.
func TestErrEnd(t *testing.T) {
	run := runner(t, open(t, testkit.Llama(t, testkit.Options{})), cpu.Options{DType: "float32", OneDNN: "off"})
	prompts := [][]int32{{1, 2, 3}, {4, 5}, {6}}
	want := continuations(t, run, nil, prompts, generate.Options{MaxTokens: 6})
	got := make([][]int32, len(prompts))
	err := generate.Run(context.Background(), run.Resident(), nil, prompts, generate.Options{MaxTokens: 6}, func(seq int, id int32) error {
		got[seq] = append(got[seq], id)
		if seq == 1 && len(got[seq]) == 2 {
			return generate.ErrEnd
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want[1] = want[1][:2]
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
