package forest

import "slices"

// schedule is the order in which a trie is computed and where its states lie:
// slots are equal parts of one block of hidden states. It is decided before
// anything runs, so that its cost and memory are known.
type schedule struct {
	steps []step
	slots int   // that live at the same time, at most
	ends  []end // states that wait for the head, by slot
	moves int   // layers computed, each for all the work
	loads int   // layers brought in: steps whose layer is not the one before's
}

// step is one layer and all the nodes that wait for it when it comes in.
type step struct {
	layer int
	moves []move // by source slot
}

// move computes one node: the layer takes its parent's state in slot src to
// its own in slot dst, the same one where nobody needs the parent's any more.
type move struct{ node, src, dst int }

type end struct{ slot, node int }

// newSchedule tries each way of choosing the next layer and takes the one that
// brings layers in least often, then the one that holds fewest states.
func newSchedule(t *trie) schedule {
	below := t.below()
	var best schedule
	for i, choose := range []chooser{lowest, heaviest} {
		s := walk(t, below, choose)
		if i == 0 || s.loads < best.loads || s.loads == best.loads && s.slots < best.slots {
			best = s
		}
	}
	return best
}

// chooser picks a node to compute next among those that wait; all that wait for
// the same layer go with it. below is what trie.below counts.
type chooser func(t *trie, waiting, below []int) int

// lowest goes from the first layer to the last, which brings every layer in
// once when all lists are ascending.
func lowest(t *trie, waiting, _ []int) int {
	return slices.MinFunc(waiting, func(a, b int) int { return t.nodes[a].layer - t.nodes[b].layer })
}

// heaviest takes the layer before which most work waits, so that lists in other
// orders catch up with each other (the majority-merge heuristic for shortest
// common supersequences).
func heaviest(t *trie, waiting, below []int) int {
	weight := map[int]int{}
	for _, n := range waiting {
		weight[t.nodes[n].layer] += below[n]
	}
	return slices.MinFunc(waiting, func(a, b int) int {
		x, y := t.nodes[a].layer, t.nodes[b].layer
		if weight[x] != weight[y] {
			return weight[y] - weight[x]
		}
		return x - y
	})
}

// walk simulates the pass.
func walk(t *trie, below []int, choose chooser) schedule {
	w := walker{t: t, slot: make([]int, len(t.nodes)), pending: make([]int, len(t.nodes))}
	w.slot[0] = w.take()
	w.arrive(0)
	for last := -1; len(w.waiting) > 0; {
		layer := t.nodes[choose(t, w.waiting, below)].layer
		if layer != last {
			w.out.loads++
		}
		last = layer
		w.step(layer)
	}
	slices.SortFunc(w.out.ends, func(a, b end) int { return a.slot - b.slot })
	return w.out
}

type walker struct {
	t       *trie
	out     schedule
	waiting []int // nodes whose parent's state is there
	pending []int // children that a node's state is still needed for
	slot    []int // of each node's state
	free    []int // slots, ascending
}

// arrive notes that a node's state has been computed.
func (w *walker) arrive(n int) {
	here := &w.t.nodes[n]
	w.waiting = append(w.waiting, here.children...)
	w.pending[n] = len(here.children)
	if len(here.scored) > 0 {
		w.out.ends = append(w.out.ends, end{slot: w.slot[n], node: n})
	}
}

// step computes every node that waits for the layer.
func (w *walker) step(layer int) {
	var now, later, freed []int
	for _, n := range w.waiting {
		if w.t.nodes[n].layer == layer {
			now = append(now, n)
		} else {
			later = append(later, n)
		}
	}
	w.waiting = later
	s := step{layer: layer}
	for _, n := range now {
		src := w.slot[w.t.nodes[n].parent]
		last := w.leave(w.t.nodes[n].parent)
		dst := src
		if !last || w.t.nodes[n].watched {
			dst = w.take()
		}
		if last && dst != src {
			freed = append(freed, src)
		}
		w.slot[n] = dst
		s.moves = append(s.moves, move{node: n, src: src, dst: dst})
	}
	w.out.moves += len(now)
	slices.SortFunc(s.moves, func(a, b move) int { return a.src - b.src })
	w.out.steps = append(w.out.steps, s)
	for _, slot := range freed { // only now: a step's moves must not meet
		w.release(slot)
	}
	for _, n := range now {
		w.arrive(n)
		if n := n; len(w.t.nodes[n].children) == 0 && len(w.t.nodes[n].scored) == 0 {
			w.release(w.slot[n])
		}
	}
}

// leave says that a child of n is computed, and whether n's state is then free.
func (w *walker) leave(n int) (last bool) {
	w.pending[n]--
	return w.pending[n] == 0 && len(w.t.nodes[n].scored) == 0
}

// take returns the lowest free slot: neighbours run as one batch.
func (w *walker) take() int {
	if len(w.free) == 0 {
		w.out.slots++
		return w.out.slots - 1
	}
	slot := w.free[0]
	w.free = w.free[1:]
	return slot
}

func (w *walker) release(slot int) {
	at, _ := slices.BinarySearch(w.free, slot)
	w.free = slices.Insert(w.free, at, slot)
}
