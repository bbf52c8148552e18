package generate_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/cpu"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/generate"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// some are prompts of many lengths, some of them twice, and what they may come to.
func some(n, vocab int) []generate.Prompt {
	out := make([]generate.Prompt, n)
	for i := range out {
		for j := range 1 + i*7%23 {
			out[i].Tokens = append(out[i].Tokens, int32((i%9*31+j*5+1)%vocab))
		}
		out[i].Max = 1 + i*5%17
	}
	return out
}

func many(t *testing.T, run *forest.Runner, prompts []generate.Prompt, opt generate.Options) ([]generate.Answer, error) {
	defer run.Close()
	out := make([]generate.Answer, len(prompts))
	err := generate.Many(t.Context(), run.Resident(), []int{0, 2}, prompts, opt, nil, func(a generate.Answer) error {
		if out[a.Seq].Finish != "" {
			return fmt.Errorf("prompt %d is answered twice", a.Seq)
		}
		out[a.Seq] = a
		return nil
	})
	return out, err
}

// TestManyIsOneAtATime: what many prompts are answered is, token by token, what
// Run makes of each alone, in float32 and bfloat16, drawn and greedy, whatever the
// memory.
func TestManyIsOneAtATime(t *testing.T) {
	m := open(t, testkit.Llama(t, testkit.Options{Layers: 3, Seed: 5}))
	prompts := some(80, m.Spec.Vocab)
	for _, dtype := range []string{"float32", "bfloat16"} {
		for _, opt := range []generate.Options{{MaxTokens: 12, Stop: []int{3, 40, 41}}, {MaxTokens: 12, Temperature: 1.2, TopP: .9, Seed: 9, Stop: []int{3}}} {
			for _, limit := range []bool{false, true} {
				t.Run(fmt.Sprint(dtype, opt.Temperature, limit), func(t *testing.T) {
					e, err := cpu.New(cpu.Options{DType: dtype, Threads: 2, Kernels: os.Getenv("COPPICE_KERNELS")})
					if err != nil {
						t.Fatal(err)
					}
					defer e.Close()
					o := forest.Options{}
					if limit { // what is just enough: few sequences at a time
						o.Memory = e.Memory(m, engine.LayerOptions{}).Host.Fixed
					}
					got, err := many(t, forest.New(m, e, o), prompts, opt)
					for ; err != nil && strings.Contains(err.Error(), "--memory "); o.Memory += 1 << 18 {
						got, err = many(t, forest.New(m, e, o), prompts, opt)
					}
					if err != nil {
						t.Fatal(err)
					}
					alone := runner(t, m, cpu.Options{DType: dtype, Threads: 1})
					for i, p := range prompts {
						o, why := opt, generate.Reason("")
						o.MaxTokens, o.Finished = p.Max, func(_ int, r generate.Reason) { why = r }
						want := continuations(t, alone, []int{0, 2}, [][]int32{p.Tokens}, o)[0]
						if !slices.Equal(got[i].Tokens, want) || got[i].Finish != why {
							t.Errorf("prompt %d: %v, %s; alone %v, %s", i, got[i].Tokens, got[i].Finish, want, why)
						}
					}
				})
			}
		}
	}
}

// TestManyStops: watch ends a sequence, and errors end everything.
func TestManyStops(t *testing.T) {
	run := counting(t)
	prompts := []generate.Prompt{{Tokens: []int32{1}}, {Tokens: []int32{5, 6}}, {Tokens: []int32{2}}}
	var got []string
	err := generate.Many(t.Context(), run.Resident(), nil, prompts, generate.Options{MaxTokens: 4}, func(seq int, id int32) error {
		if seq == 1 && id == 8 {
			return generate.ErrEnd
		}
		return nil
	}, func(a generate.Answer) error {
		got = append(got, fmt.Sprintf("%d %v %s", a.Seq, a.Tokens, a.Finish))
		return nil
	})
	slices.Sort(got)
	if want := []string{"0 [2 3 4 5] length", "1 [7 8] stop_sequence", "2 [3 4 5 6] length"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	broken := errors.New("broken")
	if err := generate.Many(t.Context(), run.Resident(), nil, prompts, generate.Options{MaxTokens: 4}, nil, func(generate.Answer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error of done: %v", err)
	}
	if err := generate.Many(t.Context(), run.Resident(), nil, []generate.Prompt{{Tokens: []int32{1}}, {}}, generate.Options{MaxTokens: 4}, nil, nil); err == nil {
		t.Error("an empty prompt is taken")
	}
}
