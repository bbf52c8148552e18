package hub

import (
	"context"
	"errors"
	"io"
	"net/url"
	"time"
)

// watch ends a request whose connection has been silent for too long, in
// either direction.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	stall  time.Duration
}

func newWatch(ctx context.Context, stall time.Duration) *watch {
	w := &watch{stall: stall}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.timer = time.AfterFunc(stall, func() { w.cancel(errStalled) })
	return w
}

func (w *watch) alive() { w.timer.Reset(w.stall) }

func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain says what a failure of the connection was, without the address: that
// may hold a signature.
func (w *watch) explain(at *url.URL, err error) error {
	var wrapped *url.Error
	switch {
	case errors.Is(context.Cause(w.ctx), errStalled):
		err = errStalled
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	case errors.As(err, &wrapped):
		err = wrapped.Err
	}
	return &connectionError{host: at.Host, err: err}
}

// body watches an answer's body; with no address, a request's.
func (w *watch) body(b io.ReadCloser, at *url.URL) *watched {
	return &watched{ReadCloser: b, w: w, at: at}
}

// watched is a body whose every byte keeps the request alive.
type watched struct {
	io.ReadCloser
	w  *watch
	at *url.URL
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.w.alive()
	}
	if err != nil && !errors.Is(err, io.EOF) && b.at != nil {
		err = b.w.explain(b.at, err)
	}
	return n, err
}

// answerBody ends the watch when the answer is closed.
type answerBody struct {
	*watched
	stop func()
}

func (b *answerBody) Close() error {
	err := b.watched.Close()
	b.stop()
	return err
}
