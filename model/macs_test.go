package model

import "testing"

// TestKeysSeen: a query sees the keys up to its own, or those of its window.
func TestKeysSeen(t *testing.T) {
	s := &Spec{Windows: []int{0, 3, 100}}
	for i, window := range s.Windows {
		for n := 1; n < 8; n++ {
			want := 0
			for q := 1; q <= n; q++ {
				if window > 0 {
					want += min(q, window)
				} else {
					want += q
				}
			}
			if got := s.keysSeen(i, int64(n)); got != int64(want) {
				t.Errorf("window %d, %d tokens: %d keys, want %d", window, n, got, want)
			}
		}
	}
}
