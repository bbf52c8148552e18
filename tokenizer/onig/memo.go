package onig

// program says what a program is run for, which decides what is remembered of a match.
type program uint8

const (
	inMain   program = iota // the pattern itself: nothing, the search goes on behind the match
	inLook                  // whether it matches
	inAtomic                // up to where
)

// memo records, for places of the program (states) and of the text, that nothing can come of them, or what does.
// Whether a program matches from a state on depends on the state and the place alone. All its methods take nil.
type memo struct {
	states int
	pages  map[int]*page // by place / pageSize
	lowest int           // page
	ends   map[int]int   // of states of atomic programs that match
	trail  []int         // the states on the way to here, which have not failed yet
	end    int           // of the known match that enter found
	runs   []stretch     // by state of opHold
}

const pageSize = 1 << 10

// page has two bits for every state and place: visited, and leads to a match.
type page struct{ bits []uint64 }

type stretch struct{ from, to int }

func newMemo(re *Regexp) *memo {
	return &memo{states: re.states, pages: make(map[int]*page), ends: make(map[int]int), runs: make([]stretch, re.atomic)}
}

func (m *memo) mark() int {
	if m == nil {
		return 0
	}
	return len(m.trail)
}

func (m *memo) cut(trail int) {
	if m != nil {
		m.trail = m.trail[:trail]
	}
}

// bit is the word and the shift of a state's two bits.
func (m *memo) bit(key int) (*uint64, uint) {
	pos, state := key/m.states, key%m.states
	p := m.pages[pos/pageSize]
	if p == nil {
		p = &page{make([]uint64, (2*m.states*pageSize+63)/64)}
		m.pages[pos/pageSize] = p
	}
	at := 2 * (pos%pageSize*m.states + state)
	return &p.bits[at/64], uint(at % 64)
}

// enter visits a state: pos the first time, failed if nothing came of it before, known if something did.
func (m *memo) enter(state, pos int) int {
	key := pos*m.states + state
	word, shift := m.bit(key)
	switch *word >> shift & 3 {
	case 0:
		*word |= 1 << shift
		m.trail = append(m.trail, key)
		return pos
	case 1:
		return failed
	}
	m.end = pos
	if end, ok := m.ends[key]; ok {
		m.end = end
	}
	return known
}

// succeed notes that the states from a place of the trail on lead to a match.
func (m *memo) succeed(trail, end int, kind program) {
	if m == nil {
		return
	}
	for _, key := range m.trail[trail:] {
		word, shift := m.bit(key)
		switch kind {
		case inMain:
			*word &^= 3 << shift
		case inAtomic:
			m.ends[key] = end
			*word |= 2 << shift
		case inLook:
			*word |= 2 << shift
		}
	}
	m.trail = m.trail[:trail]
}

// forget gives up what lies so far before pos that not even a look behind goes there.
func (m *memo) forget(pos int) {
	for ; m.lowest < (pos-4*maxProgram)/pageSize; m.lowest++ {
		delete(m.pages, m.lowest)
	}
}
