package eval

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// TestStandardErrors compares with the harness's formulas computed by CPython.
func TestStandardErrors(t *testing.T) {
	var values []Value
	for i := range 60 {
		values = append(values, Value{-float64(i*37%101) / 7, 1})
	}
	if got := stderr(perplexity, values, 2000); math.Abs(got/777.9210389126737-1) > 1e-12 {
		t.Errorf("bootstrapped error of a perplexity = %v", got)
	}
	if got := pooled([]float64{0.01, 0.02, 0.03}, []int{100, 50, 400}); math.Abs(got/0.02199989423879575-1) > 1e-12 {
		t.Errorf("pooled error = %v", got)
	}
	var right []Value
	for i := range 1838 {
		right = append(right, one(i%4 != 0))
	}
	p := aggregate(mean, right)
	if got, want := stderr(mean, right, 0), math.Sqrt(p*(1-p)/1837); math.Abs(got/want-1) > 1e-12 {
		t.Errorf("error of a mean = %v, want %v", got, want)
	}
	if got := stderr(mean, right[:1], 0); !math.IsNaN(got) {
		t.Errorf("error of one document = %v", got)
	}
}

// TestTies: of equally likely choices the first counts, and acc_norm divides by
// characters, not bytes.
func TestTies(t *testing.T) {
	a := &Asked{Task: &Task{Output: MultipleChoice}, choices: [][]string{{"ab", "é☃漢字", "c"}}, right: [][]int{{0}}}
	tie := []Response{{LogProb: -2}, {LogProb: -2}, {LogProb: -3}}
	if !a.choose(0, acc, tie) {
		t.Error("the first of two equals is not taken")
	}
	a.right[0] = []int{1}
	if !a.choose(0, accNorm, tie) {
		t.Error("-2/4 is more than -2/2 by characters")
	}
}

// TestFilters extracts the answers of GSM8K.
func TestFilters(t *testing.T) {
	task := task(t, "gsm8k")
	chains, err := task.filters()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ answer, strict, flexible string }{
		{"2+2=4\n#### 4", "4", "4"},
		{"It costs $1,234.50 in all", invalid, "$1,234.50"},
		{"#### 2,000 dollars, or 3", "2,000", "3"},
		{"none", invalid, invalid},
		{"#### -7", "-7", "-7"},
	} {
		for i, want := range []string{tt.strict, tt.flexible} {
			got, err := chains[i].apply(tt.answer)
			if err != nil || got != want {
				t.Errorf("%s of %q = %q, %v; want %q", chains[i].name, tt.answer, got, err, want)
			}
		}
	}
	a := firstThree(t, "testdata/data", task, -1)
	metrics, err := a.Score([]Response{{Text: " 12*3=36\n#### 36"}, {Text: "He gets $2000."}, {Text: "#### 5"}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if metrics[0].Result != 1.0/3 || metrics[1].Result != 2.0/3 {
		t.Errorf("strict %v and flexible %v, want 1/3 and 2/3", metrics[0].Result, metrics[1].Result)
	}
}

// TestWriteAll: an answer ends before its stop string, does not depend on the
// others, and long prompts are cut from the left.
func TestWriteAll(t *testing.T) {
	run, e := modelAt(t, testkit.Llama(t, testkit.Options{Layers: 2, Tokenizer: true}), forest.Options{})
	task := task(t, "gsm8k")
	task.Generation.MaxTokens = 12
	task.Generation.Until = nil
	a := firstThree(t, "testdata/data", task, 1)
	free, err := WriteAll(context.Background(), Generate(run, nil), a, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := string([]rune(free[0].Text)[3:5])
	task.Generation.Until = stringList{stop}
	got, err := WriteAll(context.Background(), Generate(run, nil), a, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if want, _, _ := strings.Cut(free[i].Text, stop); got[i].Text != want {
			t.Errorf("answer %d: %q, want %q", i, got[i].Text, want)
		}
	}
	if q := encodeTask(context.Background(), a, e); q.Cut() != 0 || q.err != nil {
		t.Errorf("%d prompts cut of those that fit, %v", q.Cut(), q.err)
	}
	e.MaxLength = 40
	if q := encodeTask(context.Background(), a, e); q.Cut() != len(a.Requests) || q.err != nil {
		t.Errorf("%d prompts of %d cut, %v", q.Cut(), len(a.Requests), q.err)
	}
	if _, err := WriteAll(context.Background(), Generate(run, nil), a, e, nil); err != nil {
		t.Errorf("a long prompt: %v", err)
	}
	e.MaxLength = 12
	if _, err := WriteAll(context.Background(), Generate(run, nil), a, e, nil); err == nil || !strings.Contains(err.Error(), "an answer of max_gen_toks has 12 tokens") {
		t.Errorf("no room for a prompt: %v", err)
	}
}

// TestWindows: a text longer than the model is scored whole, each token once,
// after as much context as fits.
func TestWindows(t *testing.T) {
	_, e := modelAt(t, testkit.Llama(t, testkit.Options{Layers: 1, Tokenizer: true}), forest.Options{})
	for _, tt := range []struct{ text, max, windows int }{{1, 8, 1}, {8, 8, 1}, {9, 8, 2}, {16, 8, 2}, {17, 8, 3}} {
		e.MaxLength = tt.max
		text := make([]byte, tt.text)
		for i := range text {
			text[i] = 'A' + byte(i%26)
		}
		got, err := e.windows(string(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != tt.windows {
			t.Errorf("%d tokens in windows of %d: %d windows, want %d", tt.text, tt.max, len(got), tt.windows)
		}
		scored := 0
		for _, s := range got {
			scored += s.Scored
			if len(s.Tokens) > tt.max+1 || s.Scored >= len(s.Tokens) {
				t.Errorf("%d tokens in windows of %d: %+v", tt.text, tt.max, s)
			}
		}
		if want, _ := e.encode(string(text)); scored != len(want) {
			t.Errorf("%d tokens in windows of %d: %d scored", tt.text, tt.max, scored)
		}
	}
}

// TestState: what is written comes back, a line cut short is dropped, and what
// belongs to another run is refused by name.
func TestState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json.partial")
	a := firstThree(t, "testdata/data", task(t, "lambada_openai"), 0)
	b := firstThree(t, "testdata/data", task(t, "wikitext"), 0)
	settings := map[string]any{"model": "abc", "limit": 3}
	open := func(settings map[string]any) (*State, error) { return OpenState(path, settings) }
	s, err := open(settings)
	if err != nil {
		t.Fatal(err)
	}
	want := []Response{{LogProb: -1.25}, {LogProb: math.Inf(-1), Greedy: true}, {Text: "x\n"}}
	for _, asked := range []*Asked{a, b} {
		if err := s.Add(asked, want); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Leave(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, info.Size()-5); err != nil {
		t.Fatal(err)
	}
	if s, err = open(settings); err != nil {
		t.Fatal(err)
	}
	got, err := s.Responses(a)
	if err != nil || len(got) != 3 || got[0] != want[0] || !got[1].Greedy || got[2].Text != "x\n" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := s.Responses(b); got != nil || err != nil {
		t.Errorf("a line cut short: %v, %v", got, err)
	}
	if err := s.Add(b, want); err != nil {
		t.Fatal(err)
	}
	a.Requests[0].Context += "!"
	if _, err := s.Responses(a); err == nil || !strings.Contains(err.Error(), "the requests of task lambada_openai are not those of before") {
		t.Errorf("other requests: %v", err)
	}
	_ = s.Leave()
	if _, err := open(map[string]any{"model": "abd", "limit": 3}); err == nil || !strings.Contains(err.Error(), `model was "abc" and is "abd"`) {
		t.Errorf("another model: %v", err)
	}
	if s, err = open(settings); err != nil {
		t.Fatal(err)
	}
	if _, err := open(settings); runtime.GOOS == "linux" && (err == nil || !strings.Contains(err.Error(), "another process is writing")) {
		t.Errorf("a second writer: %v", err)
	}
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
}

// TestStateOfOthers: a file from before there were versions goes on; what a later
// program left, and what is no state at all, is refused by name and left alone.
func TestStateOfOthers(t *testing.T) {
	a := firstThree(t, "testdata/data", task(t, "lambada_openai"), 0)
	line := `{"task":"lambada_openai","requests":"` + a.Hash() + `","responses":[[-1,true,""],[-2,false,""],[-3,false,""]]}`
	for _, tt := range []struct{ name, header, want string }{
		{"from before versions", `{"limit":3,"model":"abc"}`, ""},
		{"of now", `{"journal":"eval","limit":3,"model":"abc","version":1}`, ""},
		{"of a later program", `{"journal":"eval","limit":3,"model":"abc","version":2}`, "kept by another version: its lines are of version 2"},
		{"no state", `{"results": {}}`, "not a file of finished work"},
		{"no JSON", `results`, "not a file of finished work"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.json.partial")
			if err := os.WriteFile(path, []byte(tt.header+"\n"+line+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			s, err := OpenState(path, map[string]any{"model": "abc", "limit": 3})
			if tt.want != "" {
				if !errors.Is(err, ErrState) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Leave() }()
			if got, err := s.Responses(a); err != nil || len(got) != 3 || got[1].LogProb != -2 {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

// TestGroups: a mean by size, and a plain mean over groups and tasks.
func TestGroups(t *testing.T) {
	l := library(t)
	s, err := l.Select([]string{"layer-pruning"})
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]*Outcome{}
	for i, task := range s.Tasks {
		a := &Asked{Task: task, Docs: make([]Doc, 2+i%3), Total: 5}
		outcomes[task.Name] = &Outcome{Asked: a, Metrics: []Metric{{Name: acc, Filter: noFilter, Result: float64(i) / 200, StdErr: 0.1, HigherIsBetter: true}, {Name: accNorm, Filter: noFilter, StdErr: 0.1}}}
	}
	groups, err := s.Aggregate(outcomes)
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]GroupOutcome{}
	for _, g := range groups {
		by[g.Name] = g
		for _, m := range g.Metrics {
			var sum float64
			for _, w := range m.Weights {
				sum += w
			}
			if math.Abs(sum-1) > 1e-9 {
				t.Errorf("%s: weights add up to %v", g.Name, sum)
			}
		}
	}
	if n := len(by["mmlu"].Tasks); n != 57 {
		t.Errorf("mmlu has %d tasks", n)
	}
	if n := len(by["cmmlu"].Tasks); n != 67 {
		t.Errorf("cmmlu has %d tasks", n)
	}
	var want float64
	for _, name := range []string{"piqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa"} {
		want += outcomes[name].Metrics[0].Result / 8
	}
	want += by["mmlu"].Metrics[0].Result/8 + by["cmmlu"].Metrics[0].Result/8
	if got := by["layer-pruning"].Metrics[0].Result; math.Abs(got-want) > 1e-12 {
		t.Errorf("layer-pruning = %v, want %v", got, want)
	}
	var weighted, n float64
	for _, name := range by["mmlu"].Tasks {
		weighted += outcomes[name].Metrics[0].Result * float64(len(outcomes[name].Docs))
		n += float64(len(outcomes[name].Docs))
	}
	if got := by["mmlu"].Metrics[0].Result; math.Abs(got-weighted/n) > 1e-12 {
		t.Errorf("mmlu = %v, want %v", got, weighted/n)
	}
	if diff := cmp.Diff([]string{"layer-pruning", "mmlu", "mmlu_stem", "mmlu_other", "mmlu_social_sciences", "mmlu_humanities", "cmmlu"}, names(groups)); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

func names(groups []GroupOutcome) (out []string) {
	for _, g := range groups {
		out = append(out, g.Name)
	}
	return out
}

// TestUnknown names what is near.
func TestUnknown(t *testing.T) {
	_, err := library(t).Select([]string{"arc_eazy"})
	var unknown *UnknownError
	if err == nil || !errors.As(err, &unknown) || unknown.Nearest[0] != "arc_easy" {
		t.Errorf("%v", err)
	}
	s, err := library(t).Select([]string{"mmlu_high_school_*", "ai2_arc", "arc_easy"})
	if err != nil || len(s.Tasks) != 16 {
		t.Errorf("%d tasks, %v", len(s.Tasks), err)
	}
}

// TestChances: what guessing comes to, of a task and of a mean of tasks.
func TestChances(t *testing.T) {
	two, four := []string{"a", "b"}, []string{"a", "b", "c", "d"}
	c := chancesOf([]*Asked{
		{Task: &Task{Name: "piqa"}, choices: [][]string{two, two}, right: [][]int{{0}, {1}}},
		{Task: &Task{Name: "arc"}, choices: [][]string{four, two}, right: [][]int{{3}, {0}}},
		{Task: &Task{Name: "wikitext"}},
	})
	for _, tt := range []struct {
		task, metric string
		want         float64
	}{{"piqa", "acc", .5}, {"arc", "acc_norm", .375}, {"piqa", "perplexity", 0}, {"wikitext", "acc", 0}} {
		if got := c.task(tt.task, tt.metric); got != tt.want {
			t.Errorf("%s %s: %v, want %v", tt.task, tt.metric, got, tt.want)
		}
	}
	if got := c.of(GroupMetric{Name: "acc", Weights: map[string]float64{"piqa": .5, "arc": .5}}); got != .4375 {
		t.Errorf("mean: %v", got)
	}
	if got := c.of(GroupMetric{Name: "acc", Weights: map[string]float64{"piqa": .5, "wikitext": .5}}); got != 0 {
		t.Errorf("a mean with a task that has no choices: %v", got)
	}
}

// TestFitCounts: what a context loses is counted.
func TestFitCounts(t *testing.T) {
	e := &Encoder{MaxLength: 4}
	for n, cut := range map[int]int{3: 0, 5: 0, 6: 1, 9: 4} {
		s, err := e.fit(make([]int32, n), 1)
		if err != nil || s.Cut != cut || len(s.Tokens) != n-cut {
			t.Errorf("%d tokens: %d cut, %d left, %v; want %d cut", n, s.Cut, len(s.Tokens), err, cut)
		}
	}
	if n := (&Encoded{seqs: []Sequence{{Cut: 2}, {}, {Cut: 1}}}).Cut(); n != 2 {
		t.Errorf("%d requests were cut, want 2", n)
	}
}
