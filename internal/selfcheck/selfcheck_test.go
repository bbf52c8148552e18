package selfcheck_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/engine/all"
	"github.com/coppice-ml/coppice/engine/enginetest"
	"github.com/coppice-ml/coppice/forest"
	"github.com/coppice-ml/coppice/internal/selfcheck"
	"github.com/coppice-ml/coppice/internal/testkit"
)

// golden makes a reference of what PyTorch computed: two sequences, the last
// three positions of one and the last one of the other.
func golden(t *testing.T, family string) (*forest.Runner, *selfcheck.Reference) {
	t.Helper()
	g := testkit.Golden(t, family)
	m := enginetest.Open(t, g.Checkpoint)
	e, err := all.Open("cpu", all.Options{DType: "float32", Getenv: os.Getenv})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	run := forest.New(m, e, forest.Options{Memory: 1}) // streams
	t.Cleanup(run.Close)
	logits, shape := g.Array(t, "logits") // [2, T, V]
	ref := &selfcheck.Reference{DType: "float32"}
	for i, ids := range g.Sequences(t, "input_ids") {
		s := selfcheck.Sequence{IDs: ids}
		for at := shape[1] - 3 + 2*i; at < shape[1]; at++ {
			s.Logits = append(s.Logits, logits[(i*shape[1]+at)*shape[2]:][:shape[2]])
		}
		ref.Sequences = append(ref.Sequences, s)
	}
	return run, ref
}

func TestRun(t *testing.T) {
	run, ref := golden(t, "llama")
	got, err := selfcheck.Run(context.Background(), run, ref)
	if err != nil {
		t.Fatal(err)
	}
	if got.Rows != 4 || got.Greedy != 1 || !(got.MaxError <= 2e-4) || !(got.MeanError <= got.MaxError) || got.MeanError == 0 {
		t.Errorf("%+v", got)
	}
	ref.Sequences[1].Logits[0][7] += .5
	if got, err = selfcheck.Run(context.Background(), run, ref); err != nil || math.Abs(got.MaxError-.5) > 1e-3 {
		t.Errorf("half off: %+v, %v", got, err)
	}
	ref.Sequences[0].Logits[0][7] = float32(math.NaN())
	if got, err = selfcheck.Run(context.Background(), run, ref); err != nil || !math.IsNaN(got.MaxError) {
		t.Errorf("not a number: %+v, %v", got, err)
	}
}

func TestRead(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"good":      {`{"dtype":"float32","versions":{"torch":"2"},"sequences":[{"ids":[1,0],"logits":[[1,2.5,3]]}]}`, ""},
		"not JSON":  {`[`, "docs/reference.py"},
		"empty":     {`{}`, "no sequences"},
		"no rows":   {`{"sequences":[{"ids":[1]}]}`, "0 positions"},
		"many rows": {`{"sequences":[{"ids":[1],"logits":[[1,2,3],[1,2,3]]}]}`, "2 positions for 1 tokens"},
		"id":        {`{"sequences":[{"ids":[3],"logits":[[1,2,3]]}]}`, "id 3"},
		"vocab":     {`{"sequences":[{"ids":[1],"logits":[[1,2]]}]}`, "2 logits for a vocabulary of 3"},
	} {
		path := filepath.Join(t.TempDir(), "ref.json")
		if err := os.WriteFile(path, []byte(c.text), 0o666); err != nil {
			t.Fatal(err)
		}
		ref, err := selfcheck.Read(path, 3)
		switch {
		case c.want == "" && (err != nil || ref.Sequences[0].Logits[0][1] != 2.5 || ref.Versions["torch"] != "2"):
			t.Errorf("%s: %+v, %v", name, ref, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want an error that says %q", name, err, c.want)
		}
	}
	if _, err := selfcheck.Read(filepath.Join(t.TempDir(), "none"), 3); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"sequences":[{"ids":[1,0],"logits":[[1,2.5,3]]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "ref.json")
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
		ref, err := selfcheck.Read(path, 3)
		if err != nil {
			return
		}
		if _, err := json.Marshal(ref); err != nil {
			t.Error(err)
		}
	})
}
