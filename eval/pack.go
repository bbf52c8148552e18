package eval

import (
	"cmp"
	"slices"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/forest"
)

// Packed are sequences cut into batches of trees: what sequences begin with in
// common stands there once, and their branches attend to it. Rows whose logits
// nobody asks for never reach the head.
type Packed struct {
	Work  []forest.Work
	spans [][]span // by batch, of its targets
}

// span are the targets [lo, hi) of a batch that score one sequence.
type span struct{ seq, lo, hi int }

// minShared is how many tokens sequences must begin with in common to be put
// into one tree: a branch costs a look-up of its parent in every layer.
const minShared = 4

// Pack puts sequences into batches of about batchTokens tokens. Those of one
// group (a document's) stay together unless they are more than a batch; groups
// go in order of their longest sequence, the longest first, so that work that
// is too large for the memory shows at once and time estimates err on the safe
// side. Equal beginnings are shared across groups too.
//
// What a sequence scores does not depend on the packing, to the last bit.
func Pack(seqs []Sequence, groups []int, batchTokens int) *Packed {
	p := &Packed{}
	var t *tree
	for _, g := range order(seqs, groups) {
		for i := 0; i < len(g); {
			if t == nil {
				t = newTree()
			}
			n := len(g)
			if i > 0 {
				n = i + 1
			}
			if t.tokens > 0 && t.tokens+t.cost(seqs, g[i:n]) > batchTokens {
				p.add(t, seqs)
				t = nil
				continue
			}
			t.insert(seqs[g[i]], g[i])
			i++
		}
	}
	if t != nil {
		p.add(t, seqs)
	}
	return p
}

// Response is what a model says to a request.
type Response struct {
	LogProb float64 // natural logarithm, of the whole continuation
	Greedy  bool    // every token of it was the likeliest
	Text    string  // of an answer the model wrote
}

// Collect adds the scores of batch i's targets to the responses of its
// sequences, which begin as {Greedy: true}.
func (p *Packed) Collect(i int, scores []engine.TokenScore, into []Response) {
	for _, s := range p.spans[i] {
		r := &into[s.seq]
		for _, score := range scores[s.lo:s.hi] {
			r.LogProb += score.LogProb
			r.Greedy = r.Greedy && score.Greedy
		}
	}
}

// Tokens is how many tokens the batches hold.
func (p *Packed) Tokens() int {
	n := 0
	for i := range p.Work {
		n += p.Work[i].Batch.Len()
	}
	return n
}

// Rows is how many rows reach the head.
func (p *Packed) Rows() int {
	n := 0
	for i := range p.Work {
		seen := map[int]bool{}
		for _, t := range p.Work[i].Targets {
			seen[t.Row] = true
		}
		n += len(seen)
	}
	return n
}

// order gives the sequences of each group, groups by their longest sequence.
func order(seqs []Sequence, groups []int) [][]int {
	var out [][]int
	at := map[int]int{}
	for i := range seqs {
		g, ok := at[groups[i]]
		if !ok {
			g = len(out)
			at[groups[i]] = g
			out = append(out, nil)
		}
		out[g] = append(out[g], i)
	}
	longest := func(g []int) int {
		n := 0
		for _, i := range g {
			n = max(n, len(seqs[i].Tokens))
		}
		return n
	}
	slices.SortStableFunc(out, func(a, b []int) int { return cmp.Compare(longest(b), longest(a)) })
	return out
}

// tree holds the inputs of sequences: a trie whose nodes are runs of tokens.
type tree struct {
	roots  []*node
	tokens int
	seqs   []leaf
}

// node is a run of tokens after its parent's.
type node struct {
	choice   int // of the sequences that go through it
	parent   *node
	tokens   []int32
	children []*node
	segment  int // once laid out
}

// leaf is a sequence and where its inputs end.
type leaf struct {
	seq int
	end *node
}

func newTree() *tree { return &tree{} }

// inputs are the tokens of a sequence that go through the model.
func (s Sequence) inputs() []int32 { return s.Tokens[:len(s.Tokens)-1] }

// insert adds a sequence.
func (t *tree) insert(s Sequence, seq int) {
	rest := s.inputs()
	n, shared := t.root(s.Choice, rest)
	if n == nil {
		n = &node{choice: s.Choice, tokens: rest}
		t.roots = append(t.roots, n)
		t.tokens += len(rest)
		t.seqs = append(t.seqs, leaf{seq, n})
		return
	}
	for {
		if shared < len(n.tokens) {
			n = t.split(n, shared)
		}
		if rest = rest[shared:]; len(rest) == 0 {
			break
		}
		child, common := best(n.children, s.Choice, rest)
		if common == 0 {
			child = &node{choice: s.Choice, parent: n, tokens: rest}
			n.children = append(n.children, child)
			t.tokens += len(rest)
			n = child
			break
		}
		n, shared = child, common
	}
	t.seqs = append(t.seqs, leaf{seq, n})
}

// root finds the root that begins like the tokens, if enough is shared.
func (t *tree) root(choice int, tokens []int32) (*node, int) {
	n, shared := best(t.roots, choice, tokens)
	if shared < minShared && (n == nil || shared < len(n.tokens) || shared < len(tokens)) {
		return nil, 0
	}
	return n, shared
}

// best is the node of a choice that shares most with the tokens.
func best(nodes []*node, choice int, tokens []int32) (found *node, shared int) {
	for _, n := range nodes {
		if c := common(n.tokens, tokens); n.choice == choice && c > shared {
			found, shared = n, c
		}
	}
	return found, shared
}

func common(a, b []int32) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// split cuts a node after n tokens; what ended at it still does. It returns the
// part before the cut.
func (t *tree) split(n *node, at int) *node {
	upper := &node{choice: n.choice, parent: n.parent, tokens: n.tokens[:at], children: []*node{n}}
	siblings := &t.roots
	if n.parent != nil {
		siblings = &n.parent.children
	}
	(*siblings)[slices.Index(*siblings, n)] = upper
	n.parent, n.tokens = upper, n.tokens[at:]
	return upper
}

// cost is how many tokens the sequences would add.
func (t *tree) cost(seqs []Sequence, which []int) int {
	probe := newTree()
	var base []int32
	for _, i := range which {
		in := seqs[i].inputs()
		if base == nil {
			base = in[:t.matched(seqs[i].Choice, in)]
		}
		probe.insert(seqs[i], i)
	}
	return probe.tokens - len(base)
}

// matched is how much of the tokens the tree holds already.
func (t *tree) matched(choice int, tokens []int32) int {
	n, shared := t.root(choice, tokens)
	total := 0
	for n != nil && shared > 0 {
		total += shared
		if shared < len(n.tokens) {
			break
		}
		n, shared = best(n.children, choice, tokens[total:])
	}
	return total
}

// add lays a tree out as a batch.
func (p *Packed) add(t *tree, seqs []Sequence) {
	var w forest.Work
	for _, root := range t.roots {
		root.layOut(&w.Batch, engine.NoParent)
	}
	var spans []span
	for _, l := range t.seqs {
		s := seqs[l.seq]
		lo := len(w.Targets)
		w.Targets = append(w.Targets, targets(&w.Batch, l.end, s)...)
		spans = append(spans, span{l.seq, lo, len(w.Targets)})
	}
	w.Sequences = t.sequences(len(w.Batch.Segments))
	p.Work, p.spans = append(p.Work, w), append(p.spans, spans)
}

// layOut adds a node and those below as segments.
func (n *node) layOut(b *engine.Batch, parent int) {
	n.segment = b.Add(n.tokens, parent)
	for _, c := range n.children {
		c.layOut(b, n.segment)
	}
}

// sequences name a sequence for each segment of the tree laid out, the first of
// those that share it.
func (t *tree) sequences(segments int) []int {
	out := make([]int, segments)
	for _, l := range slices.Backward(t.seqs) {
		for n := l.end; n != nil; n = n.parent {
			out[n.segment] = l.seq
		}
	}
	return out
}

// targets are the rows that predict the scored tokens of a sequence, in order.
func targets(b *engine.Batch, end *node, s Sequence) []engine.Target {
	out := make([]engine.Target, s.Scored)
	next := len(out)
	for n := end; next > 0; n = n.parent {
		at := b.Segments[n.segment]
		for row := at.Start + at.Len - 1; row >= at.Start && next > 0; row-- {
			next--
			out[next] = engine.Target{Row: row, Token: s.Tokens[len(s.Tokens)-s.Scored+next]}
		}
	}
	return out
}
