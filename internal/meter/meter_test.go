package meter

import (
	"sync"
	"testing"
)

func TestMeter(t *testing.T) {
	var told [][2]int64
	m := New(3, 100, func(done, total int64) { told = append(told, [2]int64{done, total}) })
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { m.Add(5) })
	}
	wg.Wait()
	m.Add(-3)
	if done, total := m.State(); done != 50 || total != 100 {
		t.Errorf("%d of %d", done, total)
	}
	if len(told) != 12 || told[0] != [2]int64{3, 100} || told[11] != [2]int64{50, 100} {
		t.Errorf("told %v", told)
	}
	New(0, 1, nil).Add(1)
}
