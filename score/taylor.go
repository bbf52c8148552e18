package score

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/resident"
)

// taylor measures what first-order salience makes of every layer: with s the sum
// over batches of sequences of w dLoss/dw, signed, Loss the mean of a batch over
// its tokens, sums over the layer's projection and norm weights (biases excluded)
// of |s| and of s². Sources: the paper's code, Shortened-LLaMA.
//
// A batch only decides what its tokens weigh, for the sum over batches of
// gradients is the gradient of the sum: all sequences go through the model
// together, and the gradients of one layer at a time are in memory. Sequences are
// packed by a number that nothing changes, since sums over rows are cut where
// packs are.
type taylor struct {
	p      *Priced
	fit    resident.Fit
	cost   forest.Cost
	packs  []*taylorPack
	scores []norms // [L] by original index; nil until known
}

// taylorTokens is how many tokens are packed together, if no sequence is longer.
const taylorTokens = 2048

// taylorPack are sequences that go through the model as one batch.
type taylorPack struct {
	batch   engine.Batch
	targets []engine.Target
	weights []float32
	rows    []int           // that targets name
	states  []engine.Hidden // [layers run + 1]
}

// salient is the source of metrics of salience, which share their passes.
func salient(value func(norms) float64) source {
	return func(p *Priced, metric Metric) (reader, error) {
		if p.taylor == nil {
			p.taylor = &taylor{p: p}
		}
		return p.scored(metric, func() []float64 {
			scores := p.undefined()
			for _, l := range p.layers {
				scores[l] = value(p.taylor.scores[l])
			}
			return scores
		}), nil
	}
}

func (t *taylor) key() string { return fmt.Sprint("taylor ", t.p.layers, " ", t.p.opt.batch()) }

// batch is how many sequences a gradient batch has.
func (o Options) batch() int { return max(o.Batch, 1) }

// plan takes what an earlier run has found, or plans the passes.
func (t *taylor) plan() error {
	if kept, ok := t.p.opt.Store.get(t.key()); ok {
		t.scores = make([]norms, t.p.m.Spec.Layers)
		for i, l := range t.p.layers {
			t.scores[l] = norms{kept[2*i], kept[2*i+1]}
		}
		return nil
	}
	e := t.p.run.Engine()
	if _, ok := e.(engine.Trainer); !ok {
		return fmt.Errorf("metrics taylor and taylor-l2 need gradients, which engine %s does not compute: device cpu does", e.Info().Device)
	}
	if err := t.pack(); err != nil {
		return err
	}
	need := resident.Need{Layers: t.p.layers, Head: true, Batch: taylorTokens, States: len(t.p.layers) + 1, Backward: true, Together: true, Trained: t.p.m.Spec.LayerParameters()}
	for _, pack := range t.packs {
		need.Tokens += int64(pack.batch.Len())
		need.Longest = max(need.Longest, pack.batch.Len())
	}
	need.Holds = resident.HoldAlways(8 * t.p.m.Spec.LayerParameters()) // a layer's weights and gradients on the host
	t.fit = t.p.run.Resident().Plan(need)
	if t.fit.Over && need.Tokens > taylorTokens { // as little as a pack runs nevertheless
		return fmt.Errorf("taylor keeps the hidden states of all %d tokens at every layer, which does not fit into memory beside a layer and its gradients; use fewer or shorter sequences, or allow more memory", need.Tokens)
	}
	layers := int64(len(t.p.layers))
	t.cost = forest.Cost{
		Passes: 2, Loads: 2 * len(t.p.layers), Resident: t.fit.Keep, Memory: t.fit.Peak.Host, DeviceMemory: t.fit.Peak.Device,
		TokenLayers: 4 * need.Tokens * layers, // backwards: once anew, and twice what that takes
		HeadRows:    3 * need.Tokens,
	}
	return nil
}

// pack makes the packs, and every token but a sequence's first a target.
func (t *taylor) pack() error {
	var pack *taylorPack
	sequences := t.p.opt.Sequences
	for first := 0; first < len(sequences); first += t.p.opt.batch() {
		batch := sequences[first:min(first+t.p.opt.batch(), len(sequences))]
		predicted := 0
		for _, s := range batch {
			predicted += len(s) - 1
		}
		for _, s := range batch {
			if pack == nil || pack.batch.Len()+len(s) > taylorTokens {
				pack = &taylorPack{}
				t.packs = append(t.packs, pack)
			}
			pack.add(s, 1/float32(predicted))
		}
	}
	for _, pack := range t.packs {
		if err := pack.batch.Validate(t.p.m.Spec.Vocab); err != nil {
			return err
		}
	}
	return nil
}

func (p *taylorPack) add(s []int32, weight float32) {
	start := p.batch.Len()
	p.batch.Add(s, engine.NoParent)
	for i, next := range s[1:] {
		p.targets = append(p.targets, engine.Target{Row: start + i, Token: next})
		p.weights = append(p.weights, weight)
		p.rows = append(p.rows, start+i)
	}
}

// run computes the scores and puts them into the store.
func (t *taylor) run(ctx context.Context, tell *tracker) error {
	if t.scores != nil {
		return nil
	}
	defer t.release()
	set := t.p.run.Resident()
	set.Use(t.fit)
	if err := t.forward(ctx, set, tell); err != nil {
		return err
	}
	if err := t.loss(ctx, set); err != nil {
		return err
	}
	scores := make([]norms, t.p.m.Spec.Layers)
	var kept []float64
	for i := len(t.p.layers) - 1; i >= 0; i-- {
		var err error
		if scores[t.p.layers[i]], err = t.layer(ctx, i); err != nil {
			return fmt.Errorf("layer %d: %w", t.p.layers[i], err)
		}
		t.done(tell, 3)
	}
	for _, l := range t.p.layers {
		kept = append(kept, scores[l].l1, scores[l].l2)
	}
	t.scores = scores
	t.p.opt.Store.put(t.key(), kept...)
	return nil
}

// done tells of so many passes of all tokens through a layer.
func (t *taylor) done(tell *tracker, passes int64) {
	tokens := t.cost.TokenLayers / int64(4*len(t.p.layers))
	tell.ahead(passes*tokens, 0)
	tell.advance(passes * tokens)
}

func (t *taylor) release() {
	for _, pack := range t.packs {
		for _, h := range pack.states {
			h.Release()
		}
		pack.states = nil
	}
}

// call is a pack's call of the i-th layer run: of the last, only rows with a
// target have an output.
func (t *taylor) call(pack *taylorPack, i int) *engine.Call {
	c := &engine.Call{Batch: &pack.batch}
	if i == len(t.p.layers)-1 {
		c.Rows = pack.rows
	}
	return c
}

// forward computes what enters and leaves every layer.
func (t *taylor) forward(ctx context.Context, set *resident.Set, tell *tracker) error {
	embed, err := set.Embedding()
	if err != nil {
		return err
	}
	for _, pack := range t.packs {
		for range len(t.p.layers) + 1 {
			h, err := t.p.run.Engine().NewHidden(t.p.m, pack.batch.Len())
			if err != nil {
				return err
			}
			pack.states = append(pack.states, h)
		}
		if err := embed.Forward(ctx, &pack.batch, pack.states[0]); err != nil {
			return fmt.Errorf("embedding: %w", err)
		}
	}
	for i, l := range t.p.layers {
		layer, err := set.Layer(ctx, l)
		if err != nil {
			return err
		}
		if i+1 < len(t.p.layers) {
			set.Ahead(t.p.layers[i+1])
		}
		for _, pack := range t.packs {
			if err := layer.Forward(ctx, t.call(pack, i), pack.states[i], pack.states[i+1]); err != nil {
				return fmt.Errorf("layer %d: %w", l, err)
			}
		}
		set.Done(l)
		t.done(tell, 1)
	}
	return nil
}

// loss sets what leaves the last layer to its gradient.
func (t *taylor) loss(ctx context.Context, set *resident.Set) error {
	head, err := set.Head()
	if err != nil {
		return err
	}
	for _, pack := range t.packs {
		last := pack.states[len(t.p.layers)]
		loss, err := head.(engine.TrainHead).Loss(ctx, last, pack.targets, pack.weights, last)
		if err != nil {
			return fmt.Errorf("head: %w", err)
		}
		if !finite(loss) {
			return fmt.Errorf("the loss is %g: a weight or hidden state is not finite (metric %s names the layer)", loss, BI)
		}
	}
	return nil
}

// layer takes gradients back through the i-th layer run and scores it.
func (t *taylor) layer(ctx context.Context, i int) (sum norms, err error) {
	e, m, l := t.p.run.Engine(), t.p.m, t.p.layers[i]
	trained := &engine.Trained{Tensors: map[string]engine.Trainable{}}
	defer func() {
		for _, x := range trained.Tensors {
			x.Release()
		}
	}()
	var scored []model.Weight
	for _, w := range m.Spec.LayerWeights(l) {
		if w.IsBias() {
			continue
		}
		scored = append(scored, w)
		if trained.Tensors[w.Name], err = e.(engine.Trainer).NewTrainable(w.Name, w.Shape, engine.TrainableOptions{NoMoments: true}); err != nil {
			return sum, err
		}
		if err := trained.Tensors[w.Name].Write(ctx, engine.Master, 0, storedValues(m, w)); err != nil {
			return sum, err
		}
	}
	layer, err := e.Fetch(m, l, engine.LayerOptions{Options: engine.Options{Trained: trained}}).Wait(ctx)
	if err != nil {
		return sum, err
	}
	defer layer.Release()
	last := len(t.p.layers)
	for _, pack := range t.packs {
		d := pack.states[last]
		if err := layer.(engine.TrainLayer).Backward(ctx, t.call(pack, i), pack.states[i], d, d); err != nil {
			return sum, err
		}
	}
	for _, w := range scored {
		part, err := salience(ctx, m, w, trained.Tensors[w.Name])
		if err != nil {
			return sum, err
		}
		sum.l1, sum.l2 = sum.l1+part.l1, sum.l2+part.l2
	}
	return sum, nil
}

// storedValues are a weight's values as float32.
func storedValues(m *model.Model, w model.Weight) []float32 {
	info, _ := m.Source.Tensor(w.Name)
	raw, err := m.Source.Data(w.Name)
	values := make([]float32, w.Elements())
	if err == nil { // model.Check has seen the tensor
		number.Widen(values, raw, info.DType)
	}
	return values
}

// salience adds |w g| and (w g)² up over a tensor.
func salience(ctx context.Context, m *model.Model, w model.Weight, x engine.Trainable) (norms, error) {
	values, grad := storedValues(m, w), make([]float32, w.Elements())
	if err := x.Read(ctx, engine.Gradient, 0, grad); err != nil {
		return norms{}, err
	}
	parts := make([]norms, (len(grad)+chunkElements-1)/chunkElements)
	parallel(len(parts), func(i int) {
		lo, hi := i*chunkElements, min((i+1)*chunkElements, len(grad))
		for j, g := range grad[lo:hi] {
			parts[i].add(float64(g) * float64(values[lo+j]))
		}
	})
	var sum norms
	for _, p := range parts {
		sum.l1, sum.l2 = sum.l1+p.l1, sum.l2+p.l2
	}
	if math.IsNaN(sum.l1) || math.IsInf(sum.l2, 0) {
		return sum, fmt.Errorf("tensor %s has a NaN or Inf weight or gradient", w.Name)
	}
	return sum, nil
}

// names are those of the metrics that share the work.
func (t *taylor) names() (names []string) {
	for _, metric := range t.p.metrics {
		if slices.Contains([]string{Taylor, TaylorL2}, metric.Name) {
			names = append(names, metric.Name)
		}
	}
	return names
}
