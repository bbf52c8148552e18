//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// worker is the goroutine that talks to the driver: calls need the device's context
// on their thread, and one that never returns must not take its caller with it.
type worker struct {
	tasks   chan task
	stopped chan struct{}
	// patience is how long a call of a library, and work on the device that gives no
	// sign of progress, may take before it counts as hung.
	patience time.Duration

	mu     sync.Mutex
	dead   error    // why nothing can be done any more
	queued []string // calls since the device was last known to have done all
}

type task struct {
	name string
	do   func() error
	done chan error
}

func newWorker(patience time.Duration) *worker {
	w := &worker{tasks: make(chan task), stopped: make(chan struct{}), patience: patience}
	go func() {
		defer close(w.stopped)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		for t := range w.tasks {
			t.done <- t.do()
		}
	}()
	return w
}

// close stops the goroutine, unless it hangs in a call.
func (w *worker) close() {
	if !w.hung() {
		close(w.tasks)
		<-w.stopped
	}
}

var errHung = errors.New("it has not returned")

func (w *worker) hung() bool { return errors.Is(w.broken(), errHung) }

// broken is why the device cannot be used any more, or nil.
func (w *worker) broken() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

func (w *worker) kill(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead == nil {
		w.dead = err
	}
	return err
}

// do runs f on the worker and waits for it. f queues work on the device or asks
// what has become of it; it does not wait for long. An error after which the device
// is of no use is what every later call returns.
func (w *worker) do(name string, f func() error) error {
	if dead := w.broken(); dead != nil {
		return fmt.Errorf("%s: the GPU cannot be used after an error: %w", name, dead)
	}
	t := task{name: name, do: f, done: make(chan error, 1)}
	timer := time.NewTimer(w.patience)
	defer timer.Stop()
	hangs := func() error {
		return w.kill(fmt.Errorf("%s: %w for %s: the driver or the GPU hangs", name, errHung, w.patience))
	}
	select {
	case w.tasks <- t:
	case <-timer.C:
		return hangs()
	}
	select {
	case err := <-t.done:
		return w.judge(name, err)
	case <-timer.C:
		return hangs()
	}
}

func (w *worker) judge(name string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s: %w", name, err)
	var c *callError
	if errors.As(err, &c) && c.fatal() {
		return w.kill(fmt.Errorf("%w (queued before: %s)", err, w.before()))
	}
	return err
}

// note remembers a call that was queued: what fails on the device says so later.
func (w *worker) note(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued = append(w.queued, name)
}

// settled forgets the calls that were queued: the device has done them.
func (w *worker) settled() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued = w.queued[:0]
}

// before lists the calls that may have failed, a name that repeats once.
func (w *worker) before() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queued) == 0 {
		return "nothing"
	}
	return strings.Join(slices.Compact(slices.Clone(w.queued)), ", ")
}

// poll asks ready until it says so, the context ends, or patience does. ready runs
// on the worker.
func (w *worker) poll(ctx context.Context, name string, ready func() (bool, error)) error {
	began, pause := time.Now(), time.Duration(0)
	for {
		var is bool
		err := w.do(name, func() (err error) {
			is, err = ready()
			return err
		})
		switch {
		case err != nil || is:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case time.Since(began) > w.patience:
			return w.kill(fmt.Errorf("%s: %w for %s: the GPU hangs", name, errHung, w.patience))
		}
		if pause > 0 {
			time.Sleep(pause)
		}
		if time.Since(began) > 50*time.Microsecond {
			pause = min(pause+10*time.Microsecond, 200*time.Microsecond)
		}
	}
}
