package eval

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestOriginalShapes: what the authors of ARC, OpenBookQA and MMLU publish asks
// what the hub's columns ask.
func TestOriginalShapes(t *testing.T) {
	const stem = `{"id":"1","question":{"stem":"What is wet?","choices":[{"text":"fire","label":"A"},{"text":"rain","label":"B"}]},"answerKey":"B"}` + "\n"
	const choices = `"choices":{"text":["fire","rain"],"label":["A","B"]},"answerKey":"B"}` + "\n"
	for _, c := range []struct{ task, own, ownText, hub, hubText string }{
		{"arc_easy", "ai2_arc/ARC-Easy/ARC-Easy-Test.jsonl", stem, "ai2_arc/ARC-Easy/test.jsonl", `{"question":"What is wet?",` + choices},
		{"openbookqa", "openbookqa/Data/Main/test.jsonl", stem, "openbookqa/main/test.jsonl", `{"question_stem":"What is wet?",` + choices},
		{"mmlu_anatomy", "mmlu/test/anatomy_test.csv", "\"What is wet, then?\",fire,rain,sand,\"a, b\",B\n", "mmlu/anatomy/test.jsonl",
			`{"question":"What is wet, then?","choices":["fire","rain","sand","a, b"],"answer":1}` + "\n"},
	} {
		t.Run(c.task, func(t *testing.T) {
			task := task(t, c.task)
			var asked [2]*Asked
			for i, f := range [][2]string{{c.own, c.ownText}, {c.hub, c.hubText}} {
				dir := t.TempDir()
				writeFile(t, filepath.Join(dir, filepath.FromSlash(f[0])), f[1])
				asked[i] = build(t, task, docs(t, Dir(dir), task, "test"), nil, BuildOptions{})
			}
			if diff := cmp.Diff(asked[1].Requests, asked[0].Requests); diff != "" {
				t.Errorf("(-hub +original):\n%s", diff)
			}
			if diff := cmp.Diff(asked[1].right, asked[0].right); diff != "" {
				t.Errorf("right answers (-hub +original):\n%s", diff)
			}
		})
	}
}

// TestParquetDocs: a task's documents as the hub has them.
func TestParquetDocs(t *testing.T) {
	type row struct {
		Goal  string `parquet:"goal"`
		Sol1  string `parquet:"sol1"`
		Sol2  string `parquet:"sol2"`
		Label int64  `parquet:"label"`
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "piqa", "data", "validation-00000-of-00001.parquet")
	writeFile(t, path, "")
	if err := parquet.WriteFile(path, []row{{"stay dry", "umbrella", "sieve", 0}, {"時", "a", "b", 1}}); err != nil {
		t.Fatal(err)
	}
	want := []Doc{
		{"goal": "stay dry", "sol1": "umbrella", "sol2": "sieve", "label": int64(0)},
		{"goal": "時", "sol1": "a", "sol2": "b", "label": int64(1)},
	}
	if diff := cmp.Diff(want, docs(t, Dir(dir), task(t, "piqa"), "validation")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHashes: of the prompt of a text that is rolled over, too.
func TestHashes(t *testing.T) {
	const a, b = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb", "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d"
	for _, c := range []struct {
		name, prompt string
		output       OutputType
		request      Request
	}{
		{"context", a, LogLikelihood, Request{Context: "a", Continuation: "b"}},
		{"rolling", b, Rolling, Request{Continuation: "b"}},
	} {
		asked := &Asked{Task: &Task{Output: c.output}, Requests: []Request{c.request}, first: []int{0, 1}, targets: []any{"b"}}
		if prompt, target := asked.Hashes(0); prompt != c.prompt || target != b {
			t.Errorf("%s: %s, %s", c.name, prompt, target)
		}
	}
}
