package engine

import "context"

// Begin is a Fetched whose layer bring brings in, on a goroutine of its own. Drop ends
// the context that bring is given.
func Begin(bring func(context.Context) (Layer, error)) Fetched {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fetched{come: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(f.come)
		f.layer, f.err = bring(ctx)
	}()
	return f
}

// fetched is a layer on its way.
type fetched struct {
	come   chan struct{} // closed when layer and err are set
	layer  Layer
	err    error
	cancel context.CancelFunc
}

func (f *fetched) Wait(ctx context.Context) (Layer, error) {
	select {
	case <-f.come:
		f.cancel()
		return f.layer, f.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (f *fetched) Drop() {
	f.cancel()
	if <-f.come; f.err == nil {
		f.layer.Release()
	}
}
