//go:build !nopurego && linux && (amd64 || arm64)

package cuda

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/model"
)

var _ engine.Pinner = (*Engine)(nil)

// pins are pages of mapped files that the driver holds in memory, from which the
// device copies by itself.
type pins struct {
	mu     sync.Mutex
	ranges []span // ascending, none that overlap
}

// span is memory of the process, from one address to another.
type span struct{ from, to uintptr }

// spanOf is where bytes lie.
func spanOf(raw []byte) span { return span{addressOf(raw), addressOf(raw) + uintptr(len(raw))} }

// cut cuts bytes at the ends of ranges; nil unless they all lie in some.
func (p *pins) cut(raw []byte) (pieces [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := spanOf(raw)
	for _, r := range p.ranges {
		if r.from <= rest.from && rest.from < r.to && rest.from < rest.to {
			n := min(r.to, rest.to) - rest.from
			pieces = append(pieces, raw[:n])
			raw, rest.from = raw[n:], rest.from+n
		}
	}
	if len(raw) > 0 {
		return nil
	}
	return pieces
}

// without is what of a span lies in none of the ranges.
func (p *pins) without(s span) (out []span) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.ranges {
		if r.to <= s.from || r.from >= s.to {
			continue
		}
		if r.from > s.from {
			out = append(out, span{s.from, r.from})
		}
		s.from = min(r.to, s.to)
	}
	if s.from < s.to {
		out = append(out, s)
	}
	return out
}

func (p *pins) add(s span) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ranges = append(p.ranges, s)
	slices.SortFunc(p.ranges, func(a, b span) int { return cmp.Compare(a.from, b.from) })
}

func (p *pins) remove(s span) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ranges = slices.DeleteFunc(p.ranges, func(r span) bool { return r == s })
}

// Pin implements engine.Pinner. Only pages of shared mappings are registered: a driver
// was seen to hang on those of a private one.
func (e *Engine) Pin(m *model.Model, i int) (release func()) {
	const name = "Pin"
	shared := sharedMappings()
	var held []span
	for _, w := range m.Spec.LayerWeights(i) {
		raw, _, err := m.Stored(w)
		if err != nil || len(raw) == 0 {
			continue
		}
		page := uintptr(os.Getpagesize())
		s := spanOf(raw)
		s.from, s.to = s.from/page*page, (s.to+page-1)/page*page
		if !within(s, shared) {
			continue
		}
		m.Source.Populate(w.Name)
		for _, part := range e.pins.without(s) {
			// One that the driver refuses is copied as without.
			if e.w.do(name, func() error { return e.d.do(e.d.hostRegister, part.from, part.to-part.from, registerReadOnly) }) == nil {
				e.pins.add(part)
				held = append(held, part)
			}
		}
	}
	return func() {
		_ = e.w.do(name, func() error { return e.d.do(e.d.streamSync, e.copies) })
		for _, s := range held {
			e.pins.remove(s)
			_ = e.w.do(name, func() error { return e.d.do(e.d.hostUnregister, s.from) })
		}
	}
}

// sharedMappings lists the process's memory that is mapped from files for all to see,
// neighbours as one.
func sharedMappings() (out []span) {
	raw, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil
	}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		var s span
		var mode string
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &s.from, &s.to, &mode); n < 3 || len(mode) < 4 || mode[0] != 'r' || mode[3] != 's' {
			continue
		}
		if n := len(out); n > 0 && out[n-1].to == s.from {
			out[n-1].to = s.to
		} else {
			out = append(out, s)
		}
	}
	return out
}

// within says whether a span lies in one of a list.
func within(s span, list []span) bool {
	return slices.ContainsFunc(list, func(l span) bool { return l.from <= s.from && s.to <= l.to })
}
