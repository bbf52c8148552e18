package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadMeasured(t *testing.T) {
	harness := `{"results":{"b":{"alias":"b","exact_match,strict-match":0.5,"exact_match_stderr,strict-match":"N/A"},"a":{"acc,none":0.25,"acc_stderr,none":0.1,"acc_norm,none":0.5}},
"n-samples":{"a":{"original":10,"effective":10},"b":{"original":9,"effective":4}},"config":{"limit":null}}`
	lines := `{"type":"result","task":"a","metric":"acc","filter":"none","value":0.5,"stderr":0.1,"n":4,"partial":true}
{"type":"note","message":"x"}

{"type":"perplexity","tokens":7,"perplexity":3.5,"data":"x.txt"}
`
	for name, c := range map[string]struct {
		text string
		want []Measured
	}{
		"harness": {harness, []Measured{
			{Task: "a", Metric: "acc", Value: .25, StdErr: .1, N: 10},
			{Task: "a", Metric: "acc_norm", Value: .5, StdErr: nan(), N: 10},
			{Task: "b", Metric: "exact_match (strict-match)", Value: .5, StdErr: nan(), N: 4, Limited: true},
		}},
		"groups": {`{"results":{"all":{"acc,none":0.5},"mmlu":{"acc,none":0.4},"mmlu_law":{"acc,none":0.3},"mmlu_art":{"acc,none":0.5},"piqa":{"acc,none":0.6},"alone":{"acc,none":1}},
"group_subtasks":{"all":["piqa","mmlu"],"mmlu":["mmlu_law","mmlu_art"],"piqa":[]},"n-samples":{"piqa":{"original":9,"effective":9},"alone":{"original":1,"effective":1},"mmlu_law":{"original":5,"effective":5},"mmlu_art":{"original":8,"effective":6}}}`, []Measured{
			{Task: "alone", Metric: "acc", Value: 1, StdErr: nan(), N: 1},
			{Task: "mmlu", Metric: "acc", Value: .4, StdErr: nan(), N: 11, Limited: true},
			{Task: "piqa", Metric: "acc", Value: .6, StdErr: nan(), N: 9},
			{Task: "all", Metric: "acc", Value: .5, StdErr: nan(), N: 20, Limited: true},
		}},
		"lines": {lines, []Measured{
			{Task: "a", Metric: "acc", Value: .5, StdErr: .1, N: 4, Limited: true},
			{Task: "x.txt", Metric: "perplexity", Value: 3.5, StdErr: nan(), N: 7},
		}},
	} {
		path := filepath.Join(t.TempDir(), "results")
		if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := ReadMeasured(path)
		if diff := cmp.Diff(c.want, got, cmp.Comparer(func(a, b Number) bool { return a == b || a != a && b != b })); diff != "" || err != nil {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	for _, bad := range []string{"", "[[1,2]]", "x", `{"type":"note"}`} {
		path := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(path, []byte(bad), 0o666); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadMeasured(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}
