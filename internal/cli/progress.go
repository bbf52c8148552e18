package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/coppice-ml/coppice/report"
)

// When somebody hears of work that goes on: on a terminal a bar appears after
// barDelay; elsewhere a line is written after lineDelay, and further ones twice as
// late each, at the latest lineMost after the last.
const (
	beatEvery = 100 * time.Millisecond
	barDelay  = 200 * time.Millisecond
	lineDelay = 15 * time.Second
	lineMost  = 10 * time.Minute
)

// progress shows how far one piece of work has come: by a bar on a terminal, by a
// line now and then in a log. Its methods may be called from several goroutines,
// and on nil.
type progress struct {
	mu    sync.Mutex
	label string
	bytes bool
	a     *app
	start time.Time
	over  chan struct{}

	done, total int64 // total 0: not known yet
	bar         *progressbar.ProgressBar
	moved       bool // since the bar was drawn
	drawn       time.Time
	next        time.Duration // after start: the next line
}

// newProgress begins to show a piece of work in place of the one before. It returns
// nil where nobody looks.
func (a *app) newProgress(label string, bytes bool) func(done, total int64) {
	a.stopProgress()
	if a.quiet || a.json {
		return nil
	}
	p := &progress{label: label, bytes: bytes, a: a, start: time.Now(), over: make(chan struct{}), next: lineDelay}
	a.progress = p
	go p.watch()
	return p.update
}

func (a *app) stopProgress() {
	a.progress.stop()
	a.progress = nil
}

// watch beats until the work is over.
func (p *progress) watch() {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for {
		select {
		case <-p.over:
			return
		case now := <-t.C:
			p.beat(now)
		}
	}
}

// beat shows what is due.
func (p *progress) beat(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := now.Sub(p.start)
	switch {
	case p.ended():
	case p.a.showBars && p.bar == nil && gone >= barDelay:
		p.bar = p.draw()
	case p.a.showBars && p.bar != nil && (p.moved || now.Sub(p.drawn) >= time.Second): // the clock goes on
		if p.total > 0 && p.total != p.bar.GetMax64() {
			p.bar.ChangeMax64(p.total)
		}
		_ = p.bar.Set64(p.done)
		p.drawn, p.moved = now, false
	case !p.a.showBars && gone >= p.next:
		_, _ = io.WriteString(p.a.console, p.line(gone)+"\n")
		p.next = gone + min(gone, lineMost)
	}
}

// line says in words how far it is.
func (p *progress) line(gone time.Duration) string {
	if p.done <= 0 || p.total <= 0 {
		return fmt.Sprintf("%s: begun %s ago", p.label, report.Roughly(gone))
	}
	share := float64(p.done) / float64(p.total)
	left := time.Duration(float64(gone) * (1 - share) / share)
	return fmt.Sprintf("%s: %.0f %% after %s, about %s left", p.label, 100*share, report.Roughly(gone), report.Roughly(left))
}

func (p *progress) update(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.total, p.moved = done, total, true
}

func (p *progress) draw() *progressbar.ProgressBar {
	b := progressbar.NewOptions64(max(1, p.total),
		progressbar.OptionSetWriter(p.a.console),
		progressbar.OptionSetDescription(p.label),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowBytes(p.bytes),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionSetRenderBlankState(true),
	)
	_ = b.Set64(p.done)
	return b
}

// ended says that stop was called.
func (p *progress) ended() bool {
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}

// stop wipes the bar off for good.
func (p *progress) stop() {
	if p == nil {
		return
	}
	p.clear()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended() {
		close(p.over)
	}
}

// clear wipes the bar off the terminal; the next beat draws it again.
func (p *progress) clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// console is stderr, which notes and progress share.
type console struct {
	mu sync.Mutex
	w  io.Writer
}

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.w.Write(b)
}
