package world

import (
	"iter"
	"slices"
	"strings"
)

// Told is how often rows tell each fact of a kind.
type Told struct {
	Kind  string
	Times map[string]int // by what identifies a fact
}

// Range is the fewest, the middle and the most of the times.
func (t Told) Range() (fewest, median, most int) {
	times := make([]int, 0, len(t.Times))
	for _, n := range t.Times {
		times = append(times, n)
	}
	slices.Sort(times)
	return times[0], times[len(times)/2], times[len(times)-1]
}

// sign is what a row that tells a fact has: a word, and what stands beside it.
type sign struct {
	kind       int
	fact, word string
	beside     string
}

// Told counts in how many rows each fact is told. A row that lists answers under
// letters tells none, since it names wrong ones, too; nor do stories of two people.
func (w *World) Told(rows iter.Seq[string]) []Told {
	out, signs := w.signs()
	for row := range rows {
		if strings.Contains(row, "\nA. ") || strings.Contains(row, "Once ") {
			continue
		}
		words := strings.FieldsFunc(row, func(r rune) bool { return strings.ContainsRune(" .,:?\n", r) })
		text := " " + strings.Join(words, " ") + " "
		slices.Sort(words)
		for _, word := range slices.Compact(words) {
			for _, s := range signs[word] {
				if strings.Contains(text, " "+s.beside+" ") {
					out[s.kind].Times[s.fact]++
				}
			}
		}
	}
	return out
}

// signs are those of all facts by their words, and the kinds of facts, none of
// which has been told.
func (w *World) signs() ([]Told, map[string][]sign) {
	var kinds []Told
	signs := map[string][]sign{}
	kind := func(name string) { kinds = append(kinds, Told{name, map[string]int{}}) }
	add := func(fact, word, beside string) {
		last := len(kinds) - 1
		kinds[last].Times[fact] = 0
		signs[word] = append(signs[word], sign{last, fact, word, beside})
	}
	for _, s := range w.kinds() {
		for _, part := range []struct {
			name   string
			lo, hi int
		}{{s.name + ", asked about", s.held, s.n}, {s.name + ", held out", 0, s.held}} {
			kind(part.name)
			for _, f := range s.facts(part.lo, part.hi) {
				add(f.entity+" "+f.value, f.entity, f.value)
			}
		}
	}
	kind("animals by size")
	for _, a := range animals() {
		for _, beside := range []string{"larger", "smaller", "largest", "smallest"} {
			add(a, a, beside)
		}
	}
	kind("tools of jobs")
	for _, j := range jobs() {
		add(j.name, j.name, "works with the "+j.tool)
	}
	kind("ways to do things")
	for _, way := range ways() {
		add(way.verb, way.verb, "Use a "+way.tool)
	}
	kind("what one in need does")
	for _, n := range needs() {
		add(n.name, n.state, n.act)
	}
	kind("sums")
	for a := range digits {
		for b := range digits {
			sum := numbers()[a] + " plus " + numbers()[b]
			add(sum, "plus", sum)
		}
	}
	return kinds, signs
}
