package run

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/run/rundir"
)

// TestAnswers: rows are answered once by the whole model, whatever is then cut, and
// what is trained on them is another model than on the rows' own answers.
func TestAnswers(t *testing.T) {
	w := newWorld(t)
	recipe := strings.Replace(base, "measure:\n  tasks: [pair]\n  task_dir: tasks\n  data_dir: data\n", "measure: none\n", 1) + `matrix:
  metric: [reverse, random]
  answers:
    - {name: theirs, heal: {data: {answers: none}}}
    - {name: own, heal: {data: {samples: 24, answers: {max_tokens: 3}}}}
`
	got, outcome, err := w.run(t, context.Background(), recipe, "out", nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "first", got, `{"answers":1,"heal":4,"plan":2,"score":2}`)
	d, err := rundir.Open(outcome.Dir)
	if err != nil {
		t.Fatal(err)
	}
	own, _ := d.Trial("model/reverse/own")
	ref, _ := own.Stage(rundir.KindAnswers)
	raw, err := os.ReadFile(d.File(ref, rundir.AnswersFile))
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(raw)) {
		var row struct {
			Prompt, Completion, Finish string
			Tokens                     int
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil || !strings.HasPrefix(row.Prompt, "say ") || row.Completion == "" || row.Tokens > 3 {
			t.Errorf("%s: %+v, %v", line, row, err)
		}
		rows++
	}
	if m, err := d.Manifest(ref); err != nil || rows != 24 || len(m.Outputs) != 1 {
		t.Errorf("%d rows, %+v, %v", rows, m, err)
	}
	heal, _ := own.Stage(rundir.KindHeal)
	h, err := d.Healed(heal)
	if err != nil || h.Samples+h.HeldOut != 24 || h.Data != "rows.jsonl, answered by the whole model" {
		t.Errorf("%+v, %v", h, err)
	}
	got, _, err = w.run(t, context.Background(), strings.Replace(recipe, "lr: 1e-3", "lr: 2e-3", 1), "out", nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "another rate", got, `{"heal":4}`)
	_, _, err = w.run(t, context.Background(), strings.Replace(recipe, "from: rows.jsonl", "from: [rows.jsonl, rows.jsonl]", 1), "out", nil)
	if err == nil || !strings.Contains(err.Error(), "heal.data.answers: are of one source") {
		t.Errorf("two sources: %v", err)
	}
}
