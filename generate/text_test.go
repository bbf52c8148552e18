package generate_test

import (
	"errors"
	"testing"

	"github.com/coppice-ml/coppice/generate"
)

// spelled decodes token i as the i-th piece; the last one comes with Flush.
type spelled []string

func (s spelled) Next(id int) (string, error) { return s[id], nil }
func (s spelled) Flush() string               { return s[len(s)-1] }

func TestText(t *testing.T) {
	for _, tt := range []struct {
		name   string
		stop   []string
		pieces []string // of tokens, and what is left at the end
		want   []string // text with each token, and at the end
		ended  int      // token at which it ends; -1: none
	}{
		{"no stop", nil, []string{"a", "", "bc", "d"}, []string{"a", "", "bc", "d"}, -1},
		{"empty stop", []string{""}, []string{"a", ""}, []string{"a", ""}, -1},
		{"in a token", []string{"\n"}, []string{"one", " two\nthree", ""}, []string{"one", " two"}, 1},
		{"across tokens", []string{"###"}, []string{"x#", "#", "#y", ""}, []string{"x", "", ""}, 2},
		{"not after all", []string{"###"}, []string{"x#", "#", "y", ""}, []string{"x", "", "##y", ""}, -1},
		{"held at the end", []string{"###"}, []string{"x##", ""}, []string{"x", "##"}, -1},
		{"completed at the end", []string{"###"}, []string{"x##", "#z"}, []string{"x", ""}, -1},
		{"the first in the text", []string{"b", "ab"}, []string{"xab", ""}, []string{"x"}, 0},
		{"a stop in another's beginning", []string{"abcd", "bx"}, []string{"ab", "x", ""}, []string{"", "a"}, 1},
		{"overlapping itself", []string{"aab"}, []string{"aa", "ab", ""}, []string{"", "a"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := generate.NewText(spelled(tt.pieces), tt.stop)
			ended := -1
			for i := range len(tt.pieces) - 1 {
				got, err := text.Next(int32(i))
				if got != tt.want[i] {
					t.Errorf("token %d: %q, want %q", i, got, tt.want[i])
				}
				if errors.Is(err, generate.ErrEnd) {
					ended = i
					break
				}
			}
			if rest := text.Flush(); ended < 0 && rest != tt.want[len(tt.want)-1] || ended >= 0 && rest != "" {
				t.Errorf("at the end: %q", rest)
			}
			if ended != tt.ended {
				t.Errorf("ended at token %d, want %d", ended, tt.ended)
			}
			if text.Flush() != "" {
				t.Error("what was flushed came again")
			}
		})
	}
}
