package stage

import (
	"context"
	"fmt"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/internal/doctor"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

// healFit is how healing is made to fit into memory.
type healFit struct {
	resident bool // the layers stay
	tapes    bool // what layers computed is kept for their backward pass
	group    int  // most tokens in flight
	memory   int64
}

// healNeed is what healing wants memory for, whatever is decided.
type healNeed struct {
	layers, depths int   // that run; that gradients go through
	micro, batch   int   // tokens of a micro-batch; of all samples of a step
	fixed          int64 // what trains, embedding and head, work space
	layer, row     int64 // one layer; one row's states
	tape           int64 // one row of all tapes
	embed          bool  // gradients reach the embedding
	hidden         int64
}

func (j *healJob) need() healNeed {
	m := j.s.Engine.Memory(j.s.Model, engine.LayerOptions{}).Host
	n := healNeed{layers: len(j.kept), depths: len(j.kept) - max(0, j.chosen.Low), micro: j.options.MicroTokens, embed: j.chosen.Low < 0, hidden: m.Hidden}
	longest := 0
	for _, s := range j.data.train {
		longest = max(longest, len(s.Tokens))
	}
	n.micro = max(n.micro, longest)
	n.batch = longest * j.options.BatchSize
	n.layer = max(m.Layer, m.Mapped)
	n.row = int64(n.depths+2) * m.Hidden
	n.tape = int64(n.depths) * m.Tape
	n.fixed = m.Fixed + max(m.Row, m.Back)*int64(n.micro) + j.chosen.Parameters(j.Rank)*m.Trained + topBytes(j.s.Model)
	if n.embed {
		n.fixed += int64(n.batch) * m.Hidden
	}
	return n
}

// topBytes is what embedding and head hold of their files.
func topBytes(m *model.Model) (n int64) {
	for _, w := range m.Spec.TopWeights() {
		if t, ok := m.Source.Tensor(w.Name); ok {
			n += t.Bytes
		}
	}
	return n
}

// fit chooses, in order of speed: layers stay and keep what they computed; they
// compute it anew; they pass by, for as many tokens at a time as fit.
func (n healNeed) fit(memory int64) (healFit, bool) {
	one := int64(n.micro)
	all := n.fixed + int64(n.layers)*n.layer
	for _, f := range []healFit{
		{resident: true, tapes: true, group: n.micro, memory: all + one*(n.row+n.tape)},
		{resident: true, group: n.micro, memory: all + one*n.row},
	} {
		if memory == 0 || f.memory <= memory {
			return f, true
		}
	}
	streaming := n.fixed + 2*n.layer
	tokens := (memory - streaming) / max(1, n.row)
	f := healFit{group: int(min(max(tokens, one), int64(max(n.batch, n.micro))))}
	f.memory = streaming + int64(f.group)*n.row
	return f, tokens >= one
}

// arrange decides how healing fits into memory, or says what would.
func (j *healJob) arrange() error {
	n := j.need()
	bound := j.left()
	f, ok := n.fit(bound)
	if !ok {
		p := failed("{memory}: healing needs %s, and %s may be used", report.FormatBytes(f.memory), report.FormatBytes(bound))
		switch {
		case j.Method == heal.Full:
			return p.with("pass {memory} %s, or {method} partial", report.FormatBytes(f.memory))
		case n.micro > 512:
			return p.with("pass {memory} %s, or a smaller {micro_batch_tokens}", report.FormatBytes(f.memory))
		}
		return p.with("pass {memory} %s", report.FormatBytes(f.memory))
	}
	j.fit = f
	return nil
}

// left is what of the bound on the process's memory is not in use yet; 0: no bound.
func (j *healJob) left() int64 {
	if j.s.memory == 0 {
		return 0
	}
	resident, _ := doctor.Process()
	return max(1, j.s.memory-resident)
}

// estimate says what healing will take, and asks.
func (j *healJob) estimate(ctx context.Context, r *heal.Run) error {
	trained := j.chosen.Parameters(j.Rank)
	of := j.s.Model.Spec.Parameters() - int64(j.s.Model.Spec.Layers-len(j.kept))*j.s.Model.Spec.LayerParameters()
	layers := "layers stay in memory"
	if !j.fit.resident {
		layers = "layers stream through"
	}
	states := "what they compute is kept"
	if !j.fit.tapes {
		states = "what they compute is computed again"
	}
	j.env.Talk.Note("%s: trains %d of %d parameters (%.2f %%), %s of %s; up to %s of memory (%s, %s), %s of disk",
		j.Method, trained, of, 100*float64(trained)/float64(of), report.Plural(j.options.Steps, "step"), report.Plural(j.options.BatchSize, "sample"),
		report.FormatBytes(j.fit.memory), layers, states, report.FormatBytes(j.disk(trained)))
	done := 0
	if st, _, err := heal.Resumable(j.dir.state(), j.identity); err == nil && st != nil {
		done = st.Step
		j.env.Talk.Note("going on after step %d of %d", done, j.options.Steps)
	}
	cost, err := r.Measure(ctx)
	if err != nil {
		return err
	}
	return j.env.Talk.Consent(ctx, Estimate{What: "healing", Time: r.Total(cost, done)})
}

// disk is what checkpoints and result take.
func (j *healJob) disk(trained int64) int64 {
	n := trained * 12 * int64(j.options.KeepCheckpoints+1)
	if j.Method == heal.LoRA {
		return n + trained*4
	}
	for _, w := range j.s.Model.Spec.TopWeights() {
		n += w.Elements() * j.width(w)
	}
	for _, i := range j.kept {
		for _, w := range j.s.Model.Spec.LayerWeights(i) {
			n += w.Elements() * j.width(w)
		}
	}
	return n + trained*4
}

// width is the bytes of a value of a tensor as it is written.
func (j *healJob) width(w model.Weight) int64 {
	t, ok := j.s.Model.Source.Tensor(w.Name)
	if j.SaveDType == "float32" || !ok {
		return 4
	}
	return int64(t.DType.Size())
}

// healParts has the parts of a model in memory for training.
type healParts struct {
	e       engine.Engine
	m       *model.Model
	trained *engine.Trained
	stay    bool

	embed   engine.Embedding
	head    engine.Head
	layers  map[int]engine.Layer
	fetched map[int]engine.Fetched
}

func newHealParts(e engine.Engine, m *model.Model, trained *engine.Trained, stay bool) *healParts {
	return &healParts{e: e, m: m, trained: trained, stay: stay, layers: map[int]engine.Layer{}, fetched: map[int]engine.Fetched{}}
}

// Embedding implements heal.Parts.
func (p *healParts) Embedding() (engine.Embedding, error) {
	if p.embed == nil {
		e, err := p.e.Embedding(p.m, engine.EmbeddingOptions{Options: engine.Options{Trained: p.trained}, Streams: !p.stay})
		if err != nil {
			return nil, fmt.Errorf("embedding: %w", err)
		}
		p.embed = e
	}
	return p.embed, nil
}

// Head implements heal.Parts.
func (p *healParts) Head() (engine.Head, error) {
	if p.head == nil {
		h, err := p.e.Head(p.m, engine.HeadOptions{Options: engine.Options{Trained: p.trained}, Streams: !p.stay})
		if err != nil {
			return nil, fmt.Errorf("head: %w", err)
		}
		p.head = h
	}
	return p.head, nil
}

// Ahead implements heal.Parts.
func (p *healParts) Ahead(i int) {
	if p.layers[i] == nil && p.fetched[i] == nil {
		p.fetched[i] = p.e.Fetch(p.m, i, engine.LayerOptions{Options: engine.Options{Trained: p.trained}, Streams: !p.stay})
	}
}

// Layer implements heal.Parts.
func (p *healParts) Layer(ctx context.Context, i int) (engine.Layer, error) {
	if l := p.layers[i]; l != nil {
		return l, nil
	}
	p.Ahead(i)
	l, err := p.fetched[i].Wait(ctx)
	if err != nil {
		return nil, err
	}
	delete(p.fetched, i)
	p.layers[i] = l
	return l, nil
}

// Done implements heal.Parts.
func (p *healParts) Done(i int) {
	if l := p.layers[i]; l != nil && !p.stay {
		l.Release()
		delete(p.layers, i)
	}
}

// Close lets everything go.
func (p *healParts) Close() {
	for _, f := range p.fetched {
		f.Drop()
	}
	for _, l := range p.layers {
		l.Release()
	}
	if p.embed != nil {
		p.embed.Release()
	}
	if p.head != nil {
		p.head.Release()
	}
	p.fetched, p.layers, p.embed, p.head = nil, nil, nil, nil
}
