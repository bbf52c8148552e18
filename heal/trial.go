package heal

import (
	"context"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

// Trial is a step made again and again, to measure: the first batch of a run.
type Trial struct {
	r      *Run
	net    *network
	micros []*micro
	weight float64
	step   int
}

// Trial packs the first batch; all says that every row is computed.
func (r *Run) Trial(all bool) *Trial {
	samples := r.Order(len(r.Train))
	t := &Trial{r: r, net: r.network()}
	p := r.packing()
	p.all, p.share = all, p.share && !all
	numbers := samples.Step(0)
	batch, ids := make([]Sample, len(numbers)), make([]int64, len(numbers))
	for i, n := range numbers {
		batch[i], ids[i] = r.Train[n], int64(n)
	}
	t.micros = p.pack(batch, ids)
	for _, m := range t.micros {
		t.weight += m.sum()
	}
	return t
}

// Close lets the trial's memory go.
func (t *Trial) Close() { t.net.close() }

// Tokens is the number of the batch's tokens, however much of them is computed.
func (t *Trial) Tokens() (n int) {
	samples := t.r.Order(len(t.r.Train))
	for _, i := range samples.Step(0) {
		n += len(t.r.Train[i].Tokens)
	}
	return n
}

// Step makes one update.
func (t *Trial) Step(ctx context.Context) error {
	if _, err := t.net.gradients(ctx, t.micros, 1/t.weight, t.r.dropout()); err != nil {
		return err
	}
	norm, err := t.r.Set.gradNorm(ctx)
	if err != nil {
		return err
	}
	t.step++
	return t.r.Set.update(ctx, &t.r.Options, t.step, norm)
}

// Products lists the matrix products of linear maps and head that a step cannot do
// without: forwards, the gradients of inputs, and those of weights that train.
// Attention and what is computed a second time are not among them.
func (t *Trial) Products() (out []engine.Product) {
	for _, m := range t.micros {
		out = append(out, t.r.products(m)...)
	}
	return out
}

// MACs counts the multiply-accumulates of Products.
func (t *Trial) MACs() (n float64) {
	for _, p := range t.Products() {
		n += float64(p.M) * float64(p.N) * float64(p.K)
	}
	return n
}

func (r *Run) products(m *micro) (out []engine.Product) {
	spec := r.Model.Spec
	all, wanted := m.batch.Len(), m.batch.Len()
	if m.rows != nil {
		wanted = len(m.rows)
	}
	for depth, layer := range r.Layers {
		rows := all
		if depth == len(r.Layers)-1 {
			rows = wanted
		}
		for _, w := range spec.LayerWeights(layer) {
			if len(w.Shape) == 2 {
				out = append(out, r.linear(w, depth, rows, all)...)
			}
		}
	}
	named := targetRows(m)
	out = append(out, engine.Product{M: named, N: spec.Vocab, K: spec.Hidden})
	if r.Low < len(r.Layers) {
		out = append(out, engine.Product{M: named, N: spec.Hidden, K: spec.Vocab})
	}
	if r.trainsHead() {
		out = append(out, engine.Product{M: spec.Vocab, N: spec.Hidden, K: named})
	}
	return out
}

// linear are the products of one linear map. Keys and values are wanted of all
// rows, whatever the outputs wanted are.
func (r *Run) linear(w model.Weight, depth, rows, all int) (out []engine.Product) {
	spec := r.Model.Spec
	parts := map[int]int{w.Shape[0]: rows} // output columns: rows
	switch w.Role {
	case model.Key, model.Value:
		parts[w.Shape[0]] = all
	case model.QKV:
		q := spec.Heads * spec.HeadDim
		parts = map[int]int{q: rows}
		parts[w.Shape[0]-q] += all
	}
	_, trains := r.Set.Trained.Tensors[w.Name]
	in := w.Shape[1]
	for n, m := range parts {
		out = append(out, engine.Product{M: m, N: n, K: in})
		if depth >= r.Low {
			out = append(out, engine.Product{M: m, N: in, K: n})
		}
		if trains {
			out = append(out, engine.Product{M: n, N: in, K: m})
		}
	}
	return out
}

// trainsHead says whether the projection to the vocabulary has a gradient.
func (r *Run) trainsHead() bool {
	role := model.LMHead
	if r.Model.Spec.Tied {
		role = model.Embedding
	}
	for _, w := range r.Model.Spec.TopWeights() {
		if _, trains := r.Set.Trained.Tensors[w.Name]; trains && w.Role == role {
			return true
		}
	}
	return false
}

// targetRows counts the rows that meet the head.
func targetRows(m *micro) (n int) {
	last := -1
	for _, t := range m.targets {
		if t.Row != last {
			n++
		}
		last = t.Row
	}
	return n
}
