package stage

import (
	"context"

	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Show gives emit the first Data.Preview of the training samples, in the order of
// the data, and trains nothing.
func (h Heal) Show(ctx context.Context, env Env, emit func(report.Preview) error) error {
	if err := h.Data.Check(); err != nil {
		return err
	}
	s, err := Open(ctx, env, h.Model, Layers{Cut: h.Layers})
	if err != nil {
		return err
	}
	defer s.Close()
	set, err := h.Data.read(ctx, env, s.Checkpoint.Dir(), s.Model.Spec)
	if err != nil {
		return err
	}
	t, err := tokenizer.Load(s.Checkpoint.Dir())
	if err != nil && h.Data.Tokens == "" {
		return err
	}
	for i, m := range set.shown {
		if err := emit(preview(i, m, t)); err != nil {
			return err
		}
	}
	return nil
}

// preview is a sample, token by token; without a tokenizer its ids alone.
func preview(i int, m made, t *tokenizer.Tokenizer) report.Preview {
	p := report.Preview{Index: i, Row: m.row, Tokens: len(m.Tokens), Cut: m.cut, IDs: m.Tokens, Labels: m.Labels}
	for j, id := range m.Tokens {
		if j > 0 && m.Labels[j] != heal.Ignore {
			p.Targets++
		}
		if t != nil {
			p.Pieces = append(p.Pieces, t.Token(int(id)))
		}
	}
	return p
}
