package world

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// rows are all that training and healing show a model, one text each.
func rows(w *World) []string {
	var out []string
	for _, t := range w.Texts(1, 45000) {
		out = append(out, t.Text)
	}
	for _, x := range w.Exchanges(1, 60000) {
		out = append(out, x.Prompt+x.Completion)
	}
	for _, x := range w.Fixed().Lists(6, 20000) {
		out = append(out, x.Prompt+x.Completion)
	}
	for _, told := range [][]Instruction{w.Instructions(1, 4000), w.Fixed().Instructions(3, 4000)} {
		for _, i := range told {
			out = append(out, i.Instruction+"\n"+i.Input+i.Output)
		}
	}
	return out
}

func hash(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:8])
}

// TestSame: the world that Sapling was trained on is the one that is made.
func TestSame(t *testing.T) {
	w := New(Seed)
	for _, tt := range []struct {
		name string
		got  any
		want string
	}{
		{"world", w, "7a7e2f6b9be88f7a"},
		{"texts", w.Texts(1, 2000), "de4094964e02f813"},
		{"exchanges", w.Exchanges(1, 2000), "2ca5b97bd44fc1b0"},
		{"instructions", w.Fixed().Instructions(3, 500), "03ced96050ffeafb"},
		{"tasks", w.Tasks(2), "43d1031e343f843e"},
	} {
		if got := hash(t, tt.got); got != tt.want {
			t.Errorf("%s: hash %s, want %s: Sapling's weights belong to another world", tt.name, got, tt.want)
		}
	}
	if hash(t, New(Seed+1)) == hash(t, w) {
		t.Error("another seed makes the same world")
	}
}

// TestHeldOut: what tasks ask is not in what a model is shown, and what is like
// it, is.
func TestHeldOut(t *testing.T) {
	w := New(Seed)
	shown := rows(w)
	all := strings.Join(shown, "\x00")
	absent := func(what, text string) {
		t.Helper()
		if strings.Contains(all, text) {
			t.Errorf("%s: %q is in the training rows", what, text)
		}
	}
	for _, s := range w.kinds() {
		for i := range s.n {
			for _, f := range s.about(i) {
				for _, form := range append(slices.Clone(f.asked), one2(f.stem)...) {
					if i < s.held {
						absent("question about somebody held out", f.fill(form))
					} else if !strings.Contains(all, f.fill(form)) {
						t.Errorf("%q is never asked", f.fill(form))
					}
				}
			}
		}
	}
	absent("form of stories", "Nobody saw that")
	absent("label of stories", "Night:")
	for _, task := range w.Tasks(2) {
		for _, d := range task.Docs {
			switch task.Name {
			case "piqa":
				absent(task.Name, d["goal"].(string))
			case "hellaswag":
				name := strings.Fields(strings.NewReplacer("Nobody saw that ", "", "The day was long and ", "", "After the work ", "").Replace(d["ctx_a"].(string)))[0]
				absent(task.Name, " "+name+" ")
			case "winogrande":
				for _, o := range []string{"option1", "option2"} {
					absent(task.Name, strings.Replace(d["sentence"].(string), "_", d[o].(string), 1))
				}
			case "arc_challenge":
				absent(task.Name, d["question"].(string))
			}
		}
	}
}

// TestHeldSets: the order of four animals, of two summands and of two people does
// not bring what is held out in again.
func TestHeldSets(t *testing.T) {
	w := New(Seed)
	key := func(question string) string {
		words := strings.FieldsFunc(question, func(r rune) bool { return strings.ContainsRune(" ,:?", r) })
		words = slices.DeleteFunc(words, func(s string) bool { return !slices.Contains(animals(), s) && !slices.Contains(numbers(), s) })
		slices.Sort(words)
		return strings.Join(words, " ")
	}
	trained := map[string]bool{}
	for _, x := range w.Exchanges(1, 60000) {
		if strings.HasPrefix(x.Prompt, "Question: Which is the") || strings.HasPrefix(x.Prompt, "Question: How much") {
			trained[key(x.Prompt)] = true
		}
	}
	if len(trained) < 500 {
		t.Fatalf("only %d sets in training", len(trained))
	}
	for _, task := range w.Tasks(2) {
		for _, d := range task.Docs {
			if task.Name == "arc_challenge" && trained[key(d["question"].(string))] {
				t.Errorf("%s: asked in training in another order", d["question"])
			}
		}
	}
}

// TestTold: what tells a fact, by hand, and what does not.
func TestTold(t *testing.T) {
	w := New(Seed)
	p, town := w.People[0], w.Towns[heldTowns]
	rows := []string{
		"Note: " + p.Name + " has a " + p.Pet + ". " + p.he() + " likes " + p.Food + ".",
		"Question: Which pet does " + p.Name + " have?\nAnswer: " + p.Pet,
		"Question: Which pet does " + p.Name + " have?\nA. " + p.Pet + "\nB. bear\nC. ant\nD. lion\nAnswer: A",
		"Once " + p.Name + " gave " + p.Food + " to Nobody because Nobody was hungry.",
		"Note: " + town.Name + " sells " + town.Good + ".",
		"Question: How much is two plus three?\nAnswer: five", "two plus three is five.", "three plus two is five.",
		"Question: Which is the largest: ant, cow, bee or pig?\nAnswer: cow", "A cow is larger than a pig.",
		"The baker works with the oven.", "Question: How do you cut the bread?\nAnswer: Use a knife.",
		"Noon: Wabath was thirsty. She drank some water.", "Noon: Wabath was thirsty. She went to the well.",
	}
	got := map[string]int{}
	facts := 0
	for _, told := range w.Told(slices.Values(rows)) {
		facts += len(told.Times)
		for fact, n := range told.Times {
			if n > 0 {
				got[told.Kind+": "+fact] = n
			}
		}
	}
	want := map[string]int{
		"people, held out: " + p.Name + " " + p.Pet: 2, "people, held out: " + p.Name + " " + p.Food: 1,
		"towns, asked about: " + town.Name + " " + town.Good: 1, "sums: two plus three": 2, "sums: three plus two": 1,
		"animals by size: ant": 1, "animals by size: cow": 2, "animals by size: bee": 1, "animals by size: pig": 2,
		"tools of jobs: baker": 1, "ways to do things: cut": 1, "what one in need does: Thirst": 1,
	}
	if !maps.Equal(got, want) || facts != w.Facts() {
		t.Errorf("%v of %d facts, want %v", got, facts, want)
	}
	if fewest, median, most := (Told{Times: map[string]int{"a": 5, "b": 1, "c": 2}}).Range(); fewest != 1 || median != 2 || most != 5 {
		t.Errorf("%d, %d, %d", fewest, median, most)
	}
}

// TestTasks: a right answer among different ones, spread over the places, each
// document once.
func TestTasks(t *testing.T) {
	w := New(Seed)
	for _, task := range w.Tasks(2) {
		seen := map[string]bool{}
		places := map[string]int{}
		for _, d := range task.Docs {
			raw := hash(t, d)
			if seen[raw] {
				t.Errorf("%s: %v twice", task.Name, d)
			}
			seen[raw] = true
			for _, key := range []string{"label", "answer", "answerKey"} {
				if v, ok := d[key]; ok {
					places[fmt.Sprint(v)]++
				}
			}
			answers := answersOf(d)
			if unlike := slices.Compact(slices.Sorted(slices.Values(answers))); len(unlike) != len(answers) {
				t.Errorf("%s: %v: two answers are the same", task.Name, d)
			}
		}
		for place, n := range places {
			if n*3*len(places) < 2*len(task.Docs) {
				t.Errorf("%s: only %d of %d right answers at place %s", task.Name, n, len(task.Docs), place)
			}
		}
		if len(places) < 2 {
			t.Errorf("%s: right answers at places %v", task.Name, places)
		}
	}
}

func answersOf(d Doc) []string {
	switch {
	case d["sol1"] != nil:
		return []string{d["sol1"].(string), d["sol2"].(string)}
	case d["endings"] != nil:
		return d["endings"].([]string)
	case d["option1"] != nil:
		return []string{d["option1"].(string), d["option2"].(string)}
	}
	if c, ok := d["choices"].(Doc); ok {
		return c["text"].([]string)
	}
	return d["choices"].([]string)
}
