package stage

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEvalChat: requests in three chat templates, with and without examples, as turns
// or not, are what make.py beside the documents made by the harness's rules.
func TestEvalChat(t *testing.T) {
	const folder = "testdata/evalchat"
	var want map[string]string
	raw, err := os.ReadFile(filepath.Join(folder, "want.json"))
	if err == nil {
		err = json.Unmarshal(raw, &want)
	}
	if err != nil || len(want) != 30 {
		t.Fatal(len(want), err)
	}
	for name, sum := range want {
		t.Run(name, func(t *testing.T) {
			f := strings.SplitN(name, " ", 5)
			e := DefaultEval()
			e.Names, e.Model, e.DataDir = f[0], conversations, filepath.Join(folder, "data")
			e.Shots, e.EvalChat = 0, EvalChat{Apply: true, Template: filepath.Join(conversations, f[1]+".jinja"), Multiturn: f[3] == "true", Instruction: f[4]}
			if f[2] == "5" {
				e.Shots = 5
			}
			asked, err := e.Requests(context.Background(), Env{Getenv: os.Getenv, Talk: Silent{}})
			if err != nil {
				t.Fatal(err)
			}
			var parts []string
			for _, r := range asked[0].Requests {
				parts = append(parts, r.Context+"\x01"+r.Continuation)
			}
			if got := fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(parts, "\x00")))); got != sum {
				t.Errorf("other requests: %q", parts[0])
			}
		})
	}
	e := DefaultEval()
	e.Names, e.EvalChat.Multiturn = "piqa", true
	if err := e.Check(); err == nil || !strings.Contains(err.Error(), "goes with apply_chat_template") {
		t.Errorf("turns without a chat: %v", err)
	}
}
