package run

import (
	"context"

	"github.com/coppice-ml/coppice/stage"
)

// Work is what a stage takes.
type Work struct {
	Forward   float64 // tokens x layers that run forwards
	Backward  float64 // tokens x layers that gradients go through
	Head      float64 // rows that meet the head
	HeadBack  float64 // of them those with gradients
	Updates   float64 // parameters x steps
	Decode    float64 // tokens made one by one, x layers
	Trainable int64   // parameters that change
	Disk      int64   // bytes that stay
	Memory    int64   // bytes beside the weights
	Guessed   bool    // sizes of data that are not here are taken for typical

	seconds float64
}

func (w *way) scoreWork(by string, v stage.Score, n int) Work  { return Work{} }
func (w *way) taskWork(t stage.Tasks) Work                     { return Work{} }
func (w *way) perplexityWork(v stage.PPL) Work                 { return Work{} }
func (w *way) decodeWork(tokens int) Work                      { return Work{} }
func (w *way) curveWork(v stage.Curve) Work                    { return Work{} }
func (w *way) healWork(v stage.Heal, h Heal) (Work, error)     { return Work{}, nil }
func (p *Plan) price(ctx context.Context, env stage.Env) error { return nil }
