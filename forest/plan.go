package forest

import (
	"context"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/model"
)

// Cost is what a call takes, known before it runs.
type Cost struct {
	// Passes is how many times weights pass by: more than one where memory does
	// not hold the states of all variants for all tokens beside a layer.
	Passes int
	// Loads is how many times a layer is brought in, over all passes. Layers that
	// stay in memory count once a pass, too, though they cost nothing.
	Loads int
	// TokenLayers is how many layers are computed, each for one token; HeadRows
	// how many rows meet the head.
	TokenLayers, HeadRows int64
	// Resident says that the layers stay in memory between passes.
	Resident bool
	// Memory is what all of that takes at its peak, in bytes: an upper bound.
	// It exceeds Options.Memory only where a single sequence beside a single
	// layer does.
	Memory int64
}

// Add sums up calls that follow one another.
func (c *Cost) Add(o Cost) {
	c.Resident = o.Resident && (c.Resident || c.Passes == 0)
	c.Passes += o.Passes
	c.Loads += o.Loads
	c.TokenLayers += o.TokenLayers
	c.HeadRows += o.HeadRows
	c.Memory = max(c.Memory, o.Memory)
}

// Priced is a planned call, which may be run: the variants in parts, each with
// the groups of work that flow through it together. It is good until the Runner
// is closed, and may be run more than once.
type Priced struct {
	r     *Runner
	work  []Work
	parts []part
	need  need
	cost  Cost
}

// Price plans a call without running it. Errors: layers that do not exist and
// batches that do not hold together.
func (r *Runner) Price(variants []Variant, work []Work) (*Priced, error) {
	if len(variants) == 0 {
		return nil, fmt.Errorf("there are no variants")
	}
	variants = slices.Clone(variants)
	for i := range variants {
		layers, err := r.list(variants[i].Layers)
		if err != nil {
			return nil, err
		}
		variants[i].Layers = layers
	}
	if err := r.check(work); err != nil {
		return nil, err
	}
	p := &Priced{r: r, work: work, need: r.need(variants, work)}
	p.split(variants)
	p.cost = p.count()
	return p, nil
}

// Cost is what Run will take.
func (p *Priced) Cost() Cost { return p.cost }

// RunOptions belong to one call.
type RunOptions struct {
	// Progress, if set, is told how much of the call's work is done, in
	// token-layers; a row of the head counts as one. It is called from one
	// goroutine at a time.
	Progress func(done, total int64)
}

// Run evaluates what was planned, see Runner.Run.
func (p *Priced) Run(ctx context.Context, o RunOptions) error {
	run := &pass{Priced: p, progress: o.Progress, total: p.cost.TokenLayers + p.cost.HeadRows}
	if run.progress == nil {
		run.progress = func(int64, int64) {}
	}
	return run.run(ctx)
}

// pass is a planned call under way.
type pass struct {
	*Priced
	progress    func(done, total int64)
	done, total int64 // token-layers; a row of the head counts as one
}

// part is a set of variants that run together.
type part struct {
	variants []Variant
	trie     *trie
	schedule schedule
	fit      fit
	groups   [][2]int // of work, from and to
}

// split makes one part of the variants or, where the states of all of them do
// not fit for even one Work, parts that each fit.
func (p *Priced) split(variants []Variant) {
	t := newTrie(variants)
	s := newSchedule(t)
	f := p.r.fit(p.need, s.slots)
	if n := len(variants); f.over && n > 1 && !(n == 2 && variants[1].Divergence != nil) {
		first, second := halve(variants)
		p.split(first)
		p.split(second)
		return
	}
	p.parts = append(p.parts, part{variants: variants, trie: t, schedule: s, fit: f, groups: groups(p.work, f.tokens)})
}

// halve cuts a list of variants in two. What divergences are measured from
// stands first in both halves; it is observed and scored only once.
func halve(variants []Variant) (first, second []Variant) {
	n := len(variants)
	against := slices.ContainsFunc(variants, func(v Variant) bool { return v.Divergence != nil })
	if !against {
		return variants[:n/2], variants[n/2:]
	}
	cut := 1 + (n-1)/2
	return variants[:cut], append([]Variant{{Layers: variants[0].Layers}}, variants[cut:]...)
}

// groups cuts work into runs of at most so many tokens, or of one Work.
func groups(work []Work, most int) (out [][2]int) {
	for first := 0; first < len(work); {
		end, tokens := first, 0
		for end < len(work) && (end == first || tokens+work[end].Batch.Len() <= most) {
			tokens += work[end].Batch.Len()
			end++
		}
		out = append(out, [2]int{first, end})
		first = end
	}
	return out
}

func (p *Priced) count() Cost {
	c := Cost{Resident: p.parts[0].fit.keep}
	for i := range p.parts {
		part := &p.parts[i]
		c.Passes += len(part.groups)
		c.Loads += len(part.groups) * part.schedule.loads
		c.TokenLayers += int64(part.schedule.moves) * p.need.tokens
		c.HeadRows += int64(part.projections()) * p.need.targetRows
		c.Memory = max(c.Memory, part.fit.memory)
	}
	return c
}

// projections counts how often the states of all work meet the head: once for
// every end that wants scores; for divergences once each, and the first variant.
func (p *part) projections() (n int) {
	divergences := 0
	for _, e := range p.schedule.ends {
		if p.wants(e, false) {
			n++
		}
		if p.wants(e, true) {
			divergences++
		}
	}
	if divergences > 0 {
		divergences++
	}
	return n + divergences
}

// wants says whether a variant that ends here wants scores, or divergences.
func (p *part) wants(e end, divergence bool) bool {
	for _, v := range p.trie.nodes[e.node].scored {
		variant := &p.variants[v]
		if divergence && variant.Divergence != nil || !divergence && variant.Scores != nil {
			return true
		}
	}
	return false
}

// need is what a call wants memory for, whatever is decided.
type need struct {
	layers     []int // used, each once
	tokens     int64 // of all work
	longest    int   // tokens of the largest Work
	rows       []int // distinct rows that the targets of each Work name
	targetRows int64 // their sum
	head       bool
	holds      [2]int64 // what variants keep, with one group and with several
}

func (r *Runner) need(variants []Variant, work []Work) need {
	var n need
	for _, v := range variants {
		n.layers = append(n.layers, v.Layers...)
		n.head = n.head || v.Scores != nil || v.Divergence != nil
		n.holds[0] += v.Holds
		n.holds[1] += max(v.Holds, v.HoldsAcross)
	}
	slices.Sort(n.layers)
	n.layers = slices.Compact(n.layers)
	for i := range work {
		n.tokens += int64(work[i].Batch.Len())
		n.longest = max(n.longest, work[i].Batch.Len())
		n.rows = append(n.rows, len(work[i].rows()))
		n.targetRows += int64(n.rows[i])
	}
	return n
}

// fit is how a part is made to fit into memory.
type fit struct {
	keep   bool  // the layers stay
	ahead  bool  // the next layer is mapped while one computes
	rows   int   // most rows a call of the engine takes, if not a single Work is larger
	tokens int   // most tokens in flight, if not a single Work is larger
	memory int64 // what all takes at its peak
	over   bool  // more than allowed
	holds  int64 // of that, what the variants' functions keep
}

// spare is for what is too small or too fickle to count: descriptions of work,
// scores, pages at the edges of tensors.
const spare = 16 << 20

// fit decides what is resident and how much is in flight, for a number of
// states that live at the same time. In order of preference: layers that stay,
// since every later pass is then free; as few passes as possible; the next
// layer read ahead into memory.
func (r *Runner) fit(n need, slots int) fit {
	var best fit
	for i, f := range []fit{{keep: true}, {ahead: true}, {}} {
		r.fill(&f, n, slots)
		switch {
		case i == 0 && !f.over:
			return f
		case i <= 1 || best.over || passes(n, f) < passes(n, best):
			best = f
		}
	}
	return best
}

func passes(n need, f fit) int64 { return (n.tokens + int64(f.tokens) - 1) / int64(f.tokens) }

// fill finds the rows and tokens that go with what f keeps.
func (r *Runner) fill(f *fit, n need, slots int) {
	*f = fit{keep: f.keep, ahead: f.ahead, holds: n.holds[0]}
	if r.measure(f, n, slots); int64(f.tokens) >= n.tokens || n.holds[0] == n.holds[1] {
		return
	}
	*f = fit{keep: f.keep, ahead: f.ahead, holds: n.holds[1]}
	r.measure(f, n, slots)
}

func (r *Runner) measure(f *fit, n need, slots int) {
	perToken := int64(slots) * int64(r.m.Spec.Hidden) * 4
	f.rows = max(r.opt.BatchTokens, n.longest)
	f.tokens = int(min(n.tokens, int64(max(n.longest, groupTokens(r.opt.BatchTokens, slots)))))
	if r.opt.Memory == 0 {
		f.memory = r.fixed(f, n) + perToken*int64(f.tokens)
		return
	}
	// An eighth of the memory is work space enough.
	f.rows = max(n.longest, min(f.rows, int(r.opt.Memory/8/max(1, r.engineMemory.Row))))
	free := (r.opt.Memory - r.fixed(f, n)) / perToken
	switch {
	case free < int64(n.longest):
		f.over, f.tokens = true, n.longest
	case f.keep:
		f.tokens = int(min(free, int64(f.tokens)))
	default:
		f.tokens = int(min(free, n.tokens))
	}
	f.memory = r.fixed(f, n) + perToken*int64(f.tokens)
}

// groupTokens is how many tokens are in flight where passes cost nothing: few,
// so that states stay in caches, and enough for a layer to run well on one slot.
func groupTokens(batch, slots int) int {
	return min(batch, max(batch/4, 4*batch/slots))
}

// fixed is the memory that does not grow with the tokens in flight.
func (r *Runner) fixed(f *fit, n need) int64 {
	e := r.engineMemory
	work := e.Fixed + e.Row*int64(f.rows) + f.holds + spare
	top := r.topBytes(n)
	if f.keep {
		weights := top
		for _, l := range union(n.layers, r.residentLayers()) {
			weights += r.layerBytes(l)
		}
		return work + weights + r.transientBytes(n)
	}
	layer := int64(0)
	for _, l := range n.layers {
		layer = max(layer, r.mappedBytes(l))
	}
	window := layer + e.Layer
	if f.ahead {
		window += layer
	}
	// Embedding, layers and head come one after the other.
	return work + max(window, min(top, int64(f.rows)*embeddingPages))
}

// embeddingPages is what looking up one token may map: the kernel maps pages
// around a fault, 64 KiB at a time.
const embeddingPages = 64 << 10

// topBytes are the mapped bytes of the embedding and, where it is used, the head.
func (r *Runner) topBytes(n need) int64 {
	var sum int64
	for _, w := range r.m.Spec.TopWeights() {
		if w.Role == model.Embedding || n.head {
			sum += r.bytes(w)
		}
	}
	return sum
}

// mappedBytes are a layer's bytes in the files.
func (r *Runner) mappedBytes(layer int) int64 {
	var sum int64
	for _, w := range r.m.Spec.LayerWeights(layer) {
		sum += r.bytes(w)
	}
	return sum
}

func (r *Runner) bytes(w model.Weight) int64 {
	t, _ := r.m.Source.Tensor(w.Name)
	return t.Bytes
}

// layerBytes is what a layer takes that stays: its pages, or the engine's copy.
func (r *Runner) layerBytes(layer int) int64 {
	if r.engineMemory.Layer > 0 {
		return r.engineMemory.Layer
	}
	return r.mappedBytes(layer)
}

// transientBytes is what bringing a layer in takes for a moment.
func (r *Runner) transientBytes(n need) int64 {
	if r.engineMemory.Layer == 0 {
		return 0
	}
	return r.mappedBytes(n.layers[0])
}

func union(a, b []int) []int {
	all := slices.Sorted(slices.Values(append(slices.Clone(a), b...)))
	return slices.Compact(all)
}
