package data_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/data"
)

func rowsOf(t *testing.T, name, content string) []data.Row {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	var out []data.Row
	for r, err := range data.Rows(path, data.RowOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestSchemas(t *testing.T) {
	rows := rowsOf(t, "a.jsonl", `{"instruction":"Add.","input":"1 2","output":"3"}
{"instruction":"Greet.","output":"Hi"}
{"instruction":"Greet.","input":"","output":"Hi"}
{"text":"Once."}
{"question":"x"}
`)
	short := "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nGreet.\n\n### Response:\n"
	for i, want := range []data.Example{
		{Prompt: "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n", Answer: "3"},
		{Prompt: short, Answer: "Hi"}, {Prompt: short, Answer: "Hi"}, {Answer: "Once."},
	} {
		s, err := data.DetectSchema(rows[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Read(rows[i], nil); err != nil || got.Prompt != want.Prompt || got.Answer != want.Answer {
			t.Errorf("row %d: %+v, %v; want %+v", i, got, err, want)
		}
	}
	// Rows that have a schema's own names are read beside renamed ones.
	both := data.Renames{"output": "answer", "text": "story"}
	if s, err := data.DetectSchema(rows[1], both); err != nil || s != data.SchemaAlpaca {
		t.Errorf("%q, %v", s, err)
	} else if x, err := s.Read(rows[1], both); err != nil || x.Answer != "Hi" {
		t.Errorf("%+v, %v", x, err)
	}
	_, err := data.DetectSchema(rows[4], nil)
	for _, part := range []string{"line 5", "question", "messages wants messages", "alpaca wants instruction, output", "text wants text", "--map output=answer"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("unknown columns: %v lacks %q", err, part)
		}
	}
}

// TestChoices: the prompt is what MMLU's tasks ask, and the letter is what is learnt,
// whatever way a file has the answer.
func TestChoices(t *testing.T) {
	rows := rowsOf(t, "a.jsonl", `{"question":" 1+1? ","subject":"sums","choices":["1","2",3],"answer":1}
{"question":"1+1?","choices":["1","2","3"],"answer":"B"}
{"question":"1+1?","choices":["1","2","3"],"answer":"1"}
{"question":"1+1?","choices":["1","2","3"],"answer":3}
{"question":"1+1?","choices":["1"],"answer":0}
{"question":"1+1?","choices":["1","2","3"]}
`)
	for _, r := range rows[:3] {
		s, err := data.DetectSchema(r, nil)
		if err != nil || s != data.SchemaChoice {
			t.Fatal(s, err)
		}
		if x, err := s.Read(r, nil); err != nil || x.Prompt != "1+1?\nA. 1\nB. 2\nC. 3\nAnswer:" || x.Answer != " B" {
			t.Errorf("%+v, %v", x, err)
		}
	}
	if x, err := data.SchemaChoice.Read(rows[0], data.Renames{"question": "asked", "choices": "options", "answer": "key"}); err != nil || x.Answer != " B" {
		t.Errorf("a row with the schema's own names beside others: %+v, %v", x, err)
	}
	for i, want := range map[int]string{3: `holds 3, and there are 3 choices`, 4: "at least two texts"} {
		if _, err := data.SchemaChoice.Read(rows[i], nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("row %d: %v, want %q", i, err, want)
		}
	}
	s, asked, err := data.Schema("").AsPrompt(rows[5], nil)
	if err != nil || s != data.SchemaChoice {
		t.Fatal(s, err)
	}
	if x, err := s.Read(asked, nil); err != nil || x.Answer != "" {
		t.Errorf("without an answer: %+v, %v", x, err)
	}
}

func TestReadLabelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	read := func(content string) ([]data.Labelled, error) {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return data.ReadLabelled(path, 10)
	}
	got, err := read(`{"input_ids":[1,2,3],"labels":[-100,2,3]}` + "\n" + `{"input_ids":[0,0,4,5],"labels":[-100,-100,-100,5],"attention_mask":[0,0,1,1]}`)
	if err != nil || len(got) != 2 || !slices.Equal(got[0].Labels, []int32{-100, 2, 3}) ||
		!slices.Equal(got[1].Tokens, []int32{4, 5}) || !slices.Equal(got[1].Labels, []int32{-100, 5}) {
		t.Errorf("got %v, %v", got, err)
	}
	for content, want := range map[string]string{
		`{"input_ids":[1,10],"labels":[1,2]}`:                                         "input_ids: element 1 is 10, outside the vocabulary of 10",
		`{"input_ids":[1,2],"labels":[1,-1]}`:                                         "labels: element 1 is -1",
		`{"input_ids":[1,2],"labels":[1]}`:                                            "labels has 1 places, input_ids 2",
		`{"input_ids":[1,"x"],"labels":[1,2]}`:                                        "element 1 is no integer",
		`{"input_ids":3,"labels":[1,2]}`:                                              "input_ids is not a list",
		`{"labels":[1,2]}`:                                                            "input_ids",
		`{"input_ids":[1,2],"labels":[1,2],"attention_mask":[0,0]}`:                   "no tokens",
		`{"input_ids":[1,2],"labels":[1,2],"attention_mask":[1]}`:                     "attention_mask has 1 places",
		`{"input_ids":[0,1,2,3,0],"labels":[0,1,2,3,0],"attention_mask":[0,1,0,1,0]}`: "attention_mask: element 2 is 0 between tokens",
		``: "there are no rows",
	} {
		if _, err := read(content); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "a.jsonl") {
			t.Errorf("%s: %v, want %q", content, err, want)
		}
	}
}
