package world

import (
	"math/rand/v2"
	"slices"
)

// Sizes of the world, and how many of each kind no question of training names.
const (
	people, heldPeople = 45, 15
	towns, heldTowns   = 12, 4
	things, heldThings = 36, 12
)

// Seed is that of the world that ships.
const Seed = 2025

// Person is somebody with what is known about them.
type Person struct {
	Name, Town, Job, Pet, Food string
	She                        bool
}

// Thing is a made-up tool or toy.
type Thing struct{ Name, Material, Colour, Use string }

// Town is a place.
type Town struct{ Name, River, Good, Tree string }

// World is all that is known. Entities [0, held) of each list are asked about in
// tasks only.
type World struct {
	People []Person
	Things []Thing
	Towns  []Town

	fixed bool
}

// Fixed is the same world, in which a value is always in the same list of answers: to
// know it is to know its letter.
func (w *World) Fixed() *World {
	f := *w
	f.fixed = true
	return &f
}

// New makes the world of a seed.
func New(seed uint64) *World {
	r := newRand(seed, "world")
	w := &World{}
	names := made(r, personStarts(), personEnds(), people)
	townNames := made(r, townStarts(), townEnds(), towns)
	rivers := made(r, riverStarts(), riverEnds(), towns)
	thingNames := made(r, thingStarts(), thingEnds(), things)
	good, tree := dealt(r, goods(), towns), dealt(r, trees(), towns)
	for i, name := range townNames {
		w.Towns = append(w.Towns, Town{Name: name, River: rivers[i], Good: good[i], Tree: tree[i]})
	}
	home, job, pet, food := dealt(r, townNames, people), dealt(r, jobs(), people), dealt(r, pets(), people), dealt(r, foods(), people)
	for i, name := range names {
		w.People = append(w.People, Person{Name: name, Town: home[i], Job: job[i].name, Pet: pet[i], Food: food[i], She: r.IntN(2) == 0})
	}
	material, colour, use := dealt(r, materials(), things), dealt(r, colours(), things), dealt(r, uses(), things)
	for i, name := range thingNames {
		w.Things = append(w.Things, Thing{Name: name, Material: material[i], Colour: colour[i], Use: use[i]})
	}
	return w
}

// Facts counts what there is to know by heart.
func (w *World) Facts() int {
	return 4*len(w.People) + 3*len(w.Things) + 3*len(w.Towns) + len(animals()) + len(jobs()) + len(ways()) + len(needs()) + digits*digits
}

// he and his are the pronouns of a person, as a sentence begins with them.
func (p Person) he() string  { return pick2(p.She, "She", "He") }
func (p Person) his() string { return pick2(p.She, "Her", "His") }

func pick2(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// newRand is a stream of its own for each purpose.
func newRand(seed uint64, purpose string) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range []byte(purpose) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}

// made combines n different names of a start and an end each.
func made(r *rand.Rand, starts, ends []string, n int) []string {
	var all []string
	for _, a := range starts {
		for _, b := range ends {
			all = append(all, a+b)
		}
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:n]
}

// dealt gives n values of a list, each about as often, in a random order.
func dealt[T any](r *rand.Rand, from []T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = from[i%len(from)]
	}
	r.Shuffle(n, func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// one is a random element.
func one[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// others are n different elements that differ from it.
func others(r *rand.Rand, from []string, it string, n int) []string {
	var out []string
	for len(out) < n {
		if o := one(r, from); o != it && !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}
