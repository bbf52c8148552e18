package rundir_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
)

// made writes a small run directory.
func made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	ref := rundir.Ref{Role: rundir.KindScore, Kind: rundir.KindScore, Dir: "stages/score-0123"}
	failed := rundir.Ref{Role: rundir.KindHeal, Kind: rundir.KindHeal, Dir: "stages/heal-0123"}
	files := map[string]any{
		rundir.RunFile:                    rundir.Run{Format: rundir.Format, Name: "small", Trials: []string{"m/bi"}, Models: []rundir.Model{{Name: "m"}}},
		"trials/m/bi/" + rundir.TrialFile: rundir.Trial{Format: rundir.Format, Name: "m/bi", Model: "m", Axes: []rundir.Axis{{Name: "metric", Value: "bi"}}, Stages: []rundir.Ref{ref, failed}},
		ref.Dir + "/manifest.json":        rundir.Manifest{Format: rundir.Format, Kind: rundir.KindScore, Hash: "0123"},
		failed.Dir + "/failed.json":       rundir.Failure{Format: rundir.Format, Message: "loss is NaN"},
	}
	for name, v := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := rundir.Write(path, v); err != nil {
			t.Fatal(err)
		}
	}
	var line strings.Builder
	if err := report.Write(&line, report.Ranking{Metric: "bi", Scores: []report.Number{.1, .2}, Order: []int{0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := rundir.WriteFile(filepath.Join(dir, ref.Dir, rundir.RankingFile), []byte(line.String())); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOpen(t *testing.T) {
	dir := made(t)
	d, err := rundir.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	trial, ok := d.Trial("m/bi")
	if !ok || trial.Value("metric") != "bi" || trial.Value("model") != "m" || trial.Value("lr") != "" {
		t.Fatalf("trial %+v", trial)
	}
	ref, ok := trial.Stage(rundir.KindScore)
	if !ok {
		t.Fatal("no stage of the role score")
	}
	if m, err := d.Manifest(ref); err != nil || m == nil || m.Hash != "0123" {
		t.Errorf("manifest %+v, %v", m, err)
	}
	if f, err := d.Failure(ref); err != nil || f != nil {
		t.Errorf("failure of a stage that is done: %+v, %v", f, err)
	}
	lines, err := d.Lines(ref, rundir.RankingFile)
	if err != nil || len(lines) != 1 || lines[0].(report.Ranking).Metric != "bi" {
		t.Errorf("lines %+v, %v", lines, err)
	}
	heal := trial.Roles(rundir.KindHeal)
	if len(heal) != 1 {
		t.Fatalf("roles of heal: %+v", heal)
	}
	if m, err := d.Manifest(heal[0]); err != nil || m != nil {
		t.Errorf("manifest of a stage that failed: %+v, %v", m, err)
	}
	if f, err := d.Failure(heal[0]); err != nil || f == nil || f.Message != "loss is NaN" {
		t.Errorf("failure %+v, %v", f, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := rundir.Open(t.TempDir()); !errors.Is(err, rundir.ErrNone) {
		t.Errorf("an empty directory: %v", err)
	}
	dir := made(t)
	if err := rundir.Write(filepath.Join(dir, rundir.RunFile), rundir.Run{Format: 7}); err != nil {
		t.Fatal(err)
	}
	var version *rundir.VersionError
	if _, err := rundir.Open(dir); !errors.As(err, &version) || version.Format != 7 {
		t.Errorf("another format: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, rundir.RunFile), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := rundir.Open(dir); err == nil || !strings.Contains(err.Error(), rundir.RunFile+": the file is damaged") || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("damaged: %v", err)
	}
}
