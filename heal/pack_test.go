package heal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/coppice-ml/coppice/engine"
)

// paths writes, for every target of micro-batches, the tokens that lead to it,
// each as often as it is weighted.
func paths(ms []*micro) []string {
	var out []string
	for _, m := range ms {
		for i, t := range m.targets {
			for range int(m.weights[i]) {
				out = append(out, fmt.Sprint(before(&m.batch, t.Row), t.Token))
			}
		}
	}
	slices.Sort(out)
	return out
}

// before lists the tokens a row has seen, its own included.
func before(b *engine.Batch, row int) []int32 {
	i := slices.IndexFunc(b.Segments, func(s engine.Segment) bool { return row < s.Start+s.Len })
	out := slices.Clone(b.Tokens[b.Segments[i].Start : row+1])
	for p := b.Segments[i].Parent; p != engine.NoParent; p = b.Segments[p].Parent {
		s := b.Segments[p]
		out = append(slices.Clone(b.Tokens[s.Start:s.Start+s.Len]), out...)
	}
	return out
}

// TestPack: whatever is shared and left out, every target of every sample is
// there once, after exactly the tokens that stand before it.
func TestPack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var samples []Sample
	var ids []int64
	var want []string
	stems := [][]int32{make([]int32, 30), make([]int32, 30)}
	for i := range stems[1] {
		stems[1][i] = int32(r.IntN(3))
	}
	copy(stems[0][20:], []int32{7, 7, 7})
	for i := range 60 {
		s := Sample{Tokens: slices.Clone(stems[i%2][:r.IntN(31)])}
		for range 1 + r.IntN(12) {
			s.Tokens = append(s.Tokens, int32(r.IntN(4)))
		}
		if i%10 == 9 {
			s = samples[r.IntN(len(samples))] // the same once more
		} else {
			for range s.Tokens {
				s.Labels = append(s.Labels, Ignore)
			}
			for j := r.IntN(len(s.Tokens)); j < len(s.Tokens)-i%3; j++ {
				s.Labels[j] = s.Tokens[j]
			}
		}
		samples, ids = append(samples, s), append(ids, int64(i))
		for j := 1; j < len(s.Tokens); j++ {
			if s.Labels[j] != Ignore {
				want = append(want, fmt.Sprint(s.Tokens[:j], s.Labels[j]))
			}
		}
	}
	slices.Sort(want)
	rows := map[bool]int{}
	for _, p := range []packing{{tokens: 100}, {tokens: 100, share: true}, {tokens: 1, share: true}, {tokens: 1 << 20, share: true}, {tokens: 100, all: true}} {
		ms := p.pack(samples, ids)
		if got := paths(ms); !slices.Equal(got, want) {
			t.Errorf("%+v: %d targets, want %d, or other tokens before them", p, len(got), len(want))
		}
		for _, m := range ms {
			if err := m.batch.Validate(100); err != nil {
				t.Errorf("%+v: %v", p, err)
			}
			if len(m.samples) != len(m.batch.Segments) {
				t.Errorf("%+v: %d samples for %d segments", p, len(m.samples), len(m.batch.Segments))
			}
			if p.tokens == 100 {
				rows[p.share] += m.batch.Len()
			}
			named := map[int]bool{}
			for _, target := range m.targets {
				named[target.Row] = true
			}
			if wanted := m.rows; len(wanted) != len(named) && (wanted != nil || len(named) != m.batch.Len()) {
				t.Errorf("%+v: %d rows wanted, %d named by targets", p, len(wanted), len(named))
			}
		}
	}
	if rows[true] >= rows[false]*3/4 {
		t.Errorf("sharing leaves %d rows of %d", rows[true], rows[false])
	}
}

func TestOrder(t *testing.T) {
	o := Order{samples: 10, batch: 4, seed: 3, shuffle: true}
	var first, second []int
	for step := range 6 {
		got := o.Step(step)
		if want := []int{4, 4, 2}[step%3]; len(got) != want {
			t.Errorf("step %d has %d samples, want %d", step, len(got), want)
		}
		if step < 3 {
			first = append(first, got...)
		} else {
			second = append(second, got...)
		}
	}
	if slices.Equal(first, second) {
		t.Error("two epochs come in the same order")
	}
	all := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	if slices.Equal(first, all) || !slices.Equal(slices.Sorted(slices.Values(first)), all) {
		t.Errorf("an epoch takes %v", first)
	}
	again := Order{samples: 10, batch: 4, seed: 3, shuffle: true}
	if got := again.Step(4); !slices.Equal(got, second[4:8]) {
		t.Errorf("step 4 alone takes %v, after the others %v", got, second[4:8])
	}
	plain := Order{samples: 10, batch: 4}
	if got := plain.Step(3); !slices.Equal(got, all[:4]) {
		t.Errorf("without shuffling, the second epoch begins with %v", got)
	}
}

// TestSchedule: values of transformers' schedules.
func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		schedule    string
		step        int
		want        float64
		steps, warm int
	}{
		{Linear, 0, 0, 8, 2}, {Linear, 1, 5e-4, 8, 2}, {Linear, 2, 1e-3, 8, 2}, {Linear, 5, 5e-4, 8, 2}, {Linear, 8, 0, 8, 2},
		{Linear, 0, 1e-3, 8, 0}, {Constant, 7, 1e-3, 8, 2}, {Constant, 1, 5e-4, 8, 2},
		{Cosine, 2, 1e-3, 8, 2}, {Cosine, 5, 5e-4, 8, 2}, {Cosine, 8, 0, 8, 2},
	} {
		o := Options{LR: 1e-3, Steps: c.steps, WarmupSteps: c.warm, Schedule: c.schedule}
		if got := o.rate(c.step); got < c.want-1e-12 || got > c.want+1e-12 {
			t.Errorf("%s, step %d of %d: %g, want %g", c.schedule, c.step, c.steps, got, c.want)
		}
	}
}
