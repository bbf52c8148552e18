package sapling

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/eval"
	"github.com/coppice-ml/coppice/internal/sapling/world"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/tokenizer"
)

// TestSize: 7 MB in the repository and the binary, no more.
func TestSize(t *testing.T) {
	var total int64
	err := fs.WalkDir(Files(), ".", func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			info, _ := e.Info()
			total += info.Size()
		}
		return err
	})
	if err != nil || total > 7_000_000 || total < 4_000_000 {
		t.Errorf("%d bytes (%v)", total, err)
	}
}

// TestMake: what is written loads, is what the world makes, and is the same again.
func TestMake(t *testing.T) {
	dir := t.TempDir()
	for range 2 { // over what is there
		if err := Make(dir); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", ".sapling-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	c, err := checkpoint.Open(filepath.Join(dir, ModelDir))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := model.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if n := m.Spec.Parameters(); n < 2_000_000 || n > 3_000_000 || m.Spec.Layers != 12 || m.Spec.Hidden != 128 || m.Spec.Tied {
		t.Errorf("%d parameters in %d layers of %d, tied %v", n, m.Spec.Layers, m.Spec.Hidden, m.Spec.Tied)
	}
	tok, err := tokenizer.Load(filepath.Join(dir, ModelDir))
	if err != nil {
		t.Fatal(err)
	}
	if m.Spec.Vocab != 1024 {
		t.Errorf("vocabulary of %d", m.Spec.Vocab)
	}
	text := "Question: Where does Colin live?\nAnswer:"
	if ids := tok.Encode(text, false); len(ids) > 10 {
		t.Errorf("%q is %d tokens", text, len(ids))
	}
}

// TestTasks: every task is there, and its documents are those the world makes.
func TestTasks(t *testing.T) {
	dir := t.TempDir()
	if err := Make(dir); err != nil {
		t.Fatal(err)
	}
	l, err := eval.Builtin()
	if err == nil {
		err = l.AddDir(filepath.Join(dir, TaskDir))
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Select([]string{Group})
	if err != nil || len(s.Tasks) != len(Tasks()) {
		t.Fatalf("%d tasks (%v)", len(s.Tasks), err)
	}
	for i, made := range world.New(world.Seed).Tasks(2) {
		task := s.Tasks[i]
		if task.Name != Tasks()[i] || task.Name != "sapling_"+made.Name {
			t.Errorf("task %d is %s", i, task.Name)
		}
		docs, err := eval.Dir(filepath.Join(dir, DataDir)).Docs(task, "test")
		if err != nil || len(docs) != len(made.Docs) {
			t.Fatalf("%s: %d documents, want %d (%v)", task.Name, len(docs), len(made.Docs), err)
		}
		raw, err := os.ReadFile(filepath.Join(dir, DataDir, task.Name, "test.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		for _, d := range made.Docs {
			if err := e.Encode(d); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(raw, want.Bytes()) {
			t.Errorf("%s: not what the world makes", task.Name)
		}
		asked, err := eval.Build(task, docs, nil, eval.BuildOptions{Shots: -1})
		if err != nil {
			t.Errorf("%s: %v", task.Name, err)
		} else if asked == nil {
			t.Errorf("%s asks nothing", task.Name)
		}
	}
}

// TestInstructions: Alpaca's schema, rows that the world makes.
func TestInstructions(t *testing.T) {
	raw, err := fs.ReadFile(Files(), Instructions)
	if err != nil {
		t.Fatal(err)
	}
	var rows []world.Instruction
	if err := json.Unmarshal(raw, &rows); err != nil {
		t.Fatal(err)
	}
	made := world.New(world.Seed).Fixed().Instructions(3, len(rows))
	if len(rows) < 1000 {
		t.Errorf("only %d rows", len(rows))
	}
	for i, r := range rows {
		if r != made[i] || r.Instruction == "" || strings.TrimSpace(r.Output) == "" {
			t.Fatalf("row %d is %+v, the world makes %+v", i, r, made[i])
		}
	}
}
