package eval

import (
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestNewTasks: the requests of one document each, written out by hand from the task files' rules.
func TestNewTasks(t *testing.T) {
	for name, tt := range map[string]struct {
		doc   Doc
		want  []Request
		right int
	}{
		"boolq": {Doc{"passage": "P.", "question": "is it", "label": int64(1)}, []Request{{0, 0, "P.\nQuestion: is it?\nAnswer:", " no"}, {0, 1, "P.\nQuestion: is it?\nAnswer:", " yes"}}, 1},
		"sciq": {Doc{"support": "\n S", "question": "Q", "distractor1": "a", "distractor2": "b", "distractor3": "c", "correct_answer": "d"}, []Request{
			{0, 0, "S\nQuestion: Q\nAnswer:", " a"}, {0, 1, "S\nQuestion: Q\nAnswer:", " b"}, {0, 2, "S\nQuestion: Q\nAnswer:", " c"}, {0, 3, "S\nQuestion: Q\nAnswer:", " d"}}, 3},
		"commonsense_qa": {Doc{"question": " Q? ", "answerKey": "C", "choices": map[string]any{"text": []any{"v", "w", "x", "y", "z"}, "label": []any{"A", "B", "C", "D", "E"}}}, []Request{
			{0, 0, "Question: Q?\nA. v\nB. w\nC. x\nD. y\nE. z\nAnswer:", " A"}, {0, 1, "Question: Q?\nA. v\nB. w\nC. x\nD. y\nE. z\nAnswer:", " B"},
			{0, 2, "Question: Q?\nA. v\nB. w\nC. x\nD. y\nE. z\nAnswer:", " C"}, {0, 3, "Question: Q?\nA. v\nB. w\nC. x\nD. y\nE. z\nAnswer:", " D"},
			{0, 4, "Question: Q?\nA. v\nB. w\nC. x\nD. y\nE. z\nAnswer:", " E"}}, 2},
		"race": {Doc{"article": "A.", "problems": "[{'question': 'He is  _  .', 'answer': 'B', 'options': ['a', \"b's\", 'c', 'd']}, {'question': 'Who?', 'answer': 'A', 'options': ['e', 'f', 'g', 'h']}, {'question': 'Why  _  .', 'answer': 'D', 'options': ['i', 'j', 'k', 'l']}]"}, []Request{
			{0, 0, "Article: A.\n\nHe is b's\nQuestion: Who?\nAnswer: e\nWhy  _  .", " i"}, {0, 1, "Article: A.\n\nHe is b's\nQuestion: Who?\nAnswer: e\nWhy  _  .", " j"},
			{0, 2, "Article: A.\n\nHe is b's\nQuestion: Who?\nAnswer: e\nWhy  _  .", " k"}, {0, 3, "Article: A.\n\nHe is b's\nQuestion: Who?\nAnswer: e\nWhy  _  .", " l"}}, 3},
	} {
		a, err := Build(task(t, name), []Doc{tt.doc}, nil, BuildOptions{Shots: -1})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, a.Requests); diff != "" || a.right[0][0] != tt.right {
			t.Errorf("%s: right %v (-want +got):\n%s", name, a.right, diff)
		}
	}
}

// TestRaceList: problems that are a list are those of a list written out.
func TestRaceList(t *testing.T) {
	one := map[string]any{"question": "Why?", "answer": "B", "options": []any{"a", "b", "c", "d"}}
	list, err := Build(task(t, "race"), []Doc{{"article": "A.", "problems": []any{one}}}, nil, BuildOptions{Shots: -1})
	if err != nil {
		t.Fatal(err)
	}
	text, err := Build(task(t, "race"), []Doc{{"article": "A.", "problems": "[{'question': 'Why?', 'answer': 'B', 'options': ['a', 'b', 'c', 'd']}]"}}, nil, BuildOptions{Shots: -1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text.Requests, list.Requests); diff != "" || list.right[0][0] != 1 {
		t.Errorf("(-text +list):\n%s", diff)
	}
}

// TestPinned: every task says at what revision its data are, and where a file is pinned
// there, one for each split that is asked or shown.
func TestPinned(t *testing.T) {
	commit := regexp.MustCompile(`^([0-9a-f]{40}|refs/convert/parquet)$`)
	l := library(t)
	for _, name := range l.Names() {
		x, ok := l.Task(name)
		if !ok { // a group
			continue
		}
		if !commit.MatchString(x.Metadata.Revision) {
			t.Errorf("%s: revision %q", name, x.Metadata.Revision)
		}
		if len(x.Metadata.Files) == 0 {
			continue
		}
		for _, split := range []string{x.TrainingSplit, x.ValidationSplit, x.TestSplit, x.FewshotSplit} {
			if split != "" && len(x.Metadata.Files[split]) == 0 {
				t.Errorf("%s: no file of split %s", name, split)
			}
		}
	}
}
