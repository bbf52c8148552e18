package cli

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
)

// chatModel is a pico model with a tokenizer that has the templates' markers.
func chatModel(t *testing.T, folder string) string {
	t.Helper()
	dir := testkit.Llama(t, testkit.Options{Layers: 2, Vocab: 300, MaxPositions: 2048})
	raw, err := os.ReadFile(filepath.Join(folder, "tokenizer.json"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "tokenizer.json"), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// runMain runs the command line and returns what it printed.
func runMain(t *testing.T, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	cache := t.TempDir()
	getenv := func(name string) string {
		if name == "COPPICE_CACHE" {
			return cache
		}
		return os.Getenv(name)
	}
	if code := Main(args, System{Out: &out, Err: &errs, Getenv: getenv}); code != exitOK {
		t.Fatalf("%q: exit code %d: %s", args, code, errs.String())
	}
	return out.Bytes()
}

// TestEvalChat: with the flags for chat models, requests are those that
// stage/testdata/evalchat/make.py worked out by the harness's rules, and results
// say how they were made.
func TestEvalChat(t *testing.T) {
	folder := filepath.Join("..", "..", "stage", "testdata")
	templates := filepath.Join(folder, "conversations")
	var want map[string]string
	raw, err := os.ReadFile(filepath.Join(folder, "evalchat", "want.json"))
	if err == nil {
		err = json.Unmarshal(raw, &want)
	}
	if err != nil || len(want) != 30 {
		t.Fatal(len(want), err)
	}
	model := chatModel(t, templates)
	for name, sum := range want {
		t.Run(name, func(t *testing.T) {
			f := strings.SplitN(name, " ", 5)
			args := chatArgs(f, filepath.Join(folder, "evalchat", "data"), templates)
			if got := sumOf(t, runMain(t, append([]string{"eval", model, "--show", f[0], "--json"}, args...)...)); got != sum {
				t.Error("other requests are shown")
			}
			if f[0] == "gsm8k" && f[2] == "5" { // answers are long
				return
			}
			out, asked := filepath.Join(t.TempDir(), "r.json"), filepath.Join(t.TempDir(), "asked.jsonl")
			runMain(t, append([]string{"eval", model, "--tasks", f[0], "--out", out, "--requests-out", asked, "--dtype", "float32"}, args...)...)
			sent, err := os.ReadFile(asked)
			if err != nil {
				t.Fatal(err)
			}
			if got := sumOf(t, sent); got != sum {
				t.Error("other requests are sent")
			}
			origin(t, out, filepath.Join(templates, f[1]+".jinja"), f[3] == "true", f[4])
		})
	}
}

// chatArgs are the flags of a case: task, template, examples, turns, instruction.
func chatArgs(f []string, data, templates string) []string {
	args := []string{"--data-dir", data, "--num-fewshot", f[2], "--apply-chat-template", "--chat-template", filepath.Join(templates, f[1]+".jinja")}
	if f[3] == "true" {
		args = append(args, "--fewshot-as-multiturn")
	}
	if f[4] != "" {
		args = append(args, "--system-instruction", f[4])
	}
	return args
}

// sumOf hashes requests as make.py does.
func sumOf(t *testing.T, lines []byte) string {
	t.Helper()
	var parts []string
	for d := json.NewDecoder(bytes.NewReader(lines)); d.More(); {
		var r report.Request
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		parts = append(parts, r.Context+"\x01"+r.Continuation)
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(parts, "\x00"))))
}

// origin checks what results say of the template, turns and instruction.
func origin(t *testing.T, results, template string, multiturn bool, instruction string) {
	t.Helper()
	raw, err := os.ReadFile(results)
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Coppice report.EvalOrigin `json:"coppice"`
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(template)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(text)); r.Coppice.ChatTemplate != want {
		t.Errorf("chat_template_sha %q, want %q", r.Coppice.ChatTemplate, want)
	}
	wantSystem := ""
	if instruction != "" {
		wantSystem = fmt.Sprintf("%x", sha256.Sum256([]byte(instruction)))
	}
	if r.Coppice.Multiturn != multiturn || r.Coppice.System != instruction || r.Coppice.SystemHash != wantSystem {
		t.Errorf("%+v: want turns %v, instruction %q", r.Coppice, multiturn, instruction)
	}
}
