package eval

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRandom compares with what CPython 3.11's random.Random drew.
func TestRandom(t *testing.T) {
	raw, err := os.ReadFile("testdata/random.json")
	if err != nil {
		t.Fatal(err)
	}
	var bySeed map[string]struct {
		Float   []float64
		Sample  [][]int
		Shuffle []int
		Choices []int
	}
	if err := json.Unmarshal(raw, &bySeed); err != nil {
		t.Fatal(err)
	}
	for text, want := range bySeed {
		t.Run(text, func(t *testing.T) {
			seed, err := strconv.ParseUint(text, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			r := NewRandom(seed)
			for i, f := range want.Float {
				if got := r.Float64(); got != f {
					t.Errorf("draw %d: %v, want %v", i, got, f)
				}
			}
			r = NewRandom(seed)
			var samples [][]int
			for _, nk := range [][2]int{{10, 3}, {100, 5}, {10000, 5}, {16113, 5}, {30, 25}, {1267, 1}, {21, 6}, {277, 2}} {
				samples = append(samples, r.Sample(nk[0], nk[1]))
			}
			if diff := cmp.Diff(want.Sample, samples); diff != "" {
				t.Errorf("sample (-want +got):\n%s", diff)
			}
			list := make([]int, len(want.Shuffle))
			for i := range list {
				list[i] = i
			}
			NewRandom(seed).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			if diff := cmp.Diff(want.Shuffle, list); diff != "" {
				t.Errorf("shuffle (-want +got):\n%s", diff)
			}
			r = NewRandom(seed)
			var choices []int
			for range want.Choices {
				choices = append(choices, r.choice(1000))
			}
			if diff := cmp.Diff(want.Choices, choices); diff != "" {
				t.Errorf("choices (-want +got):\n%s", diff)
			}
		})
	}
}
