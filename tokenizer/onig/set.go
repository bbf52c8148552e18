package onig

import (
	"slices"
	"unicode"
)

// span is a range of characters, both ends inside.
type span struct{ lo, hi rune }

// set is a set of characters: sorted spans that do not touch.
type set struct {
	spans []span
	ascii [128]bool
}

func newSet(spans []span) *set {
	s := &set{spans: merged(spans)}
	for _, p := range s.spans {
		for r := p.lo; r <= p.hi && r < 128; r++ {
			s.ascii[r] = true
		}
	}
	return s
}

func (s *set) has(r rune) bool {
	if r < 128 {
		return s.ascii[r]
	}
	lo, hi := 0, len(s.spans)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if s.spans[mid].hi < r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s.spans) && s.spans[lo].lo <= r
}

// merged sorts spans and joins those that touch.
func merged(spans []span) []span {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b span) int { return int(a.lo - b.lo) })
	out := spans[:0]
	for _, p := range spans {
		if n := len(out); n > 0 && p.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, p.hi)
			continue
		}
		out = append(out, p)
	}
	return out
}

// complement is what merged spans leave out.
func complement(spans []span) []span {
	var out []span
	next := rune(0)
	for _, p := range spans {
		if next < p.lo {
			out = append(out, span{next, p.lo - 1})
		}
		next = p.hi + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, span{next, unicode.MaxRune})
	}
	return out
}

// intersection is what two merged lists share.
func intersection(a, b []span) []span {
	var out []span
	for i, j := 0, 0; i < len(a) && j < len(b); {
		lo, hi := max(a[i].lo, b[j].lo), min(a[i].hi, b[j].hi)
		if lo <= hi {
			out = append(out, span{lo, hi})
		}
		if a[i].hi < b[j].hi {
			i++
		} else {
			j++
		}
	}
	return out
}

// tables joins Unicode's tables.
func tables(all ...*unicode.RangeTable) []span {
	var out []span
	add := func(lo, hi, stride rune) {
		if stride == 1 {
			out = append(out, span{lo, hi})
			return
		}
		for r := lo; r <= hi; r += stride {
			out = append(out, span{r, r})
		}
	}
	for _, t := range all {
		for _, r := range t.R16 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
		for _, r := range t.R32 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
	}
	return merged(out)
}

// folded adds the characters that differ in case alone.
func folded(spans []span) []span {
	out := slices.Clone(spans)
	for _, p := range spans {
		for r := p.lo; r <= min(p.hi, lastCased); r++ {
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				out = append(out, span{f, f})
			}
		}
	}
	return merged(out)
}

// lastCased is beyond the last character that has a case.
const lastCased = 0x1ffff

// unfolds lists the characters that fold to more than one, as ß does to ss.
func unfolds() []span {
	return []span{
		{0xdf, 0xdf}, {0x130, 0x130}, {0x149, 0x149}, {0x1f0, 0x1f0}, {0x390, 0x390}, {0x3b0, 0x3b0}, {0x587, 0x587},
		{0x1e96, 0x1e9a}, {0x1e9e, 0x1e9e}, {0x1f50, 0x1f50}, {0x1f52, 0x1f52}, {0x1f54, 0x1f54}, {0x1f56, 0x1f56},
		{0x1f80, 0x1faf}, {0x1fb2, 0x1fb4}, {0x1fb6, 0x1fb7}, {0x1fbc, 0x1fbc}, {0x1fc2, 0x1fc4}, {0x1fc6, 0x1fc7},
		{0x1fcc, 0x1fcc}, {0x1fd2, 0x1fd3}, {0x1fd6, 0x1fd7}, {0x1fe2, 0x1fe4}, {0x1fe6, 0x1fe7}, {0x1ff2, 0x1ff4},
		{0x1ff6, 0x1ff7}, {0x1ffc, 0x1ffc}, {0xfb00, 0xfb06}, {0xfb13, 0xfb17},
	}
}

// foldsTogether reports whether two characters in a row may be what one other folds to. It says yes too often, for
// marks above all.
func foldsTogether(a, b rune) bool {
	a, b = unicode.ToLower(a), unicode.ToLower(b)
	if a < 128 && b < 128 {
		switch string([]rune{a, b}) {
		case "ss", "ff", "fi", "fl", "st":
			return true
		}
		return false
	}
	return unicode.Is(unicode.M, b) || a == 0x2bc || b == 0x2be || b == 0x3b9 ||
		unicode.Is(unicode.Armenian, a) && unicode.Is(unicode.Armenian, b) || a == 0x17f || b == 0x17f
}
