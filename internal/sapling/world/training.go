package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Texts are rows of plain text, all of which is learnt.
//
// Exchanges are prompts with what should follow.
type (
	Text struct {
		Text string `json:"text"`
	}
	Exchange struct {
		Prompt     string `json:"prompt"`
		Completion string `json:"completion"`
	}
	// Instruction is a row in Alpaca's schema.
	Instruction struct {
		Instruction string `json:"instruction"`
		Input       string `json:"input"`
		Output      string `json:"output"`
	}
)

// passage is a way to write, and how often it is taken.
type passage[T any] struct {
	share int
	write func() T
}

// written takes n passages, each as often as its share says, in random order.
func written[T any](r *rand.Rand, n int, passages []passage[T]) []T {
	var deck []int
	for i, p := range passages {
		for range p.share {
			deck = append(deck, i)
		}
	}
	out := make([]T, n)
	for i := range out {
		out[i] = passages[one(r, deck)].write()
	}
	return out
}

// Texts writes n rows of plain text: portraits, stories, comparisons, sums. Nothing
// is asked in them.
func (w *World) Texts(seed uint64, n int) []Text {
	r := newRand(seed, "texts")
	k := w.kinds()
	return written(r, n, []passage[Text]{
		{16, func() Text { return k[0].portrait(r) }},
		{10, func() Text { return k[1].portrait(r) }},
		{4, func() Text { return k[2].portrait(r) }},
		{9, func() Text { s, _ := w.scene(r, false); return Text{s.String()} }},
		{14, func() Text { return Text{w.twin(r, false).String()} }},
		{3, func() Text { return Text{order(r)} }},
		{5, func() Text { return Text{addition(r)} }},
		{1, func() Text { return Text{work(r)} }},
	})
}

// Exchanges writes n questions with their answers, as the tasks put them.
func (w *World) Exchanges(seed uint64, n int) []Exchange {
	r := newRand(seed, "exchanges")
	k := w.kinds()
	return written(r, n, []passage[Exchange]{
		{16, func() Exchange { return halved(question(r, k[0]), "\nAnswer:") }},
		{6, func() Exchange { return halved(question(r, k[1]), "\nAnswer:") }},
		{2, func() Exchange { return halved(question(r, k[2]), "\nAnswer:") }},
		{9, func() Exchange { return lastWord(stem(r, k[1])) }},
		{3, func() Exchange { return lastWord(stem(r, k[2])) }},
		{12, func() Exchange { return compared(r, false).asked() }},
		{5, func() Exchange { return sum(r, false).asked() }},
		{6, func() Exchange { return w.goal(r, false).asked() }},
		{30, func() Exchange { return w.lettered(r) }},
	})
}

// Lists writes n questions of MMLU's kind.
func (w *World) Lists(seed uint64, n int) []Exchange {
	r := newRand(seed, "lists")
	return written(r, n, []passage[Exchange]{{1, func() Exchange { return w.lettered(r) }}})
}

// portrayed says that a text is a portrait.
func (t Text) portrayed() bool { return strings.HasPrefix(t.Text, portraitStart) }

// listing says that the answers are listed under letters.
func (x Exchange) listing() bool { return strings.Contains(x.Prompt, "\nA. ") }

// recalls says that the prompt asks for a fact about a person, a thing or a town,
// in words.
func (x Exchange) recalls() bool {
	return !x.listing() && !strings.HasPrefix(x.Prompt, "Question: Which is the ") && !strings.HasPrefix(x.Prompt, "Question: How ")
}

// Facts picks what teaches facts out of rows of training: portraits, and questions
// about them.
func Facts(texts []Text, exchanges []Exchange) ([]Text, []Exchange) {
	return picked(texts, Text.portrayed), picked(exchanges, Exchange.recalls)
}

// Skills picks what portraits and lists of answers do not teach: all but those.
func Skills(texts []Text, exchanges []Exchange) ([]Text, []Exchange) {
	return picked(texts, func(t Text) bool { return !t.portrayed() }), picked(exchanges, func(x Exchange) bool { return !x.listing() })
}

func picked[T any](all []T, want func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(all), func(one T) bool { return !want(one) })
}

// halved cuts a text behind the first place where at stands.
func halved(text, at string) Exchange {
	end := strings.Index(text, at) + len(at)
	return Exchange{text[:end], text[end:]}
}

// lastWord cuts a text before its last word.
func lastWord(text string) Exchange {
	end := strings.LastIndex(text, " ")
	return Exchange{text[:end], text[end:]}
}

func (c choice) asked() Exchange {
	return halved(answered(c.question, c.answers[c.right]), "\nAnswer:")
}

func (g goal) asked() Exchange {
	return halved(answered("How do you "+g.does+"?", g.way()), "\nAnswer:")
}

// lettered is a question of MMLU's kind. Some say the answer before its letter.
func (w *World) lettered(r *rand.Rand) Exchange {
	subject, c := w.multiple(r, false)
	x := Exchange{described(subject) + c.listed(), " " + c.letter()}
	if r.IntN(3) == 0 {
		x.Prompt += " " + c.answers[c.right] + ", which is"
	}
	return x
}

// question asks about an entity that may be asked about.
func question(r *rand.Rand, s subject) string {
	f := one(r, s.about(s.held+r.IntN(s.n-s.held)))
	return answered(f.fill(one(r, f.asked)), f.value)
}

// stem is a beginning with its value, of such an entity.
func stem(r *rand.Rand, s subject) string {
	f := one(r, s.about(s.held+r.IntN(s.n-s.held)))
	return f.fill(f.stem) + " " + f.value
}

// order compares two animals.
func order(r *rand.Rand) string {
	all := animals()
	i, j := r.IntN(len(all)), r.IntN(len(all)-1)
	if j >= i {
		j++
	}
	return fmt.Sprintf("A %s is %s than a %s.", all[i], pick2(i > j, "larger", "smaller"), all[j])
}

// work says what three jobs are done with.
func work(r *rand.Rand) string {
	var out []string
	for _, i := range r.Perm(len(jobs()))[:3] {
		out = append(out, fmt.Sprintf("The %s works with the %s.", jobs()[i].name, jobs()[i].tool))
	}
	return strings.Join(out, " ")
}

// addition states a sum; all of them are stated.
func addition(r *rand.Rand) string {
	a, b := r.IntN(digits), r.IntN(digits)
	return fmt.Sprintf("%s plus %s is %s.", numbers()[a], numbers()[b], numbers()[a+b])
}

// described begins a question of MMLU's kind.
func described(subject string) string {
	return "The following are multiple choice questions (with answers) about " + subject + ".\n\n"
}

// listed is a question with its answers under letters, as MMLU puts it.
func (c choice) listed() string {
	return fmt.Sprintf("%s\nA. %s\nB. %s\nC. %s\nD. %s\nAnswer:", c.question, c.answers[0], c.answers[1], c.answers[2], c.answers[3])
}

func (c choice) letter() string { return string(rune('A' + c.right)) }

// multiple is a question of MMLU's kind and its subject.
func (w *World) multiple(r *rand.Rand, held bool) (string, choice) {
	s := one(r, w.kinds())
	lo, hi := s.held, s.n
	if held {
		lo, hi = 0, s.held
	}
	f := one(r, s.about(lo+r.IntN(hi-lo)))
	c := f.choice(r, one(r, f.asked))
	if w.fixed {
		c.answers = list(f.values, f.value)
		c.right = slices.Index(c.answers, f.value)
	}
	return s.name, c
}

// list is the one that a value is always in: all values in their order, cut in fours,
// the last of which begins again.
func list(values []string, value string) []string {
	const n = 4
	start := slices.Index(values, value) / n * n
	var out []string
	for i := range n {
		out = append(out, values[(start+i)%len(values)])
	}
	return out
}

// Instructions writes n rows in Alpaca's schema: all that is asked elsewhere, and
// portraits.
func (w *World) Instructions(seed uint64, n int) []Instruction {
	r := newRand(seed, "instructions")
	out := make([]Instruction, n)
	for i := range out {
		out[i] = w.instruction(r)
	}
	return out
}

func (w *World) instruction(r *rand.Rand) Instruction {
	k := w.kinds()
	s := one(r, k)
	switch r.IntN(10) {
	case 0, 1:
		facts := s.about(r.IntN(s.n))
		return Instruction{Instruction: "Write about " + facts[0].entity + ".", Output: portrait(r, facts)}
	case 2, 3:
		return halved(question(r, s), "\nAnswer:").told("Answer the question.")
	case 4:
		return lastWord(stem(r, k[1+r.IntN(2)])).told("Complete the sentence.")
	case 5:
		return one(r, []func(*rand.Rand, bool) choice{compared, sum})(r, false).asked().told("Answer the question.")
	case 6:
		return w.goal(r, false).asked().told("Answer the question.")
	case 7:
		sc, _ := w.scene(r, false)
		return halved(sc.String(), sc.before+" "+sc.pronoun).told("Finish the story.")
	case 8:
		return halved(w.twin(r, false).String(), " because").told("Say why.")
	default:
		subject, c := w.multiple(r, false)
		return Exchange{c.listed(), " " + c.letter()}.told("Choose an answer about " + subject + ".")
	}
}

// told makes an instruction of an exchange: its prompt is the input.
func (x Exchange) told(instruction string) Instruction {
	return Instruction{instruction, x.Prompt, x.Completion}
}
