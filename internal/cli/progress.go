package cli

import (
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// barDelay is how long work goes on before a bar appears.
const barDelay = time.Second

// bar shows how far one piece of work has come, on a terminal. Its methods may
// be called from several goroutines, and on nil.
type bar struct {
	mu    sync.Mutex
	label string
	bytes bool
	a     *app
	start time.Time
	p     *progressbar.ProgressBar
}

// newProgress begins a bar, which replaces the one before. It returns nil where none
// is shown.
func (a *app) newProgress(label string, bytes bool) func(done, total int64) {
	a.stopProgress()
	if !a.showBars || a.quiet || a.json {
		return nil
	}
	a.bar = &bar{label: label, bytes: bytes, a: a, start: time.Now()}
	return a.bar.update
}

func (a *app) stopProgress() {
	a.bar.clear()
	a.bar = nil
}

func (b *bar) update(done, total int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.p == nil {
		if time.Since(b.start) < barDelay || done >= total {
			return
		}
		b.p = b.draw(total)
	}
	if total != b.p.GetMax64() {
		b.p.ChangeMax64(total)
	}
	_ = b.p.Set64(done)
}

func (b *bar) draw(total int64) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(b.a.sys.Err),
		progressbar.OptionSetDescription(b.label),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowBytes(b.bytes),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(),
	)
}

// clear wipes the bar off the terminal; the next update draws it again.
func (b *bar) clear() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.p != nil {
		_ = b.p.Clear()
	}
}
