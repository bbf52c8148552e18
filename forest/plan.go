package forest

import (
	"context"
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/resident"
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
	// Memory is what all of that takes of the host's memory at its peak, in bytes:
	// an upper bound. It exceeds Options.Memory only where a single sequence beside
	// a single layer does. DeviceMemory is the same of a device.
	Memory, DeviceMemory int64
}

// Add sums up calls that follow one another.
func (c *Cost) Add(o Cost) {
	c.Resident = o.Resident && (c.Resident || c.Passes == 0)
	c.Passes += o.Passes
	c.Loads += o.Loads
	c.TokenLayers += o.TokenLayers
	c.HeadRows += o.HeadRows
	c.Memory, c.DeviceMemory = max(c.Memory, o.Memory), max(c.DeviceMemory, o.DeviceMemory)
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
		layers, err := r.set.List(variants[i].Layers)
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
	fit      resident.Fit
	groups   [][2]int // of work, from and to
}

// split makes one part of the variants or, where the states of all of them do
// not fit for even one Work, parts that each fit.
func (p *Priced) split(variants []Variant) {
	t := newTrie(variants)
	s := newSchedule(t)
	f := p.r.set.Plan(p.need.of(s))
	if n := len(variants); f.Over && n > 1 && !(n == 2 && variants[1].Divergence != nil) {
		first, second := halve(variants)
		p.split(first)
		p.split(second)
		return
	}
	p.parts = append(p.parts, part{variants: variants, trie: t, schedule: s, fit: f, groups: groups(p.work, f.Tokens)})
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
	c := Cost{Resident: p.parts[0].fit.Keep}
	for i := range p.parts {
		part := &p.parts[i]
		c.Passes += len(part.groups)
		c.Loads += len(part.groups) * part.schedule.loads
		c.TokenLayers += int64(part.schedule.moves) * p.need.Tokens
		c.HeadRows += int64(part.projections()) * p.need.targetRows
		c.Memory, c.DeviceMemory = max(c.Memory, part.fit.Peak.Host), max(c.DeviceMemory, part.fit.Peak.Device)
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

// need is what a call wants memory for, whatever is decided, and what it asks of
// the head.
type need struct {
	resident.Need
	rows       []int // distinct rows that the targets of each Work name
	targetRows int64 // their sum
}

func (r *Runner) need(variants []Variant, work []Work) need {
	n := need{Need: resident.Need{Batch: r.opt.BatchTokens, Many: r.opt.Trained == nil}}
	for _, v := range variants {
		n.Layers = append(n.Layers, v.Layers...)
		n.Head = n.Head || v.Scores != nil || v.Divergence != nil
		n.Holds.One += v.Holds
		n.Holds.Several += max(v.Holds, v.HoldsAcross)
	}
	slices.Sort(n.Layers)
	n.Layers = slices.Compact(n.Layers)
	for i := range work {
		n.Tokens += int64(work[i].Batch.Len())
		n.Longest = max(n.Longest, work[i].Batch.Len())
		n.rows = append(n.rows, len(work[i].rows()))
		n.targetRows += int64(n.rows[i])
	}
	return n
}

// served is how many tokens a layer is computed for, at least, each time it is
// brought in: many enough that reading it is hidden behind them, few enough that
// an interrupted pass over much data has finished some of it.
const served = 1 << 15

// of is the need of a schedule.
func (n need) of(s schedule) resident.Need {
	n.States = s.slots
	if n.Head && n.Holds.One == n.Holds.Several { // else groups would cost those who watch more memory
		n.Group = max(int64(n.Batch), served*int64(s.loads)/int64(s.moves))
	}
	return n.Need
}
