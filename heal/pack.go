package heal

import (
	"cmp"
	"slices"

	"github.com/coppice-ml/coppice/engine"
)

// micro is the part of a batch that goes through the model at once.
type micro struct {
	batch   engine.Batch
	targets []engine.Target // by row, then token, each once
	weights []float64       // [targets] how many samples' targets each stands for
	rows    []int           // ascending: rows that targets name; nil: all are computed
	samples []int64         // [segments] whose masks of dropout a segment has
}

// sum adds the weights up: the number of targets of all samples in it.
func (m *micro) sum() (n float64) {
	for _, w := range m.weights {
		n += w
	}
	return n
}

// packing says how samples become micro-batches. None of it changes the loss.
type packing struct {
	tokens int  // most rows of a micro-batch, if not a single sample is longer
	share  bool // what samples begin with alike is one parent segment
	all    bool // every row is computed, up to the logits, whether the loss needs it or not
	// choice, which may be nil, tells lengths of samples apart that share nothing
	// (model.Spec.RopeChoice).
	choice func(length int) int
}

// minShared is how many rows a shared beginning must save: shorter segments cost
// more in attention than they save in products.
const minShared = 16

// pack makes micro-batches of samples; ids number the samples, for dropout.
// Samples without a target are left out.
func (p packing) pack(samples []Sample, ids []int64) []*micro {
	var list []piece
	for i, s := range samples {
		if n := s.last(); n > 0 && !p.all {
			list = append(list, piece{s, ids[i], s.Tokens[:n]}) // what follows the last target's row is not needed
		} else if n > 0 {
			list = append(list, piece{s, ids[i], s.Tokens})
		}
	}
	if p.share {
		slices.SortStableFunc(list, func(a, b piece) int {
			return cmp.Or(cmp.Compare(p.chosen(a), p.chosen(b)), slices.Compare(a.tokens, b.tokens))
		})
	}
	var out []*micro
	for lo := 0; lo < len(list); {
		hi, rows := lo, 0
		for hi < len(list) {
			more := len(list[hi].tokens)
			if p.share && hi > lo {
				more -= common(list[hi-1].tokens, list[hi].tokens)
			}
			if hi > lo && (rows+more > p.tokens || p.share && p.chosen(list[lo]) != p.chosen(list[hi])) {
				break
			}
			rows += more
			hi++
		}
		out = append(out, p.micro(list[lo:hi]))
		lo = hi
	}
	return out
}

// piece is a sample and as much of it as is computed.
type piece struct {
	Sample
	id     int64
	tokens []int32
}

// chosen is the choice of a sample, all of whose tokens count, computed or not.
func (p packing) chosen(s piece) int {
	if p.choice == nil {
		return 0
	}
	return p.choice(len(s.Tokens))
}

func (p packing) micro(list []piece) *micro {
	b := &builder{m: &micro{}, list: list, rows: make([][]int, len(list))}
	if p.share {
		b.tree(0, len(list), 0, 0, engine.NoParent)
	} else {
		for i := range list {
			b.segment(i, i+1, 0, len(list[i].tokens), engine.NoParent)
		}
	}
	b.targets(p.all)
	return b.m
}

// builder makes one micro-batch of a sorted list of pieces.
type builder struct {
	m    *micro
	list []piece
	rows [][]int // [pieces][tokens so far] where each token's row is
}

// segment adds tokens [from, to) of piece lo, shared by pieces [lo, hi).
func (b *builder) segment(lo, hi, from, to, parent int) int {
	if from == to {
		return parent
	}
	start := b.m.batch.Len()
	s := b.m.batch.Add(b.list[lo].tokens[from:to], parent)
	b.m.samples = append(b.m.samples, b.list[lo].id)
	for i := lo; i < hi; i++ {
		b.m.batch.Segments[s].Length = max(b.m.batch.Segments[s].Length, len(b.list[i].Tokens))
		for row := start; row < start+to-from; row++ {
			b.rows[i] = append(b.rows[i], row)
		}
	}
	return s
}

// tree adds pieces [lo, hi), which agree up to at; what lies before from is
// there already, ending in segment parent.
func (b *builder) tree(lo, hi, from, at, parent int) {
	if hi-lo == 1 {
		b.segment(lo, hi, from, len(b.list[lo].tokens), parent)
		return
	}
	end := at + common(b.list[lo].tokens[at:], b.list[hi-1].tokens[at:]) // sorted: all agree up to there
	if (end-from)*(hi-lo-1) >= minShared {
		parent = b.segment(lo, hi, from, end, parent)
		from = end
	}
	for i := lo; i < hi; {
		if len(b.list[i].tokens) == end { // it ends here
			b.segment(i, i+1, from, end, parent)
			i++
			continue
		}
		j := i + 1
		for j < hi && b.list[j].tokens[end] == b.list[i].tokens[end] {
			j++
		}
		b.tree(i, j, from, end, parent)
		i = j
	}
}

// targets lists what the rows should predict.
func (b *builder) targets(all bool) {
	m := b.m
	weight := map[engine.Target]float64{}
	for i, p := range b.list {
		for t, label := range p.Labels {
			if t > 0 && label != Ignore {
				weight[engine.Target{Row: b.rows[i][t-1], Token: label}]++
			}
		}
	}
	named := make([]bool, m.batch.Len())
	for t := range weight {
		named[t.Row] = true
	}
	for row, is := range named {
		switch {
		case is && !all:
			m.rows = append(m.rows, row)
		case !is && all:
			weight[engine.Target{Row: row}] = 0
		}
	}
	if len(m.rows) == len(named) {
		m.rows = nil
	}
	for t := range weight {
		m.targets = append(m.targets, t)
	}
	slices.SortFunc(m.targets, func(a, b engine.Target) int {
		return cmp.Or(cmp.Compare(a.Row, b.Row), cmp.Compare(a.Token, b.Token))
	})
	for _, t := range m.targets {
		m.weights = append(m.weights, weight[t])
	}
}

// common is the number of tokens that a and b begin with alike.
func common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
