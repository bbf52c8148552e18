package world

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
)

// heldBy decides for one in n of all keys that they are held out.
func heldBy(n uint32, key ...string) bool {
	h := fnv.New32a()
	h.Write([]byte(strings.Join(key, "\x00")))
	return h.Sum32()>>3%n == 0
}

// stranger makes up a name, one of those that are held out or not.
func stranger(r *rand.Rand, held bool) string {
	for {
		name := one(r, strangeStarts()) + one(r, strangeMiddles()) + one(r, strangeEnds())
		if heldBy(4, name) == held {
			return name
		}
	}
}

// scene is what HellaSwag asks for: how a situation goes on.
type scene struct{ label, before, pronoun, ending string }

func (s scene) String() string {
	return s.label + ": " + s.before + " " + s.pronoun + " " + s.ending + "."
}

// scene tells of a stranger in need. The last label and form are held out.
func (w *World) scene(r *rand.Rand, held bool) (scene, need) {
	n := one(r, needs())
	she := r.IntN(2) == 0
	p := Person{Name: stranger(r, held), She: she}
	labels := []string{"Morning", "Noon", "Evening", "Winter", "Summer", "Night"}
	forms := []string{"%s was %s.", "The day was long and %s was %s.", "After the work %s was %s.", "Nobody saw that %s was %s."}
	label, form := one(r, labels[:len(labels)-1]), one(r, forms[:len(forms)-1])
	if held && r.IntN(2) == 0 {
		label, form = labels[len(labels)-1], forms[len(forms)-1]
	}
	before := fmt.Sprintf(form, p.Name, n.state)
	if r.IntN(2) == 0 {
		before += " " + p.he() + " went to the " + n.place + "."
	}
	return scene{label: label, before: before, pronoun: p.he(), ending: n.act}, n
}

// twin is what WinoGrande asks for: a sentence whose gap one of two fills.
type twin struct {
	sentence string // with _ for the gap
	options  [2]string
	right    int
}

func (t twin) String() string { return strings.Replace(t.sentence, "_", t.options[t.right], 1) }

// twin tells of two people or two objects.
func (w *World) twin(r *rand.Rand, held bool) twin {
	for {
		t, key := w.anyTwin(r)
		if heldBy(5, key...) == held {
			return t
		}
	}
}

func (w *World) anyTwin(r *rand.Rand) (twin, []string) {
	right := r.IntN(2)
	if r.IntN(2) == 0 {
		a, b, p := one(r, contents()), one(r, containers()), one(r, fits())
		s := fmt.Sprintf("The %s %s the %s because the _ %s.", a, p.does, b, pick2(right == 0, p.first, p.second))
		return twin{s, [2]string{a, b}, right}, []string{a, b, p.does}
	}
	a, b, p := one(r, w.People).Name, one(r, w.People).Name, one(r, gifts())
	for a == b {
		b = one(r, w.People).Name
	}
	s := fmt.Sprintf("Once %s %s %s because _ %s.", a, p.does, b, pick2(right == 0, p.first, p.second))
	return twin{s, [2]string{a, b}, right}, []string{a, b}
}

// goal is what PIQA asks for: how something is done.
type goal struct{ does, tool string }

func (g goal) way() string { return "Use a " + g.tool + "." }

func (w *World) goal(r *rand.Rand, held bool) goal {
	for {
		way, object := one(r, ways()), one(r, objects())
		if heldBy(4, way.verb, object) == held {
			return goal{way.verb + " the " + object, way.tool}
		}
	}
}

func tools(not string) []string {
	var out []string
	for _, w := range ways() {
		if w.tool != not {
			out = append(out, w.tool)
		}
	}
	return out
}

// compared asks which of four animals is the largest or smallest. Which four are
// held out does not depend on their order.
func compared(r *rand.Rand, held bool) choice {
	all := animals()
	for {
		pick := r.Perm(len(all))[:4]
		sorted := slices.Sorted(slices.Values(pick))
		if heldBy(5, fmt.Sprint(sorted)) != held {
			continue
		}
		right, word := sorted[3], "largest"
		if r.IntN(2) == 0 {
			right, word = sorted[0], "smallest"
		}
		var names []string
		for _, i := range pick {
			names = append(names, all[i])
		}
		q := fmt.Sprintf("Which is the %s: %s, %s, %s or %s?", word, names[0], names[1], names[2], names[3])
		return choice{q, names, slices.Index(pick, right)}
	}
}

// sum is a + b in words; which of them are asked in training does not depend on
// their order.
func sum(r *rand.Rand, held bool) choice {
	for {
		a, b := r.IntN(digits), r.IntN(digits)
		if heldBy(4, fmt.Sprint(min(a, b), max(a, b))) != held {
			continue
		}
		near := numbers()[max(0, a+b-4):min(len(numbers()), a+b+5)]
		return choose(r, fmt.Sprintf("How much is %s plus %s?", numbers()[a], numbers()[b]), numbers()[a+b], others(r, near, numbers()[a+b], 3))
	}
}
