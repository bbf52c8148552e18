package cpu

import (
	"testing"
	"time"
)

// TestFastest: of ways that are run in turns the fastest is taken, though the machine
// is disturbed for as long as several of them take.
func TestFastest(t *testing.T) {
	takes := []time.Duration{10, 8, 9, 20}
	for first := range 12 {
		runs, of := 0, make([]int, len(takes))
		got := fastest(len(takes), func(way int) time.Duration {
			took := takes[way] * time.Millisecond
			if runs >= first && runs < first+6 { // as if somebody else had the cores meanwhile
				took *= 2
			}
			runs++
			of[way]++
			return took
		})
		if got != 1 {
			t.Errorf("disturbed from run %d on: way %d", first, got)
		}
		if first == 11 && of[3] == of[1] {
			t.Error("a way twice as slow as others is run as often")
		}
	}
}
