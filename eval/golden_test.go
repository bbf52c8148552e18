package eval

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// firstThree are the requests of a task's first documents.
func firstThree(t *testing.T, d Dir, task *Task, shots int) *Asked {
	t.Helper()
	var pool []Doc
	if task.Shots(shots) > 0 {
		pool = docs(t, d, task, task.FewshotFrom())
	}
	return build(t, task, docs(t, d, task, task.Split()), pool, BuildOptions{Limit: 3, Shots: shots, FewshotSeed: DefaultFewshotSeed})
}

// TestRenderings compares the requests of every task's first three documents,
// zero- and few-shot, with those another program made from the published
// definitions: see testdata/renderings.py. The documents are made up; for
// published ones see TestPublished.
func TestRenderings(t *testing.T) {
	compareRenderings(t, "testdata/made.tsv", "testdata/made")
}

// compareRenderings holds requests to a table of hashes and returns the names
// of the tasks in it.
func compareRenderings(t *testing.T, table string, from Dir) map[string]bool {
	t.Helper()
	raw, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	l, seen := library(t), map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		var name, want string
		var shots int
		if _, err := fmt.Sscan(line, &name, &shots, &want); err != nil {
			t.Fatal(err)
		}
		d := from
		task, ok := l.Task(strings.TrimSuffix(name, "-raw"))
		if !ok {
			t.Fatalf("no task %s", name)
		}
		if _, err := os.Stat(filepath.Join("testdata", "data", filepath.Base(task.DatasetPath))); err == nil && name != "hellaswag" {
			d = "testdata/data"
		}
		if got := hashOfRequests(firstThree(t, d, task, shots)); got != want {
			t.Errorf("%s, %d examples: the requests hash to %s, want %s", name, shots, got, want)
		}
		seen[task.Name] = true
	}
	return seen
}

// publishedRenderings does so for documents of every built-in task.
func publishedRenderings(t *testing.T, d Dir) {
	seen := compareRenderings(t, "testdata/renderings.tsv", d)
	s, err := library(t).Select([]string{"layer-pruning", "wikitext", "lambada_openai", "gsm8k"})
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range s.Tasks {
		if !seen[task.Name] {
			t.Errorf("no rendering of %s", task.Name)
		}
	}
}

// TestShown compares the requests of made-up documents with texts people have read.
func TestShown(t *testing.T) {
	for _, name := range []string{"hellaswag", "lambada_openai", "gsm8k", "wikitext"} {
		t.Run(name, func(t *testing.T) {
			a := firstThree(t, "testdata/data", task(t, name), -1)
			var b strings.Builder
			for _, r := range a.Requests {
				fmt.Fprintf(&b, "# document %d, choice %d\n%s⟦%s⟧\n", r.Doc, r.Choice, r.Context, r.Continuation)
			}
			path := filepath.Join("testdata", "show", name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(b.String()), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), b.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOriginalFiles: files as the authors publish them give the documents of the hub's.
func TestOriginalFiles(t *testing.T) { originalFiles(t, "testdata/made") }

func originalFiles(t *testing.T, d Dir) {
	t.Helper()
	task := task(t, "piqa")
	hub := docs(t, d, task, "validation")
	own := docs(t, Dir(filepath.Join(string(d), "piqa_original")), task, "validation")
	if diff := cmp.Diff(hub, own); diff != "" {
		t.Errorf("(-hub +original):\n%s", diff)
	}
}
