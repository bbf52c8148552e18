package onig

// node is a part of a pattern: one of the types below.
type node interface{}

type (
	chars  struct{ set *set }        // one character
	cat    struct{ parts []node }    // one after the other; none: the empty text
	alt    struct{ parts []node }    // the first that leads to a match
	atomic struct{ body node }       // its first match, and no other
	anchor struct{ kind anchorKind } // a place
	repeat struct {
		body     node
		min, max int // max -1: without end
		lazy     bool
	}
	look struct {
		body           node
		behind, negate bool
	}
)

type anchorKind uint8

const (
	lineStart anchorKind = iota
	lineEnd
	textStart
	textEnd
	textEndLine // before a line break that ends the text, too
	wordEdge
	wordInside
)

// nullable reports whether a node can match the empty text.
func nullable(n node) bool {
	switch n := n.(type) {
	case chars:
		return false
	case cat:
		for _, p := range n.parts {
			if !nullable(p) {
				return false
			}
		}
		return true
	case alt:
		for _, p := range n.parts {
			if nullable(p) {
				return true
			}
		}
		return false
	case atomic:
		return nullable(n.body)
	case repeat:
		return n.min == 0 || nullable(n.body)
	}
	return true
}

// never matches nothing at all.
func never() node { return alt{} }

// filled is a node without its matches of the empty text; the others keep their order. Loops are made of it, since
// a round that matches nothing ends a loop. With greedy the empty match must be the last, for it would end the loop
// before the ones after it are tried.
func filled(n node, greedy bool) (node, bool) {
	if !nullable(n) {
		return n, true
	}
	switch n := n.(type) {
	case cat:
		return filledCat(n.parts, greedy)
	case alt:
		return filledAlt(n.parts, greedy)
	case repeat:
		if n.lazy && greedy {
			return nil, false
		}
		body, ok := filled(n.body, greedy)
		return repeat{body, 1, n.max, n.lazy}, ok
	case anchor, look:
		return never(), true
	}
	return nil, false
}

// filledCat is ab without the empty match: a' b, else b'.
func filledCat(parts []node, greedy bool) (node, bool) {
	if len(parts) == 0 {
		return never(), true
	}
	if len(parts) == 1 {
		return filled(parts[0], greedy)
	}
	head, ok := filled(parts[0], true)
	if !ok {
		return nil, false
	}
	tail, ok := filled(cat{parts[1:]}, greedy)
	if !ok {
		return nil, false
	}
	if zeroWidth(parts[0]) {
		return cat{[]node{parts[0], tail}}, true
	}
	if !optional(parts[0]) {
		return nil, false
	}
	return alt{[]node{cat{[]node{head, cat{parts[1:]}}}, tail}}, true
}

// optional reports whether the empty match of a node depends on nothing around it.
func optional(n node) bool {
	switch n := n.(type) {
	case repeat:
		return n.min == 0 || optional(n.body)
	case cat:
		for _, p := range n.parts {
			if !optional(p) {
				return false
			}
		}
		return true
	case alt:
		for _, p := range n.parts {
			if nullable(p) && optional(p) {
				return true
			}
		}
	}
	return false
}

func zeroWidth(n node) bool {
	switch n.(type) {
	case anchor, look:
		return true
	}
	return false
}

func filledAlt(parts []node, greedy bool) (node, bool) {
	var out []node
	for i, p := range parts {
		if greedy && nullable(p) && i < len(parts)-1 && !zeroWidth(p) {
			return nil, false
		}
		if greedy && zeroWidth(p) && i < len(parts)-1 {
			return nil, false
		}
		full, ok := filled(p, greedy)
		if !ok {
			return nil, false
		}
		out = append(out, full)
	}
	return alt{out}, true
}

// length is the number of characters that every match of a node has; false where they differ.
func length(n node) (int, bool) {
	switch n := n.(type) {
	case chars:
		return 1, true
	case cat:
		sum := 0
		for _, p := range n.parts {
			one, ok := length(p)
			if !ok {
				return 0, false
			}
			sum += one
		}
		return sum, true
	case alt:
		for i, p := range n.parts {
			one, ok := length(p)
			first, _ := length(n.parts[0])
			if !ok || i > 0 && one != first {
				return 0, false
			}
		}
		if len(n.parts) == 0 {
			return 0, true
		}
		return length(n.parts[0])
	case atomic:
		return length(n.body)
	case repeat:
		one, ok := length(n.body)
		return one * n.min, ok && n.min == n.max
	}
	return 0, true
}

// least is the number of characters that a match of n has at least.
func least(n node) int {
	switch n := n.(type) {
	case chars:
		return 1
	case cat:
		sum := 0
		for _, p := range n.parts {
			sum += least(p)
		}
		return sum
	case alt:
		if len(n.parts) == 0 {
			return 0
		}
		low := least(n.parts[0])
		for _, p := range n.parts[1:] {
			low = min(low, least(p))
		}
		return low
	case atomic:
		return least(n.body)
	case repeat:
		return n.min * least(n.body)
	}
	return 0
}
