package onig

import "fmt"

type opcode uint8

const (
	opMatch  opcode = iota
	opChar          // a character of the set, then next
	opSplit         // next, or else other
	opRun           // characters of the set, as many as there are, and fewer if it must be; then next
	opHold          // characters of the set, as many as there are
	opJoin          // where several ways meet
	opAnchor        // a place
	opAtomic        // the program at other, its first match
	opLook          // the program at other matches here, or does not
	opBehind        // one of behind matches up to here, or none does
)

// inst is an instruction. state numbers the places that failures are recorded for.
type inst struct {
	op     opcode
	kind   anchorKind
	negate bool
	next   int
	other  int
	state  int
	set    *set
	behind []back
}

// back is a program for a text of a fixed number of characters.
type back struct{ start, length int }

type compiler struct{ re Regexp }

func compile(root node) (*Regexp, error) {
	if size(root) > maxProgram {
		return nil, fmt.Errorf("the pattern, its counted repeats written out: %w (at most %d steps)", ErrUnsupported, maxProgram)
	}
	var c compiler
	c.re.word = newSet(wordAlone())
	c.re.start = c.program(root)
	c.re.first = first(root)
	c.re.least = least(root)
	return &c.re, nil
}

// size is the number of instructions a node becomes, or something above maxProgram.
func size(n node) int {
	sum := 1
	add := func(parts []node) {
		for _, p := range parts {
			if sum += size(p) + 1; sum > maxProgram {
				return
			}
		}
	}
	switch n := n.(type) {
	case cat:
		add(n.parts)
	case alt:
		add(n.parts)
	case atomic:
		return size(n.body) + 2
	case look:
		return size(n.body) + 2
	case repeat:
		return min((size(n.body)+1)*max(n.min+1, n.max), maxProgram) + sum
	}
	return min(sum, maxProgram+1)
}

func (c *compiler) emit(i inst) int {
	switch i.op {
	case opSplit, opRun, opJoin:
		i.state = c.re.states
		c.re.states++
	case opHold:
		i.state = c.re.atomic
		c.re.atomic++
	}
	c.re.prog = append(c.re.prog, i)
	return len(c.re.prog) - 1
}

// node writes the instructions of n, which go on at next, and returns where they begin.
func (c *compiler) node(n node, next int) int {
	switch n := n.(type) {
	case chars:
		return c.emit(inst{op: opChar, set: n.set, next: next})
	case cat:
		for i := len(n.parts) - 1; i >= 0; i-- {
			next = c.node(n.parts[i], next)
		}
		return next
	case alt:
		return c.alternatives(n.parts, next)
	case anchor:
		return c.emit(inst{op: opAnchor, kind: n.kind, next: next})
	case atomic:
		return c.atomic(n, next)
	case look:
		return c.look(n, next)
	case repeat:
		return c.repeat(n, next)
	}
	return next
}

func (c *compiler) alternatives(parts []node, next int) int {
	if len(parts) == 0 {
		return c.emit(inst{op: opChar, set: newSet(nil), next: next})
	}
	if len(parts) > 1 {
		next = c.join(next)
	}
	at := c.node(parts[len(parts)-1], next)
	for i := len(parts) - 2; i >= 0; i-- {
		at = c.emit(inst{op: opSplit, next: c.node(parts[i], next), other: at})
	}
	return at
}

// join makes a state of a place where several ways meet, so that what follows is tried once.
func (c *compiler) join(next int) int {
	switch c.re.prog[next].op {
	case opMatch, opSplit, opRun, opJoin:
		return next
	}
	return c.emit(inst{op: opJoin, next: next})
}

// program writes a program of its own.
func (c *compiler) program(n node) int { return c.node(n, c.emit(inst{op: opMatch})) }

func (c *compiler) atomic(n atomic, next int) int {
	if r, ok := n.body.(repeat); ok && !r.lazy && r.max < 0 {
		if one, ok := r.body.(chars); ok {
			at := c.emit(inst{op: opHold, set: one.set, next: next})
			for range r.min {
				at = c.emit(inst{op: opChar, set: one.set, next: at})
			}
			return at
		}
	}
	return c.emit(inst{op: opAtomic, other: c.program(n.body), next: next})
}

func (c *compiler) look(n look, next int) int {
	if !n.behind {
		return c.emit(inst{op: opLook, negate: n.negate, other: c.program(n.body), next: next})
	}
	i := inst{op: opBehind, negate: n.negate, next: next}
	for _, part := range n.body.(alt).parts {
		chars, _ := length(part)
		i.behind = append(i.behind, back{c.program(part), chars})
	}
	return c.emit(i)
}

// repeat writes the rounds out: those that must be, then those that may.
func (c *compiler) repeat(n repeat, next int) int {
	at := next
	if n.max < 0 {
		at = c.star(n, next)
	} else if n.max > n.min {
		next = c.join(next)
		at = next
		for range n.max - n.min {
			at = c.maybe(n, c.node(n.body, at), next)
		}
	}
	for range n.min {
		at = c.node(n.body, at)
	}
	return at
}

func (c *compiler) star(n repeat, next int) int {
	if one, ok := n.body.(chars); ok && !n.lazy {
		return c.emit(inst{op: opRun, set: one.set, next: next})
	}
	at := c.emit(inst{op: opSplit})
	round := c.node(n.body, at)
	c.re.prog[at].next, c.re.prog[at].other = round, next
	if n.lazy {
		c.re.prog[at].next, c.re.prog[at].other = next, round
	}
	return at
}

func (c *compiler) maybe(n repeat, round, next int) int {
	if n.lazy {
		return c.emit(inst{op: opSplit, next: next, other: round})
	}
	return c.emit(inst{op: opSplit, next: round, other: next})
}

// first is what a match of n begins with, nil where that is not known.
func first(n node) *set {
	if nullable(n) {
		return nil
	}
	switch n := n.(type) {
	case chars:
		return n.set
	case atomic:
		return first(n.body)
	case repeat:
		return first(n.body)
	case alt:
		var all []span
		for _, p := range n.parts {
			one := first(p)
			if one == nil {
				return nil
			}
			all = append(all, one.spans...)
		}
		return newSet(all)
	case cat:
		return firstOf(n.parts)
	}
	return nil
}

func firstOf(parts []node) *set {
	var all []span
	for _, p := range parts {
		if zeroWidth(p) {
			continue
		}
		if !nullable(p) {
			one := first(p)
			if one == nil {
				return nil
			}
			return newSet(append(all, one.spans...))
		}
		r, ok := p.(repeat)
		if !ok {
			return nil
		}
		one := first(r.body)
		if one == nil {
			return nil
		}
		all = append(all, one.spans...)
	}
	return nil
}
