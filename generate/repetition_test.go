package generate_test

import (
	"testing"

	"github.com/coppice-ml/coppice/generate"
)

func TestRepetition(t *testing.T) {
	for _, c := range []struct {
		tokens []int32
		want   float64
	}{
		{nil, 0}, {[]int32{1, 2, 3}, 0},
		{[]int32{1, 2, 3, 4, 5}, 0},
		{[]int32{7, 7, 7, 7, 7}, 0.5},                       // twice the same
		{[]int32{1, 2, 3, 4, 1, 2, 3, 4}, 0.2},              // 5 runs, 4 of them distinct
		{[]int32{11, 1, 11, 1, 1, 11, 1, 1, 11, 1}, 3. / 7}, // 7 runs, 4 of them distinct
	} {
		if got := generate.Repetition(c.tokens, 4); got != c.want {
			t.Errorf("%v: %v, want %v", c.tokens, got, c.want)
		}
	}
}
