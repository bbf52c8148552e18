package slow_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/engine/enginetest/slow"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
)

func build(t testing.TB, dtype engine.DType) engine.Engine {
	e := slow.New(slow.Options{DType: dtype})
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// TestEngine: an engine that is nothing like engine/cpu passes the same suite.
func TestEngine(t *testing.T) { enginetest.RunAll(t, build) }

// A call that fails after it was queued is named by the call that needs its
// result, and spoils nothing else.
func TestLateErrors(t *testing.T) {
	broken := errors.New("broken")
	for _, failing := range []string{"Embedding.Forward", "Layer.Forward", "Head.LogProbs"} {
		t.Run(failing, func(t *testing.T) {
			var armed atomic.Bool
			e := slow.New(slow.Options{Fail: func(call string) error {
				if call == failing && armed.Swap(false) {
					return broken
				}
				return nil
			}})
			t.Cleanup(func() { _ = e.Close() })
			m := enginetest.Open(t, testkit.Llama(t, testkit.Options{Layers: 2}))
			p := newParts(t, e, m)
			good, bad := p.hidden(t), p.hidden(t)
			if err := errors.Join(p.run(good), good.Sync(t.Context())); err != nil {
				t.Fatal(err)
			}
			armed.Store(true)
			queued := p.run(bad)
			if queued != nil {
				t.Errorf("the call that fails late said so at once: %v", queued)
			}
			_, late := bad.Host(t.Context())
			_, score := p.score(bad)
			if err := errors.Join(late, score); !errors.Is(err, broken) || !strings.Contains(err.Error(), failing) {
				t.Errorf("late error %v, want one of %s", err, failing)
			}
			if _, err := good.Host(t.Context()); err != nil {
				t.Errorf("other hidden states are spoilt: %v", err)
			}
			if err := p.run(bad); err != nil {
				t.Fatal(err)
			}
			a, err := p.score(good)
			b, again := p.score(bad)
			if a != b || err != nil || again != nil {
				t.Errorf("after the failure: %v %v, %v %v", a, err, b, again)
			}
		})
	}
}

// parts are a small model's.
type parts struct {
	embed  engine.Embedding
	layers []engine.Layer
	head   engine.Head
	make   func() (engine.Hidden, error)
	batch  engine.Batch
}

func newParts(t *testing.T, e engine.Engine, m *model.Model) *parts {
	t.Helper()
	p := &parts{make: func() (engine.Hidden, error) { return e.NewHidden(m, 3) }}
	p.batch.Add([]int32{1, 2, 3}, engine.NoParent)
	var err error
	if p.embed, err = e.Embedding(m, engine.EmbeddingOptions{}); err != nil {
		t.Fatal(err)
	}
	if p.head, err = e.Head(m, engine.HeadOptions{}); err != nil {
		t.Fatal(err)
	}
	for i := range m.Spec.Layers {
		l, err := e.Fetch(m, i, engine.LayerOptions{}).Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.layers = append(p.layers, l)
	}
	return p
}

func (p *parts) hidden(t *testing.T) engine.Hidden {
	t.Helper()
	h, err := p.make()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Release)
	return h
}

// run queues a pass.
func (p *parts) run(x engine.Hidden) error {
	ctx := context.Background()
	err := p.embed.Forward(ctx, &p.batch, x)
	for _, l := range p.layers {
		err = errors.Join(err, l.Forward(ctx, &engine.Call{Batch: &p.batch}, x, x))
	}
	return err
}

func (p *parts) score(x engine.Hidden) (engine.TokenScore, error) {
	out := make([]engine.TokenScore, 1)
	err := p.head.LogProbs(context.Background(), x, []engine.Target{{Row: 2, Token: 5}}, out)
	return out[0], err
}
