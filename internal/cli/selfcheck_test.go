package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/internal/selfcheck"
	"github.com/coppice-ml/coppice/internal/testkit"
	"github.com/coppice-ml/coppice/report"
)

// selfcheckOf runs the command against logits of the readable float64 forward
// pass, one of which is moved.
func selfcheckOf(t *testing.T, move float32, args ...string) (code int, got report.Selfcheck, stderr string) {
	t.Helper()
	dir := testkit.Llama(t, testkit.Options{Layers: 2})
	m, ids := enginetest.Open(t, dir), []int32{1, 20, 33, 4, 50}
	logits := slices.Collect(slices.Chunk(enginetest.Logits(t, m, ids), m.Spec.Vocab))[2:]
	logits[1][9] += move
	raw, err := json.Marshal(selfcheck.Reference{Model: "pico", DType: "float32", Versions: map[string]string{"torch": "2.1"}, Sequences: []selfcheck.Sequence{{IDs: ids, Logits: logits}}})
	if err != nil {
		t.Fatal(err)
	}
	ref := filepath.Join(t.TempDir(), "ref.json")
	if err := os.WriteFile(ref, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	code = Main(append([]string{"selfcheck", dir, ref, "--json"}, args...), System{Out: &out, Err: &errs, Getenv: os.Getenv})
	if out.Len() > 0 {
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
	}
	return code, got, errs.String()
}

func TestSelfcheck(t *testing.T) {
	code, got, stderr := selfcheckOf(t, 0)
	if code != exitOK || !got.OK || !(got.MaxError <= 1e-4) || got.Positions != 3 || got.Greedy != 1 || got.DType != "float32" || got.Versions["torch"] != "2.1" || got.Type != "selfcheck" {
		t.Errorf("exit code %d, %+v: %s", code, got, stderr)
	}
	code, got, stderr = selfcheckOf(t, .1)
	if code != exitFailed || got.OK || !(got.MaxError > .099) || !strings.Contains(stderr, "up to 0.1") {
		t.Errorf("another logit: exit code %d, %+v: %s", code, got, stderr)
	}
	if code, got, stderr = selfcheckOf(t, .1, "--tolerance", ".2"); code != exitOK || !got.OK {
		t.Errorf("tolerance: exit code %d, %+v: %s", code, got, stderr)
	}
	if code, got, stderr = selfcheckOf(t, 0, "--dtype", "bfloat16", "--tolerance", "10"); code != exitOK || got.DType != "bfloat16" {
		t.Errorf("bfloat16: exit code %d, %+v: %s", code, got, stderr)
	}
	if code, _, stderr = selfcheckOf(t, 0, "--tolerance", "0"); code != exitUsage {
		t.Errorf("no tolerance: exit code %d: %s", code, stderr)
	}
}
