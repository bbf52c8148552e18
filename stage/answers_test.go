package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/report"
)

const trained = "../testdata/trained"

// interrupter cancels after so many answers.
type interrupter struct {
	Silent
	after  int
	cancel context.CancelFunc
}

func (i *interrupter) Progress(string, Unit) (func(done, total int64), func()) {
	return func(int64, int64) {
		if i.after--; i.after == 0 {
			i.cancel()
		}
	}, func() {}
}

func stories(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"prompt\":\"Once upon a time%s %d\"}\n", strings.Repeat(" there was", i%5), i%40)
	}
	path := filepath.Join(t.TempDir(), "prompts.jsonl")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func answer(ctx context.Context, g Generate, talk Talk) (*report.Generated, error) {
	return g.Answer(ctx, Env{Getenv: os.Getenv, Talk: talk})
}

// TestAnswersResume: broken off ten times, with the last line of what is kept cut
// short, the file is that of one call; and each answer is that of a call of its own.
func TestAnswersResume(t *testing.T) {
	g := DefaultGenerate()
	g.Model, g.Data, g.MaxTokens, g.Temperature = trained, stories(t, 60), 24, .8
	g.Out = filepath.Join(t.TempDir(), "whole.jsonl")
	done, err := answer(t.Context(), g, Silent{})
	if err != nil || done.Rows != 60 || done.OutOfTokens == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	want, err := os.ReadFile(g.Out)
	if err != nil {
		t.Fatal(err)
	}
	g.Out = filepath.Join(t.TempDir(), "parts.jsonl")
	for i := range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := answer(ctx, g, &interrupter{after: 1 + i%5, cancel: cancel})
		cancel()
		if !errors.Is(err, ErrPartial) {
			t.Fatalf("broken off for the time %d: %v", i, err)
		}
		if raw, err := os.ReadFile(g.Out + ".partial"); err != nil || os.Truncate(g.Out+".partial", int64(len(raw)-1-i)) != nil {
			t.Fatal(err)
		}
	}
	other := g
	other.MaxTokens = 25
	if _, err := answer(t.Context(), other, Silent{}); err == nil || !strings.Contains(err.Error(), `max_tokens was "24" and is "25"`) {
		t.Errorf("other settings: %v", err)
	}
	done, err = answer(t.Context(), g, Silent{})
	if err != nil || done.Resumed == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	if got, err := os.ReadFile(g.Out); err != nil || string(got) != string(want) {
		t.Errorf("another file: %v", err)
	}
	if _, err := os.Stat(g.Out + ".partial"); err == nil {
		t.Error("the file of parts is left")
	}
	if again, err := answer(t.Context(), g, Silent{}); err != nil || again.Tokens != done.Tokens {
		t.Errorf("once more: %+v, %v", again, err)
	}
	if _, err := answer(t.Context(), other, Silent{}); err == nil || !strings.Contains(err.Error(), "max_tokens was 24 and is now 25") {
		t.Errorf("other settings, when all is done: %v", err)
	}
	alone(t, g, want)
}

// alone compares some answers with what their prompts alone come to.
func alone(t *testing.T, g Generate, file []byte) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(file)), "\n")
	for _, i := range []int{0, 7, 59} {
		var row struct {
			Prompt, Completion, Finish string
			Row                        int
		}
		if err := json.Unmarshal([]byte(lines[i]), &row); err != nil {
			t.Fatal(err)
		}
		one := g
		one.Questions, one.Prompt = Questions{}, &row.Prompt
		got, err := one.Run(t.Context(), Env{Getenv: os.Getenv, Talk: Silent{}}, nil)
		if err != nil || *got[0].Text != row.Completion || got[0].Finish != row.Finish || row.Row != i {
			t.Errorf("row %d: %q %s; alone %q %s, %v", i, row.Completion, row.Finish, *got[0].Text, got[0].Finish, err)
		}
	}
}

// TestAnswersAreRows: what is written can be trained on, by the schema of the
// prompts; members of messages stay.
func TestAnswersAreRows(t *testing.T) {
	rows := `{"messages":[{"role":"user","content":"<a>"},{"role":"assistant","content":null,"tool_calls":[{"z":1,"a":2}]},{"role":"tool","content":"x"},{"role":"assistant","content":"old"}],"tools":[{"z":{}, "a":[]}]}
{"messages":[{"role":"user","content":"b"}]}
`
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	if err := os.WriteFile(path, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	template := filepath.Join(t.TempDir(), "t.jinja")
	if err := os.WriteFile(template, []byte(`{% for m in messages %}{{ m.role }}: {{ m.content or m.tool_calls|tojson }}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}`), 0o600); err != nil {
		t.Fatal(err)
	}
	g := DefaultGenerate()
	g.Model, g.Data, g.MaxTokens, g.Questions.Template, g.System = trained, path, 5, template, "s"
	g.Out = filepath.Join(t.TempDir(), "out.jsonl")
	if _, err := answer(t.Context(), g, Silent{}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(g.Out)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"<a>"},{"role":"assistant","content":null,"tool_calls":[{"z":1,"a":2}]},{"role":"tool","content":"x"},{"role":"assistant","content":"`,
		`{"messages":[{"role":"system","content":"s"},{"role":"user","content":"b"},{"role":"assistant","content":"`,
	} {
		if line := strings.Split(string(raw), "\n")[i]; !strings.HasPrefix(line, want) || !strings.Contains(line, `"finish":"length","tokens":5,"row":`+fmt.Sprint(i)) {
			t.Errorf("row %d: %s", i, line)
		}
	}
	d := DefaultTrainData()
	d.Sources, d.Template, d.Validation = []string{g.Out}, template, 0
	h := DefaultHeal()
	h.Model, h.Data = trained, d
	h.Data.Preview = 2
	n := 0
	if err := h.Show(t.Context(), Env{Getenv: os.Getenv, Talk: Silent{}}, func(p report.Preview) error { n += p.Targets; return nil }); err != nil || n == 0 {
		t.Errorf("%d targets, %v", n, err)
	}
}
