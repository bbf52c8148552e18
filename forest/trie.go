package forest

import "slices"

// trie holds the lists of layers of a call, common prefixes once. Node 0 is the
// root, the embedding's output; every other node is the state after one layer.
type trie struct{ nodes []node }

type node struct {
	layer    int // that leads from the parent here
	depth    int // layers from the root to here
	parent   int
	children []int // in order of first appearance

	through []int // variants that pass or end here
	scored  []int // variants that end here and want the head
	watched bool  // a variant that is observed passes here
}

// newTrie adds the variants in order; lists have been validated.
func newTrie(variants []Variant) *trie {
	t := &trie{nodes: []node{{layer: -1, parent: -1}}}
	against := slices.ContainsFunc(variants, func(v Variant) bool { return v.Divergence != nil })
	for v, variant := range variants {
		at := 0
		for _, l := range variant.Layers {
			at = t.child(at, l)
			t.nodes[at].through = append(t.nodes[at].through, v)
			t.nodes[at].watched = t.nodes[at].watched || variant.Observe != nil
		}
		if variant.Scores != nil || variant.Divergence != nil || against && v == 0 {
			t.nodes[at].scored = append(t.nodes[at].scored, v)
		}
	}
	return t
}

// child finds or adds the node that a layer leads to.
func (t *trie) child(parent, layer int) int {
	for _, c := range t.nodes[parent].children {
		if t.nodes[c].layer == layer {
			return c
		}
	}
	t.nodes = append(t.nodes, node{layer: layer, depth: t.nodes[parent].depth + 1, parent: parent})
	c := len(t.nodes) - 1
	t.nodes[parent].children = append(t.nodes[parent].children, c)
	return c
}

// below counts the layers of every node's subtree, itself included: [nodes].
func (t *trie) below() []int {
	n := make([]int, len(t.nodes))
	for i := len(t.nodes) - 1; i > 0; i-- { // children come after their parents
		n[i]++
		n[t.nodes[i].parent] += n[i]
	}
	return n
}
