package run

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

func hashOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// finished writes the manifest of a stage that was done, and then removes what is
// only there to go on from.
func (c *call) finished(s *Stage, m rundir.Measured) error {
	dir := c.path(s.Dir)
	for _, name := range leftovers(s.Kind) {
		defer os.RemoveAll(filepath.Join(dir, name))
	}
	all, err := outputs(dir)
	if err != nil {
		return err
	}
	for name := range all {
		first, _, _ := strings.Cut(name, "/")
		if slices.Contains(leftovers(s.Kind), first) {
			delete(all, name)
		}
	}
	out := rundir.Manifest{
		Format: rundir.Format, Kind: s.Kind, Hash: s.Hash, Inputs: s.Inputs, Needs: []string{}, Version: c.env.Version,
		Seed: s.Seed, Partial: s.Partial || c.partial, Outputs: all, Measured: m,
	}
	for _, n := range s.Needs {
		out.Needs = append(out.Needs, n.Dir)
	}
	if by := s.result.compute; by != nil {
		out.Device, out.DType = by.Device, by.DType
	}
	return rundir.Write(filepath.Join(dir, rundir.ManifestFile), out)
}

// measured is what a call of one or more stages took, for one of them.
func measured(s *Stage, started time.Time, together int) rundir.Measured {
	m := rundir.Measured{
		Started: started.UTC().Truncate(time.Second), Ended: time.Now().UTC().Truncate(time.Second), Seconds: time.Since(started).Seconds() / float64(together),
		Estimated: s.Work.seconds, Tokens: s.result.tokens, OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Prefill: s.result.prefill, Decode: s.result.decode,
	}
	m.Host, _ = os.Hostname()
	m.CPU, m.PeakMemory = stage.Machine()
	if together > 1 {
		m.Together = together
	}
	if by := s.result.compute; by != nil {
		m.Threads, m.Provider = by.Threads, by.Provider
	}
	if m.Tokens > 0 {
		m.TokensPerSecond = report.Number(float64(m.Tokens) / max(m.Seconds, 1e-9))
	}
	return m
}

// standing is what is there of a stage, and why it has to be done, or need not.
type standing struct {
	done    bool
	aside   bool // what is there is not gone on from: it is put aside
	because string
}

// stand looks at a stage's directory.
func (x *executor) stand(s *Stage) (standing, error) {
	dir := rundir.Dir{Path: x.root}
	ref := s.ref("")
	m, err := dir.Manifest(ref)
	var other *rundir.VersionError
	switch {
	case errors.As(err, &other):
		return standing{aside: true, because: fmt.Sprintf("what is there is of format %d, and this version writes format %d", other.Format, rundir.Format)}, nil
	case err != nil:
		return standing{aside: true, because: "its manifest is damaged"}, nil
	case m != nil && m.Hash != s.Hash:
		return standing{aside: true, because: "its manifest is another stage's"}, nil
	case m != nil:
		for _, name := range slices.Sorted(maps.Keys(m.Outputs)) {
			info, err := os.Stat(dir.File(ref, filepath.FromSlash(name)))
			if err != nil || info.Size() != m.Outputs[name].Bytes {
				return standing{aside: true, because: name + " is missing or was changed"}, nil
			}
		}
		return standing{done: true, because: "the same inputs"}, nil
	}
	if f, err := dir.Failure(ref); err == nil && f != nil {
		return standing{because: "it failed: " + f.Message}, nil
	}
	if _, err := os.Stat(dir.File(ref, "")); err == nil {
		return standing{because: "it was interrupted"}, nil
	}
	return standing{because: x.changed(s)}, nil
}

// changed says what differs from the stage that had the same role before.
func (x *executor) changed(s *Stage) string {
	if x.before == nil {
		return "new"
	}
	for i, name := range s.Trials {
		t, ok := x.before.Trial(name)
		if !ok {
			continue
		}
		ref, ok := t.Stage(s.Roles[i])
		if !ok || ref.Dir == s.Dir {
			continue
		}
		m, err := x.before.Manifest(ref)
		if err != nil || m == nil {
			continue
		}
		var diff []string
		for _, key := range slices.Sorted(maps.Keys(union(m.Inputs, s.Inputs))) {
			if was, is := m.Inputs[key], s.Inputs[key]; was != is {
				diff = append(diff, fmt.Sprintf("%s was %s and is %s", key, short(was), short(is)))
			}
		}
		if len(diff) > 0 {
			return strings.Join(diff, "; ")
		}
		return "what it builds upon is another"
	}
	return "new"
}

func union(a, b map[string]string) map[string]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

func short(s string) string {
	switch {
	case s == "":
		return "not set"
	case len(s) > 40:
		return s[:40] + "…"
	}
	return s
}
