package resident

import (
	"fmt"
	"slices"

	"github.com/coppice-ml/coppice/engine"
)

// Need is what a walk wants memory for, whatever is decided. Counts are of tokens
// unless they say otherwise.
type Need struct {
	Layers []int // used; more than once where the walk repeats one
	Head   bool  // whether the head is used

	Tokens  int64 // of all work
	Longest int   // that must be in flight together
	Batch   int   // that one call of the engine takes, if Longest is not more
	States  int   // hidden states of every token in flight that live at once
	// Group is how many in flight are enough where layers stream: a walk that keeps
	// what it has finished after each group wants small ones. 0: all that fit.
	Group int64
	// Together: all tokens are in flight at once, whatever the size of a group.
	Together bool

	Cached int64 // in the caches of every layer used
	Holds  Holds // bytes that others keep in the host's memory

	Backward bool  // whether calls go backwards too
	Many     bool  // whether calls of many rows are all there is, see engine.LayerOptions
	Tapes    int   // layers whose tapes are kept for every token in flight
	Trained  int64 // parameters that train
}

// Holds are bytes kept while all tokens are in flight at once, and while they come
// in several groups, each of which passes all layers before the next.
type Holds struct{ One, Several int64 }

// HoldAlways are bytes kept however tokens come.
func HoldAlways(bytes int64) Holds { return Holds{bytes, bytes} }

// Fit is how a walk is made to fit into memory.
type Fit struct {
	Keep   bool // layers stay
	Many   bool // and are laid out for calls of many rows
	Ahead  bool // the next layer is brought in while one computes; else only into the system's cache of files
	Rows   int  // most rows a call of the engine takes, if not a single piece of work is larger
	Tokens int  // most tokens in flight, if not a single piece of work is larger
	// Peak is what all of it takes, an upper bound, and Over says that this is more
	// than allowed: one layer and the longest piece of work run nevertheless.
	Peak Budget
	Over bool

	counted []int // layers, if they stay
	staying []int // layers that stay where not all do
	pinned  []int // layers that stream and whose pages of files stay, see engine.Pinner
	outside int64 // of Peak.Host: not on Go's heap
}

// Plan decides what is resident and how much is in flight. In order of
// preference: layers that stay, since every later walk is then free; as few walks
// over the layers as possible; the next layer brought in while one computes.
//
// What memory of the host is left over keeps some of the layers that stream, or where
// the engine takes pages of them, those pages.
func (s *Set) Plan(n Need) Fit {
	f := s.plan(n)
	if f.Keep || f.Over {
		return f
	}
	host, budget := s.host(false), s.o.Budget.Host
	each, some := host.stays, &f.staying
	if _, pins := s.e.(engine.Pinner); pins {
		each, some = host.comes, &f.pinned
	} else if s.memory.Device.Layer > 0 {
		return f
	}
	for _, i := range s.counted(n) {
		if each == 0 || budget > 0 && f.Peak.Host+each > budget {
			break
		}
		*some = append(*some, i)
		f.Peak.Host, f.outside = f.Peak.Host+each, f.outside+each
	}
	return f
}

func (s *Set) plan(n Need) Fit {
	for _, many := range []bool{n.Many, false} {
		if keep := s.fitting(n, Fit{Keep: true, Many: many}); !keep.Over {
			return keep
		}
	}
	ahead, alone := s.fitting(n, Fit{Ahead: true}), s.fitting(n, Fit{})
	if ahead.Over || alone.groups(n) < ahead.groups(n) {
		return alone
	}
	return ahead
}

// stays says whether layer i does.
func (f Fit) stays(i int) bool {
	if f.Keep {
		return slices.Contains(f.counted, i)
	}
	return slices.Contains(f.staying, i)
}

func (f Fit) groups(n Need) int64 { return (n.Tokens + int64(f.Tokens) - 1) / int64(f.Tokens) }

// fitting finds the rows and tokens that go with what f keeps.
func (s *Set) fitting(n Need, f Fit) Fit {
	one := s.measure(n, f, n.Holds.One)
	if int64(one.Tokens) >= n.Tokens || n.Holds.One == n.Holds.Several {
		return one
	}
	return s.measure(n, f, n.Holds.Several)
}

func (s *Set) measure(n Need, f Fit, holds int64) Fit {
	f.counted = s.counted(n)
	f.Rows = max(n.Batch, n.Longest)
	for _, m := range s.memories(f.Many) {
		if row := m.row(n); m.budget > 0 && row > 0 { // an eighth of the memory is work space enough
			f.Rows = max(n.Longest, min(f.Rows, int(m.budget/8/row)))
		}
	}
	tokens := n.Tokens
	switch {
	case f.Keep || s.o.Budget == (Budget{}):
		tokens = min(tokens, int64(groupTokens(n.Batch, n.States)))
	case n.Group > 0:
		tokens = min(tokens, n.Group)
	}
	least := int64(n.Longest)
	if n.Together {
		least = n.Tokens
	}
	tokens = min(max(tokens, least), n.Tokens)
	for _, m := range s.memories(f.Many) {
		if m.budget == 0 {
			continue
		}
		free := m.budget - m.fixed(s, n, f, holds)
		if each := m.token(n); each > 0 {
			free /= each
		} else if free >= 0 {
			free = tokens
		}
		if free < least {
			f.Over, free = true, least
		}
		tokens = min(tokens, free)
	}
	f.Tokens = int(tokens)
	for _, m := range s.memories(f.Many) {
		*m.peak(&f.Peak) = m.fixed(s, n, f, holds) + m.token(n)*tokens
	}
	f.outside = s.host(f.Many).weights(s, n, f)
	return f
}

// Remedy says what would do for a walk that takes more than is allowed: how much of
// which memory, and how many tokens together what is allowed is enough for. It is
// empty where the plan keeps to what is allowed.
func (s *Set) Remedy(n Need, f Fit) string {
	const mib = 1 << 20
	for _, m := range s.memories(f.Many) {
		peak := *m.peak(&f.Peak)
		if m.budget == 0 || peak <= m.budget {
			continue
		}
		flag, held := "--device-memory", int64(0)
		if m.host {
			flag, held = "--memory", s.o.Held
			peak += held + held/8 // which is never the same twice
		}
		out := fmt.Sprintf("%s %dMiB is enough for %d tokens together", flag, (peak+mib-1)/mib, n.Longest)
		f.Rows = 0
		if each := m.row(n) + m.token(n); each > 0 {
			if fits := (m.budget - m.fixed(s, n, f, n.Holds.One)) / each; fits > 0 {
				out += fmt.Sprintf(", and the %d MiB allowed for %d", (m.budget+held)/mib, fits)
			}
		}
		return out
	}
	return ""
}

// groupTokens is how many tokens are in flight where walks cost nothing: few, so
// that states stay in caches, and enough for a layer to run well on one state.
func groupTokens(batch, states int) int {
	return min(batch, max(batch/4, 4*batch/max(states, 1)))
}

// counted are the layers that stay where layers stay: the walk's and those there.
func (s *Set) counted(n Need) []int {
	all := slices.Sorted(slices.Values(append(slices.Clone(n.Layers), s.Layers()...)))
	return slices.Compact(all)
}

// memory is one of the two.
type memory struct {
	engine.Need
	budget int64
	host   bool
	stays  int64 // bytes that a layer takes of this memory as long as it is there
	comes  int64 // while it comes in beyond those
	ahead  int64 // that one on its way takes
}

func (s *Set) host(many bool) memory {
	need := s.memory.Host
	if many {
		need = s.many.Host
	}
	m := memory{Need: need, budget: s.o.Budget.Host, host: true, ahead: need.Mapped}
	if need.Layer == 0 && s.memory.Device.Layer == 0 { // used where it is mapped
		m.stays = need.Mapped
	} else {
		m.stays, m.comes = need.Layer, need.Mapped
	}
	return m
}

func (s *Set) memories(many bool) [2]memory {
	need := s.memory.Device
	return [2]memory{s.host(many), {Need: need, budget: s.o.Budget.Device, stays: need.Layer, ahead: need.Layer}}
}

func (m memory) peak(b *Budget) *int64 {
	if m.host {
		return &b.Host
	}
	return &b.Device
}

// row is the work space for each row of a call, forward and back.
func (m memory) row(n Need) int64 {
	if n.Backward {
		return max(m.Row, m.Back)
	}
	return m.Row
}

// token is what each token in flight takes.
func (m memory) token(n Need) int64 {
	return int64(n.States)*m.Hidden + int64(n.Tapes)*m.Tape
}

// fixed is what does not grow with the tokens in flight.
func (m memory) fixed(s *Set, n Need, f Fit, holds int64) int64 {
	sum := m.Fixed + m.row(n)*int64(f.Rows) + m.KVToken*n.Cached*int64(len(n.Layers)) + m.Trained*n.Trained
	if n.Backward {
		sum += m.FixedBack
	}
	if m.host {
		sum += holds + spare
	}
	return sum + m.weights(s, n, f)
}

// spare is for what is too small or too fickle to count: descriptions of work,
// scores, pages at the edges of tensors.
const spare = 16 << 20

// weights is what the model's parts take.
func (m memory) weights(s *Set, n Need, f Fit) int64 {
	top := m.Embedding
	if n.Head || s.head != nil && !s.headStreams {
		top += m.Head
	}
	if f.Keep {
		return top + m.stays*int64(len(f.counted)) + m.comes
	}
	window := m.stays + m.comes
	if f.Ahead {
		window += m.ahead
	}
	if m.Lookup == 0 { // they do not stream
		return window + top
	}
	// Embedding, layers and head come one after the other.
	return max(window, min(top, int64(f.Rows)*m.Lookup))
}
