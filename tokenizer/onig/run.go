package onig

import "unicode/utf8"

// machine finds matches in one text.
type machine struct {
	re    *Regexp
	text  string
	stack []choice
	steps int
	memo  *memo // nil while a plain search pays
}

// choice is where to go on when the present try fails: at every character boundary from at down to low.
type choice struct {
	pc, at, low int
	trail       int // of the memo
}

// plainSteps is what a text may cost before failures are recorded, in steps a byte.
const plainSteps = 64

// What stands for a position where there is none.
const (
	failed = -1
	costly = -2 // the plain search gives up
	known  = -3 // the memo knows that the program matches
)

// search finds the first match that begins at pos or later; from is -1 if there is none.
func (m *machine) search(pos int) (from, to int) {
	for {
		if m.re.first != nil {
			if pos = m.skip(pos); pos == len(m.text) {
				return -1, -1
			}
		}
		if m.memo != nil {
			m.memo.forget(pos)
		}
		to := m.run(m.re.start, pos, inMain)
		if to == costly {
			m.stack, m.memo = m.stack[:0], newMemo(m.re)
			continue
		}
		if to >= 0 {
			return pos, to
		}
		if pos >= len(m.text) {
			return -1, -1
		}
		_, n := utf8.DecodeRuneInString(m.text[pos:])
		pos += n
	}
}

// skip goes to the next character that a match can begin with.
func (m *machine) skip(pos int) int {
	for pos < len(m.text) {
		if m.after(m.re.first, pos) >= 0 {
			return pos
		}
		_, n := utf8.DecodeRuneInString(m.text[pos:])
		pos += n
	}
	return pos
}

// after is the end of a character of the set at pos.
func (m *machine) after(s *set, pos int) int {
	if pos >= len(m.text) {
		return failed
	}
	if b := m.text[pos]; b < utf8.RuneSelf {
		if s.ascii[b] {
			return pos + 1
		}
		return failed
	}
	r, n := utf8.DecodeRuneInString(m.text[pos:])
	if !s.has(r) {
		return failed
	}
	return pos + n
}

// before is the boundary of characters before pos.
func (m *machine) before(pos int) int {
	_, n := utf8.DecodeLastRuneInString(m.text[:pos])
	return pos - n
}

// run matches the program at pc from pos on and returns the end of the match.
func (m *machine) run(pc, pos int, kind program) int {
	base, trail := len(m.stack), m.memo.mark()
	for {
		in := &m.re.prog[pc]
		m.steps++
		if in.op == opMatch {
			return m.done(base, trail, pos, kind)
		}
		pc, pos = m.step(pc, pos, in)
		switch {
		case pos >= 0:
			continue
		case pos == known:
			return m.done(base, trail, m.memo.end, kind)
		case pos == costly, m.memo == nil && m.steps > plainSteps*(len(m.text)+plainSteps):
			return costly
		case len(m.stack) == base:
			m.memo.cut(trail)
			return failed
		}
		pc, pos = m.back()
	}
}

// step does one instruction and says where to go on.
func (m *machine) step(pc, pos int, in *inst) (int, int) {
	switch in.op {
	case opChar:
		return in.next, m.after(in.set, pos)
	case opJoin:
		return in.next, m.enter(in, pos)
	case opSplit:
		if pos = m.enter(in, pos); pos >= 0 {
			m.push(in.other, pos, pos)
		}
		return in.next, pos
	case opRun:
		return m.greedy(pc, pos, in)
	case opHold:
		return in.next, m.hold(in, pos)
	case opAnchor:
		if !m.holds(in.kind, pos) {
			return in.next, failed
		}
		return in.next, pos
	case opAtomic:
		return in.next, m.run(in.other, pos, inAtomic)
	}
	return in.next, m.look(in, pos)
}

// done ends a program that matched.
func (m *machine) done(base, trail, end int, kind program) int {
	m.stack = m.stack[:base]
	m.memo.succeed(trail, end, kind)
	return end
}

func (m *machine) push(pc, at, low int) {
	m.stack = append(m.stack, choice{pc, at, low, m.memo.mark()})
}

// back takes the last choice.
func (m *machine) back() (pc, pos int) {
	top := &m.stack[len(m.stack)-1]
	pc, pos = top.pc, top.at
	m.memo.cut(top.trail)
	if pos == top.low {
		m.stack = m.stack[:len(m.stack)-1]
	} else {
		top.at = m.before(pos)
	}
	return pc, pos
}

// enter asks the memo about a state.
func (m *machine) enter(in *inst, pos int) int {
	if m.memo == nil {
		return pos
	}
	return m.memo.enter(in.state, pos)
}

// greedy takes all characters of a set and leaves the choice of fewer; with a memo it takes one, as each place is a
// state.
func (m *machine) greedy(pc, pos int, in *inst) (int, int) {
	if m.memo != nil {
		if pos = m.memo.enter(in.state, pos); pos < 0 {
			return pc, pos
		}
		end := m.after(in.set, pos)
		if end < 0 {
			return in.next, pos
		}
		m.push(in.next, pos, pos)
		return pc, end
	}
	end := m.run1(in.set, pos)
	if end > pos {
		m.push(in.next, m.before(end), pos)
		m.steps += (end - pos) / 4
	}
	return in.next, end
}

// run1 is the end of the characters of a set from pos on.
func (m *machine) run1(s *set, pos int) int {
	for {
		end := m.after(s, pos)
		if end < 0 {
			return pos
		}
		pos = end
	}
}

// hold is the end of a run that gives nothing back. With a memo the last run is remembered: every place inside
// has the same end.
func (m *machine) hold(in *inst, pos int) int {
	if m.memo != nil {
		if r := m.memo.runs[in.state]; r.from <= pos && pos < r.to {
			return r.to
		}
	}
	end := m.run1(in.set, pos)
	m.steps += (end - pos) / 4
	if m.memo != nil {
		m.memo.runs[in.state] = stretch{pos, end}
	}
	return end
}

// look asks whether other programs match here.
func (m *machine) look(in *inst, pos int) int {
	found := false
	if in.op == opLook {
		end := m.run(in.other, pos, inLook)
		if end == costly {
			return costly
		}
		found = end >= 0
	}
	for _, b := range in.behind {
		start := pos
		for n := 0; n < b.length && start >= 0; n++ {
			if start == 0 {
				start = failed
				break
			}
			start = m.before(start)
		}
		if start < 0 || found {
			continue
		}
		end := m.run(b.start, start, inLook)
		if end == costly {
			return costly
		}
		found = end >= 0
	}
	if found == in.negate {
		return failed
	}
	return pos
}

// holds reports whether a place is of a kind.
func (m *machine) holds(kind anchorKind, pos int) bool {
	end := len(m.text)
	switch kind {
	case lineStart: // a line break at the very end begins no line
		return pos == 0 || pos < end && m.text[pos-1] == '\n'
	case lineEnd:
		return pos == end || m.text[pos] == '\n'
	case textStart:
		return pos == 0
	case textEnd:
		return pos == end
	case textEndLine:
		return pos == end || pos == end-1 && m.text[pos] == '\n'
	}
	left := pos > 0 && m.re.isWord(m.text[m.before(pos):])
	right := pos < end && m.re.isWord(m.text[pos:])
	return (left != right) == (kind == wordEdge)
}

func (re *Regexp) isWord(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return re.word.has(r)
}
