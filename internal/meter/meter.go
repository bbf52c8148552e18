// Package meter adds up progress that many goroutines make.
//
// What is counted, and how it is shown, belongs to those who count and show.
package meter

import "sync"

// Meter counts towards a total and tells of it. Its methods may be called by many
// goroutines at once; tell hears of one call at a time.
type Meter struct {
	mu          sync.Mutex
	done, total int64
	tell        func(done, total int64)
}

// New begins at done of total, and tells so. Tell may be nil.
func New(done, total int64, tell func(done, total int64)) *Meter {
	m := &Meter{done: done, total: total, tell: tell}
	m.Add(0)
	return m
}

// Add counts n more, or fewer where n is negative.
func (m *Meter) Add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	if m.tell != nil {
		m.tell(m.done, m.total)
	}
}

// State returns how far it has come.
func (m *Meter) State() (done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.done, m.total
}
