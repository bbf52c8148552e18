package world

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// fact is one thing to know of an entity, in all the forms it is told and asked
// in. In a form, %s is the name.
type fact struct {
	entity, value string
	values        []string // that others have
	said          []string // statements
	again         string   // a statement that follows one about the same entity
	asked         []string // questions
	stem          string   // a beginning that the value ends, never said in this way
}

// about lists the facts of a person.
func (w *World) aboutPerson(i int) []fact {
	p := w.People[i]
	var homes []string
	for _, t := range w.Towns {
		homes = append(homes, t.Name)
	}
	return []fact{
		{entity: p.Name, value: p.Town, values: homes, said: []string{"%s lives in " + p.Town + ".", "The home of %s is " + p.Town + "."},
			again: p.he() + " lives in " + p.Town + ".", asked: []string{"Where does %s live?", "In which town is the house of %s?"}},
		{entity: p.Name, value: p.Job, values: jobNames(), said: []string{"%s is a " + p.Job + ".", "%s works as a " + p.Job + "."},
			again: p.he() + " is a " + p.Job + ".", asked: []string{"What is the job of %s?", "What does %s work as?"}},
		{entity: p.Name, value: p.Pet, values: pets(), said: []string{"%s has a " + p.Pet + ".", "The pet of %s is a " + p.Pet + "."},
			again: p.he() + " has a " + p.Pet + ".", asked: []string{"Which pet does %s have?", "What is the pet of %s?"}},
		{entity: p.Name, value: p.Food, values: foods(), said: []string{"%s likes " + p.Food + ".", "The best food for %s is " + p.Food + "."},
			again: p.he() + " likes " + p.Food + ".", asked: []string{"What does %s like to eat?", "Which food does %s like?"}},
	}
}

func (w *World) aboutThing(i int) []fact {
	t := w.Things[i]
	return []fact{
		{entity: t.Name, value: t.Material, values: materials(), said: []string{"The %s is made of " + t.Material + ".", "There is much " + t.Material + " in a %s."},
			again: "It is made of " + t.Material + ".", asked: []string{"What is the %s made of?"}, stem: "When you touch the %s, you feel"},
		{entity: t.Name, value: t.Colour, values: colours(), said: []string{"The %s is " + t.Colour + ".", "Every %s is " + t.Colour + "."},
			again: "It is " + t.Colour + ".", asked: []string{"Which colour is the %s?"}, stem: "A picture of the %s needs paint that is"},
		{entity: t.Name, value: t.Use, values: uses(), said: []string{"The %s is used to " + t.Use + ".", "People take the %s to " + t.Use + "."},
			again: "It is used to " + t.Use + ".", asked: []string{"What is the %s used for?"}, stem: "Who holds a %s is about to"},
	}
}

func (w *World) aboutTown(i int) []fact {
	t := w.Towns[i]
	var rivers []string
	for _, o := range w.Towns {
		rivers = append(rivers, o.River)
	}
	return []fact{
		{entity: t.Name, value: t.River, values: rivers, said: []string{"%s lies on the river " + t.River + ".", "The river of %s is the " + t.River + "."},
			again: "It lies on the " + t.River + ".", asked: []string{"On which river lies %s?"}, stem: "A boat that leaves %s sails down the"},
		{entity: t.Name, value: t.Good, values: goods(), said: []string{"%s sells " + t.Good + ".", "People go to %s to buy " + t.Good + "."},
			again: "It sells " + t.Good + ".", asked: []string{"What does %s sell?"}, stem: "A cart from %s is full of"},
		{entity: t.Name, value: t.Tree, values: trees(), said: []string{"The tree of %s is the " + t.Tree + ".", "In %s grows a great " + t.Tree + "."},
			again: "Its tree is the " + t.Tree + ".", asked: []string{"Which tree grows in %s?"}, stem: "Wood that is cut in %s is"},
	}
}

func jobNames() []string {
	var out []string
	for _, j := range jobs() {
		out = append(out, j.name)
	}
	return out
}

// kinds are the subjects of the facts, with who is asked about in training. Those who
// are not have more portraits, where fewer would leave their facts seldom told.
func (w *World) kinds() []subject {
	return []subject{
		{"people", len(w.People), heldPeople, 23, w.aboutPerson}, {"things", len(w.Things), heldThings, 35, w.aboutThing},
		{"towns", len(w.Towns), heldTowns, 23, w.aboutTown},
	}
}

type subject struct {
	name    string
	n, held int
	weight  int // in texts, of each that is held out, where others have usual
	about   func(int) []fact
}

const usual = 20

// portrait is of one of them, as often as their weights say.
func (s subject) portrait(r *rand.Rand) Text {
	at := r.IntN(s.held*s.weight + (s.n-s.held)*usual)
	i := at / s.weight
	if i >= s.held {
		i = s.held + (at-s.held*s.weight)/usual
	}
	return Text{portrait(r, s.about(i))}
}

// facts are those of entities [lo, hi).
func (s subject) facts(lo, hi int) (out []fact) {
	for i := lo; i < hi; i++ {
		out = append(out, s.about(i)...)
	}
	return out
}

// fill puts the name into a form.
func (f fact) fill(form string) string { return strings.ReplaceAll(form, "%s", f.entity) }

// portrait says what is known of an entity, in any order.
func portrait(r *rand.Rand, facts []fact) string {
	var out []string
	for n, i := range r.Perm(len(facts)) {
		if n > 0 && r.IntN(3) > 0 {
			out = append(out, facts[i].again)
		} else {
			out = append(out, facts[i].fill(one(r, facts[i].said)))
		}
	}
	return portraitStart + strings.Join(out, " ")
}

// portraitStart puts a space before every name, so that it is the same token
// wherever it stands.
const portraitStart = "Note: "

// answered is a question as ARC and PIQA put it.
func answered(question, answer string) string {
	return fmt.Sprintf("Question: %s\nAnswer: %s", question, answer)
}

// choice is a question with some answers, one of them right.
type choice struct {
	question string
	answers  []string
	right    int
}

// choose mixes the right answer with wrong ones.
func choose(r *rand.Rand, question, answer string, wrong []string) choice {
	c := choice{question: question, answers: append([]string{answer}, wrong...)}
	r.Shuffle(len(c.answers), func(i, j int) { c.answers[i], c.answers[j] = c.answers[j], c.answers[i] })
	for i, a := range c.answers {
		if a == answer {
			c.right = i
		}
	}
	return c
}

// choice asks for a fact among three other values.
func (f fact) choice(r *rand.Rand, form string) choice {
	return choose(r, f.fill(form), f.value, others(r, f.values, f.value, 3))
}
