package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
)

// recorder is a Talk that remembers, and perhaps refuses long work.
type recorder struct {
	Silent
	said    []string
	asked   []Estimate
	refuses error
	heard   func(text string) // may be nil
}

func (r *recorder) say(format string, args ...any) {
	text := fmt.Sprintf(Named(format, flag), args...)
	r.said = append(r.said, text)
	if r.heard != nil {
		r.heard(text)
	}
}

func (r *recorder) Note(format string, args ...any)   { r.say(format, args...) }
func (r *recorder) Detail(format string, args ...any) { r.say(format, args...) }
func (r *recorder) Warn(format string, args ...any)   { r.say(format, args...) }

func (r *recorder) Consent(_ context.Context, e Estimate) error {
	r.asked = append(r.asked, e)
	return r.refuses
}

func (r *recorder) has(part string) bool {
	return slices.ContainsFunc(r.said, func(s string) bool { return strings.Contains(s, part) })
}

func testEnv(t *testing.T) (Env, *recorder) {
	t.Helper()
	r := &recorder{}
	return Env{Getenv: os.Getenv, Cache: t.TempDir(), Version: "test", Talk: r}, r
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestPruneAsks: ranking that runs the model is announced and asked about before it
// begins, in rounds, too; what is known from before is not asked about again.
func TestPruneAsks(t *testing.T) {
	dir := testkit.Llama(t, testkit.Options{Layers: 8})
	for _, how := range []struct {
		name  string
		prune func(*Prune)
		says  string
	}{
		{"greedy-ppl", func(p *Prune) { p.By, p.Count = "greedy-ppl", 4 }, "greedy-ppl: 4 passes over the weights"},
		{"rounds", func(p *Prune) { p.By, p.Iterative = "ppl", "1:4" }, "ppl in 4 rounds: 4 passes over the weights"},
	} {
		t.Run(how.name, func(t *testing.T) {
			env, talk := testEnv(t)
			p := DefaultPrune()
			p.Model, p.Out = dir, filepath.Join(t.TempDir(), "out")
			p.Tokens = write(t, filepath.Join(t.TempDir(), "tokens.json"), "[[1,2,3,4,5,6,7,8],[9,8,7,6]]")
			how.prune(&p)
			planned := func(report.Plan) error { return nil }
			talk.refuses = errors.New("no")
			_, err := p.Run(t.Context(), env, func(report.Plan) error { t.Error("planned all the same"); return nil })
			if !errors.Is(err, talk.refuses) || len(talk.asked) != 1 || talk.asked[0].Time <= 0 || !talk.has(how.says) {
				t.Fatalf("%v; asked %v; said %q", err, talk.asked, talk.said)
			}
			talk.refuses = nil
			if _, err := p.Run(t.Context(), env, planned); err != nil {
				t.Fatal(err)
			}
			talk.asked = nil
			p.Force = true
			if _, err := p.Run(t.Context(), env, planned); err != nil || !talk.has("using again") {
				t.Fatalf("%v; said %q", err, talk.said)
			}
			if how.name == "greedy-ppl" && len(talk.asked) != 0 {
				t.Errorf("asked about work that is done: %v", talk.asked)
			}
		})
	}
}

const taskFile = `
task: %s
dataset_path: %s
test_split: test
output_type: multiple_choice
doc_to_text: "The {{thing}} is"
doc_to_choice: [" green", " blue"]
doc_to_target: 0
`

// evalOf asks tasks of their own over documents; more than 60 words are too many
// for the model.
func evalOf(t *testing.T, things ...string) Eval {
	t.Helper()
	root := t.TempDir()
	var names []string
	for i, thing := range things {
		name := string(rune('a' + i))
		names = append(names, name)
		write(t, filepath.Join(root, "tasks", name+".yaml"), fmt.Sprintf(taskFile, name, name))
		write(t, filepath.Join(root, "data", name, "test.jsonl"), fmt.Sprintf("{\"thing\":\"leaf\"}\n{\"thing\":%q}\n", thing))
	}
	e := DefaultEval()
	e.Model = testkit.Llama(t, testkit.Options{Layers: 3, Tokenizer: true, MaxPositions: 64})
	e.Names, e.TaskDir, e.DataDir = strings.Join(names, ","), filepath.Join(root, "tasks"), filepath.Join(root, "data")
	e.Out = filepath.Join(root, "out.json")
	return e
}

// TestEvalChecksLength: a request that the model cannot hold is an error before
// anything runs, whichever task it is of.
func TestEvalChecksLength(t *testing.T) {
	env, talk := testEnv(t)
	e := evalOf(t, "sky", "sea")
	write(t, filepath.Join(e.TaskDir, "b.yaml"), strings.Replace(fmt.Sprintf(taskFile, "b", "b"), `" green"`, `" `+strings.Repeat("green ", 80)+`"`, 1))
	_, err := e.Run(t.Context(), env)
	message, remedy := "", ""
	if err != nil {
		message, remedy = Describe(err, flag)
	}
	if !strings.HasPrefix(message, "task b: document 0: the continuation has ") || remedy != "use a model with more positions, or leave the task out" || errors.Is(err, ErrPartial) {
		t.Errorf("%q, remedy %q", message, remedy)
	}
	if talk.has("request") {
		t.Errorf("something was asked before: %q", talk.said)
	}
	if _, err := os.Stat(e.Out + ".partial"); err == nil {
		t.Error("a state was left")
	}
}

// TestEvalGoesOn: an interrupted run says that the same command goes on, and it does.
func TestEvalGoesOn(t *testing.T) {
	env, talk := testEnv(t)
	e := evalOf(t, "sky", "sea", "sun")
	ctx, cancel := context.WithCancel(t.Context())
	talk.heard = func(text string) {
		if strings.HasPrefix(text, "b: ") {
			cancel()
		}
	}
	_, err := e.Run(ctx, env)
	if err == nil {
		t.Fatal("not interrupted")
	}
	if message, remedy := Describe(err, flag); message != "cancelled" || remedy != "1 task of 3 are done; the same command goes on from there" || !errors.Is(err, ErrPartial) {
		t.Errorf("%q, remedy %q, %v", message, remedy, err)
	}
	talk.said, talk.heard = nil, nil
	lines, err := e.Run(t.Context(), env)
	if err != nil || talk.has("a: ") || !talk.has("b: ") || !talk.has("c: ") || len(lines[0]) != 6 {
		t.Errorf("%v; %d lines; said %q", err, len(lines), talk.said)
	}
}

// TestEvalApart: a second run on the same output is refused, with force, too, and
// leaves the first one's work alone.
func TestEvalApart(t *testing.T) {
	env, _ := testEnv(t)
	e := evalOf(t, "sky")
	first, err := eval.OpenState(e.Out+".partial", map[string]any{"model": "other"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e.Force = range []bool{false, true} {
		_, err := e.Run(t.Context(), env)
		if err == nil {
			t.Skip("no file locks here")
		}
		if _, remedy := Describe(err, flag); !errors.Is(err, eval.ErrInUse) || remedy != "wait for the other run, or name another --out" {
			t.Errorf("force %v: %v, remedy %q", e.Force, err, remedy)
		}
		if _, err := os.Stat(e.Out + ".partial"); err != nil {
			t.Errorf("force %v: the first one's state: %v", e.Force, err)
		}
	}
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Run(t.Context(), env); err != nil {
		t.Error(err)
	}
}

// TestOutputsFirst: what cannot be written is said before anything is looked at.
func TestOutputsFirst(t *testing.T) {
	env, talk := testEnv(t)
	file := write(t, filepath.Join(t.TempDir(), "file"), "x")
	for _, place := range []struct{ dir, want string }{
		{file, "is a file"},
		{filepath.Join(file, "below"), "file/below: not a directory"},
	} {
		out := filepath.Join(place.dir, "out.json")
		ev := evalOf(t, "sky")
		samples, requests := ev, ev
		ev.Out, samples.SamplesOut, requests.RequestsOut = out, out, out
		logProbs := DefaultLogProbs()
		logProbs.Model, logProbs.Source, logProbs.TokensOut = ev.Model, file, out
		run := func(e Eval) error { _, err := e.Run(t.Context(), env); return err }
		for field, err := range map[string]error{
			"out": run(ev), "samples_out": run(samples), "requests_out": run(requests),
			"tokens_out": func() error { _, err := logProbs.Run(t.Context(), env, nil); return err }(),
		} {
			var p *Problem
			if !errors.As(err, &p) || p.Field != field || !strings.Contains(err.Error(), place.want) {
				t.Errorf("%s: %v, want %q", field, err, place.want)
			}
		}
	}
	if len(talk.said) > 0 {
		t.Errorf("work was done: %q", talk.said)
	}
}
