package stage

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/data"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/tokenizer"
)

const conversations = "testdata/conversations"

// TestConversations: what 200 conversations come to by eight templates, ids,
// labels and lengths, is what make.py beside them computed on its own.
func TestConversations(t *testing.T) {
	var want map[string][]string
	raw, err := os.ReadFile(filepath.Join(conversations, "want.json"))
	if err == nil {
		err = json.Unmarshal(raw, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 8 {
		t.Fatalf("%d templates", len(want))
	}
	tok, err := tokenizer.Load(conversations)
	if err != nil {
		t.Fatal(err)
	}
	for name, results := range want {
		t.Run(name, func(t *testing.T) {
			conversationsBy(t, testSampler(tok, filepath.Join(conversations, name+".jinja")), results)
		})
	}
}

func conversationsBy(t *testing.T, m *sampler, results []string) {
	t.Helper()
	i := 0
	for row, err := range data.Rows(filepath.Join(conversations, "rows.jsonl"), data.RowOptions{Raw: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if got := outcome(m.row(nil, data.SchemaMessages, row)); got != results[i] {
			t.Errorf("row %d: %s, want %s", i, got, results[i])
		}
		i++
	}
	if i != len(results) || i != 200 {
		t.Errorf("%d rows, %d results", i, len(results))
	}
}

// TestConversationsPublished: the same with the vocabularies of published models, as
// published.py computed it.
func TestConversationsPublished(t *testing.T) {
	root := testkit.Shared(t, "data", "tokenizers")
	var want map[string][]string
	raw, err := os.ReadFile(filepath.Join(conversations, "published.json"))
	if err == nil {
		err = json.Unmarshal(raw, &want)
	}
	if err != nil || len(want) != 8 {
		t.Fatal(len(want), err)
	}
	for name, with := range map[string][2]string{
		"llama3": {"llama3", `{"bos_token":"<|begin_of_text|>","eos_token":"<|eot_id|>"}`},
		"qwen":   {"qwen2", `{"eos_token":"<|im_end|>"}`}, "chatml": {"qwen2", `{"eos_token":"<|im_end|>"}`},
		"gemma":   {"phi3", `{"bos_token":"<s>","eos_token":"</s>"}`},
		"mistral": {"llama2", ""}, "vicuna": {"llama2", ""}, "baichuan2": {"baichuan2", ""}, "chatglm2": {"chatglm2", `{"tokenizer_class":"ChatGLMTokenizer"}`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(root, with[0])
			if with[1] != "" {
				dir = withConfig(t, dir, with[1])
			}
			tok, err := tokenizer.Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			m := testSampler(tok, filepath.Join(conversations, name+".jinja"))
			m.dir = dir
			conversationsBy(t, m, want[name])
		})
	}
}

// withConfig is a directory with another's tokenizer and a configuration of its own.
func withConfig(t *testing.T, from, config string) string {
	t.Helper()
	dir := t.TempDir()
	from, err := filepath.Abs(from)
	for _, name := range []string{"tokenizer.json", "tokenizer.model"} {
		if _, none := os.Stat(filepath.Join(from, name)); none == nil && err == nil {
			err = os.Symlink(filepath.Join(from, name), filepath.Join(dir, name))
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(config), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func testSampler(tok *tokenizer.Tokenizer, template string) *sampler {
	d := DefaultTrainData()
	d.MaxLength, d.Template = 448, template
	return &sampler{d: d, t: tok, dir: conversations, spec: &model.Spec{Vocab: tok.VocabSize(), MaxPositions: 512}, set: &trainSet{}, env: Env{Talk: Silent{}}}
}

// outcome words a row's sample as make.py does.
func outcome(out []made, err error) string {
	switch {
	case err != nil && strings.Contains(err.Error(), "depends on those after it"):
		return "rewritten"
	case err != nil && strings.Contains(err.Error(), "does not take these messages"):
		return "refused"
	case err != nil:
		return err.Error()
	case len(out) == 0:
		return "skipped"
	}
	one := out[0]
	raw, err := json.Marshal([][]int32{one.Tokens, one.Labels})
	if err != nil {
		return err.Error()
	}
	targets, how := 0, "whole"
	for _, l := range one.Labels {
		if l != heal.Ignore {
			targets++
		}
	}
	if one.cut {
		how = "cut"
	}
	return fmt.Sprintf("%d %d %s %s", len(one.Tokens), targets, how, fmt.Sprintf("%x", sha256.Sum256(raw))[:12])
}

// readSamples reads rows of a file through the whole of TrainData.
func readSamples(t *testing.T, d TrainData, files map[string]string) (*trainSet, error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range d.Sources {
		d.Sources[i] = filepath.Join(dir, s)
	}
	if d.Template != "" && d.Template != "alpaca" {
		d.Template = filepath.Join(conversations, d.Template+".jinja")
	}
	return d.read(t.Context(), Env{Talk: Silent{}}, conversations, &model.Spec{Vocab: 300, MaxPositions: 512})
}

// learntText is what of a sample is learnt, parts of it with a bar between.
func learntText(t *testing.T, s heal.Sample) string {
	t.Helper()
	tok, err := tokenizer.Load(conversations)
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	var b strings.Builder
	for i, l := range s.Labels {
		if l != heal.Ignore {
			b.WriteString(tok.Token(int(s.Tokens[i])))
		} else if b.Len() > 0 {
			parts = append(parts, b.String())
			b.Reset()
		}
	}
	return strings.Join(append(parts, b.String()), "|")
}

// TestLearnt: what is learnt of each schema, by each way to say it.
func TestLearnt(t *testing.T) {
	const chat = `{"messages":[{"role":"user","content":"u"},{"role":"assistant","content":"a"},{"role":"user","content":"v"},{"role":"assistant","content":"b"}]}`
	for _, tt := range []struct {
		name, rows string
		d          TrainData
		want       string
	}{
		{"every answer", chat, TrainData{Template: "chatml"}, "a<|im_end|>Ċ|b<|im_end|>Ċ"},
		{"last answer", chat, TrainData{Template: "chatml", Learn: "last"}, "|b<|im_end|>Ċ"},
		{"all", chat, TrainData{Template: "baichuan2", Learn: "all"}, "<reserved_106>u<reserved_107>a<reserved_106>v<reserved_107>b</s>"},
		{"no end of the template's", chat, TrainData{Template: "baichuan2"}, "a|b</s>"},
		{"sharegpt", `{"conversations":[{"from":"system","value":"s"},{"from":"human","value":"u"},{"from":"gpt","value":"a"}]}`, TrainData{Template: "chatml"}, "a<|im_end|>Ċ"},
		{"prompt of messages", `{"prompt":[{"role":"user","content":"u"},{"role":"assistant","content":"a"},{"role":"user","content":"v"}],"completion":[{"role":"assistant","content":"b"}]}`, TrainData{Template: "chatml"}, "b<|im_end|>Ċ"},
		{"prompt of text", `{"prompt":"u: ","response":"a"}`, TrainData{}, "a</s>"},
		{"prompt of text as chat", `{"prompt":"u","completion":"a"}`, TrainData{Template: "chatml"}, "a<|im_end|>Ċ"},
		{"alpaca as chat", `{"instruction":"u","input":"i","output":"a"}`, TrainData{Template: "chatml"}, "a<|im_end|>Ċ"},
		{"dolly", `{"instruction":"u","context":"","response":"a","category":"x"}`, TrainData{}, "a</s>"},
		{"renamed", `{"question":"u","answer":"a"}`, TrainData{Map: []string{"instruction=question", "output=answer"}}, "a</s>"},
		{"renamed inside", `{"dialog":[{"who":"user","text":"u"},{"who":"assistant","text":"a"}]}`, TrainData{Template: "chatml", Map: []string{"messages=dialog", "role=who", "content=text"}}, "a<|im_end|>Ċ"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.d
			d.Sources, d.MaxLength, d.Validation, d.Seed = []string{"r.jsonl"}, 256, 0, 1
			set, err := readSamples(t, d, map[string]string{"r.jsonl": tt.rows})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.TrimPrefix(learntText(t, set.train[0]), "|")
			if got = strings.TrimSuffix(got, "|"); got != strings.TrimPrefix(tt.want, "|") {
				t.Errorf("learns %q, want %q", got, tt.want)
			}
		})
	}
}

// TestBadRows: an error names file, row and field.
func TestBadRows(t *testing.T) {
	user := `{"role":"user","content":"u"}`
	for row, want := range map[string][]string{
		`{"messages":[{"content":"u"}]}`:                              {"messages[0] has no role", "it has: content"},
		`{"messages":[` + user + `,{"role":"assistant"}]}`:            {"messages[1] has no content"},
		`{"messages":[` + user + `,` + user + `]}`:                    {"messages[1].role: user comes after user"},
		`{"messages":[{"role":"assistant","content":"a"}]}`:           {"messages[0].role: assistant comes first"},
		`{"messages":[` + user + `,{"role":"system","content":"s"}]}`: {"messages[1].role: system comes after user"},
		`{"messages":"u"}`:             {"messages is not a list of messages but the string \"u\""},
		`{"messages":{"role":"user"}}`: {"messages is not a list of messages but an object"},
		`{"messages":[]}`:              {"messages has no messages"},
		`{"messages":["u"]}`:           {"messages[0] is not an object"},
		`{"messages":[{"role":"user","content":[{"type":"text"}]}]}`:                       {"messages[0].content holds a list"},
		`{"messages":[{"role":"user","content":{"text":"u"}}]}`:                            {"messages[0].content holds an object"},
		`{"messages":[{"role":"usr","content":"u"}]}`:                                      {`messages[0].role is "usr"`, "assistant"},
		`{"messages":[{"role":5,"content":"u"}]}`:                                          {"messages[0].role holds the number 5"},
		`{"conversations":[{"role":"human","value":"u"}]}`:                                 {"conversations[0] has no from"},
		`{"conversations":[{"from":"human","value":"u"},{"from":"gpt"}]}`:                  {"conversations[1] has no value"},
		`{"prompt":"u","completion":[]}`:                                                   {"prompt holds a text and completion a list"},
		`{"messages":[{"role":"user","content":null},{"role":"assistant","content":"a"}]}`: {"messages[0].content holds null"},
		`{"messages":[` + user + `,{"role":"assistant","content":null}]}`:                  {"messages[1].content holds null", "call of tools"},
		`{"conversations":[{"from":"human","value":null}]}`:                                {"conversations[0].value holds null"},
		`{"instruction":"u","output":5}`:                                                   {`column "output" holds the number 5`},
		`{"instruction":"u","output":"a","input":[]}`:                                      {`column "input" holds a list`},
		`{"q":"u"}`: {"its columns, q, are of no known schema", "sharegpt wants conversations", "dolly wants instruction, response"},
	} {
		d := TrainData{Sources: []string{"r.jsonl"}, MaxLength: 64, Template: "chatml"}
		_, err := readSamples(t, d, map[string]string{"r.jsonl": "\n" + row + "\n"})
		for _, part := range append(want, "r.jsonl: line 2: ") {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v lacks %q", row, err, part)
			}
		}
	}
}

// TestMixture: weights are shares of the samples; what runs out comes again, and
// nothing that is held out is trained on.
func TestMixture(t *testing.T) {
	rows := func(prefix string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "{\"text\":\"%s%d\"}\n", prefix, i)
		}
		return b.String()
	}
	files := map[string]string{"a.jsonl": rows("a", 60), "b.jsonl": rows("b", 10)}
	count := func(s []heal.Sample) (a, b int) {
		for _, one := range s {
			if strings.HasPrefix(learntText(t, one), "a") {
				a++
			} else {
				b++
			}
		}
		return a, b
	}
	for _, tt := range []struct {
		sources                []string
		samples, hold          int
		trainA, trainB, va, vb int
	}{
		{[]string{"a.jsonl", "b.jsonl"}, 0, 0, 60, 10, 0, 0},
		{[]string{"a.jsonl:3", "b.jsonl:1"}, 0, 0, 30, 10, 0, 0},
		{[]string{"a.jsonl:.75", "b.jsonl:.25"}, 20, 4, 12, 4, 3, 1},
		{[]string{"a.jsonl", "b.jsonl:1"}, 80, 8, 36, 36, 4, 4},
	} {
		set, err := readSamples(t, TrainData{Sources: slices.Clone(tt.sources), MaxLength: 64, Samples: tt.samples, Validation: tt.hold, Seed: 3}, files)
		if err != nil {
			t.Fatal(err)
		}
		ta, tb := count(set.train)
		va, vb := count(set.valid)
		if ta != tt.trainA || tb != tt.trainB || va != tt.va || vb != tt.vb {
			t.Errorf("%v: %d and %d to train on, %d and %d held out", tt, ta, tb, va, vb)
		}
		for _, v := range set.valid {
			if slices.ContainsFunc(set.train, func(s heal.Sample) bool { return slices.Equal(s.Tokens, v.Tokens) }) {
				t.Errorf("%v: a sample that is held out is trained on", tt)
			}
		}
	}
}

// TestRemainder: the end of a text is dropped where it is a single token, and no row
// counts as skipped for it; a row without a target does.
func TestRemainder(t *testing.T) {
	d := DefaultTrainData()
	d.Sources, d.Validation = []string{"text.txt"}, 0
	const text = "Once upon a time there was a tree."
	read := func(length int) *trainSet {
		d := d
		d.Sources, d.MaxLength = slices.Clone(d.Sources), length
		set, err := readSamples(t, d, map[string]string{"text.txt": text})
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	n := len(read(512).train[0].Tokens)
	for _, length := range []int{n - 1, n, 2, 3} {
		tokens, set := 0, read(length)
		for _, s := range set.train {
			tokens += len(s.Tokens)
		}
		want := n
		if n%length == 1 {
			want--
		}
		if tokens != want || set.skipped != 0 {
			t.Errorf("%d tokens in pieces of %d: %d kept, want %d; %d skipped", n, length, tokens, want, set.skipped)
		}
	}
	d.Sources = []string{"rows.jsonl"}
	set, err := readSamples(t, d, map[string]string{"rows.jsonl": `{"text":""}` + "\n" + `{"text":"Once"}`})
	if err != nil || set.skipped != 1 || len(set.train) != 1 {
		t.Errorf("%+v, %v", set, err)
	}
}

// TestNothingToLearn: why no row has a target is said.
func TestNothingToLearn(t *testing.T) {
	for content, want := range map[string]string{
		`{"messages":[{"role":"user","content":"u"}]}`:                   "they have no answer",
		`{"prompt":"` + strings.Repeat("u ", 99) + `","completion":"a"}`: "1 of them were cut: their prompts are longer than max_length",
	} {
		_, err := readSamples(t, TrainData{Sources: []string{"r.jsonl"}, MaxLength: 64, Template: "chatml"}, map[string]string{"r.jsonl": content})
		if message, remedy := Describe(err, func(field string) string { return field }); remedy != want && !strings.Contains(remedy, want) {
			t.Errorf("%s: %s, %s", content, message, remedy)
		}
	}
}
