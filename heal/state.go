package heal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/engine"
	"github.com/coppice-ml/coppice/internal/number"
	"github.com/coppice-ml/coppice/safetensors"
)

// State is what a checkpoint of training says beside its tensors.
type State struct {
	Version  int               `json:"version"`
	Identity map[string]string `json:"identity"`        // all that must be the same to go on
	Step     int               `json:"step"`            // updates made
	First    *float64          `json:"first,omitempty"` // loss on the validation set before the first
	Best     *Evaluation       `json:"best,omitempty"`
	Worse    int               `json:"worse"` // evaluations since the best one
	// Evaluated is the last step after which there was an evaluation.
	Evaluated int `json:"evaluated"`
	// Last is the loss that it came to.
	Last float64 `json:"last"`
}

// Evaluation is a loss on the validation set.
type Evaluation struct {
	Step int     `json:"step"`
	Loss float64 `json:"loss"`
}

// stateVersion changes when what a checkpoint holds means something else.
const stateVersion = 1

const (
	stateFile     = "state.json"
	tensorsFile   = "trained.safetensors"
	statePrefix   = "checkpoint-"
	partialPrefix = ".partial-"
)

// ErrOtherRun: a directory holds the state of a run with other settings.
var ErrOtherRun = errors.New("other settings")

// states are the checkpoints of a directory.
type states struct{ dir string }

func (s states) path(step int) string {
	return filepath.Join(s.dir, statePrefix+strconv.Itoa(step))
}

// steps lists the checkpoints that are there, ascending.
func (s states) steps() ([]int, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []int
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), statePrefix); ok && e.IsDir() {
			if n, err := strconv.Atoi(rest); err == nil && n >= 0 {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return out, nil
}

// newest reads the description of the last checkpoint; nil if there is none.
func (s states) newest() (*State, error) {
	steps, err := s.steps()
	if err != nil || len(steps) == 0 {
		return nil, err
	}
	return s.describe(steps[len(steps)-1])
}

func (s states) describe(step int) (*State, error) {
	path := filepath.Join(s.path(step), stateFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var st State
	if err := json.Unmarshal(raw, &st); err != nil {
		return nil, fmt.Errorf("%s: %w; remove %s to go on from the checkpoint before it", path, err, s.path(step))
	}
	if st.Version != stateVersion {
		return nil, fmt.Errorf("%s: version %d, this program writes %d: start over with --force", path, st.Version, stateVersion)
	}
	return &st, nil
}

// longest is how long a value may be, in bytes, to be shown.
const longest = 200

// Differs names what is not the same in two identities.
func Differs(kept, now map[string]string) []string {
	var out []string
	keys := maps.Clone(kept)
	maps.Copy(keys, now)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		switch {
		case kept[k] == now[k]:
		case max(len(kept[k]), len(now[k])) > longest:
			out = append(out, k+" was something else")
		default:
			out = append(out, fmt.Sprintf("%s was %s and is now %s", k, orNone(kept[k]), orNone(now[k])))
		}
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}

// partNames are the parts that a checkpoint keeps of every Trainable.
func partNames() map[engine.Part]string {
	return map[engine.Part]string{engine.Master: "master", engine.FirstMoment: "first_moment", engine.SecondMoment: "second_moment"}
}

// save writes a checkpoint: complete under its name, or not at all.
func (s states) save(ctx context.Context, st *State, set *Set) error {
	final, tmp := s.path(st.Step), filepath.Join(s.dir, partialPrefix+strconv.Itoa(st.Step))
	defer func() { _ = os.RemoveAll(tmp) }()
	err := os.Mkdir(tmp, 0o777)
	if err == nil {
		err = writeState(filepath.Join(tmp, stateFile), st)
	}
	if _, there := os.Stat(final); err == nil && there == nil { // the same step: the same tensors
		err = os.Rename(filepath.Join(tmp, stateFile), filepath.Join(final, stateFile))
	} else if err == nil {
		if err = writeSynced(filepath.Join(tmp, tensorsFile), func(w io.Writer) error { return writeSet(ctx, w, set, allParts()...) }); err == nil {
			err = os.Rename(tmp, final)
		}
	}
	if err != nil {
		return fmt.Errorf("checkpoint of step %d: %w", st.Step, err)
	}
	return nil
}

func writeState(path string, st *State) error {
	raw, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return err
	}
	return writeSynced(path, func(w io.Writer) error {
		_, err := w.Write(append(raw, '\n'))
		return err
	})
}

func writeSynced(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// allParts are what a run goes on from, in the order of the file.
func allParts() []engine.Part {
	return []engine.Part{engine.Master, engine.FirstMoment, engine.SecondMoment}
}

// writeSet writes the parts of all Trainables, one in memory at a time.
func writeSet(ctx context.Context, w io.Writer, set *Set, parts ...engine.Part) error {
	var list []safetensors.Tensor
	_ = each(set, parts, func(t engine.Trainable, _ engine.Part, name string) error {
		list = append(list, safetensors.Tensor{Name: name, DType: safetensors.F32, Shape: t.Shape()})
		return nil
	})
	if _, err := safetensors.WriteHeader(w, list, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	values, raw := make([]float32, chunk), make([]byte, 4*chunk)
	return each(set, parts, func(t engine.Trainable, p engine.Part, _ string) error {
		n := elements(t.Shape())
		for at := 0; at < n; at += chunk {
			part := values[:min(chunk, n-at)]
			if err := t.Read(ctx, p, at, part); err != nil {
				return err
			}
			number.Narrow(raw, part, safetensors.F32)
			if _, err := w.Write(raw[:4*len(part)]); err != nil {
				return err
			}
		}
		return nil
	})
}

// each visits parts of all Trainables in the order of the file.
func each(set *Set, parts []engine.Part, do func(t engine.Trainable, p engine.Part, name string) error) error {
	names := partNames()
	for _, t := range set.List {
		for _, p := range parts {
			if err := do(t, p, t.Name()+"."+names[p]); err != nil {
				return fmt.Errorf("%s: %w", t.Name(), err)
			}
		}
	}
	return nil
}

// load reads a checkpoint's tensors into what trains; with masters only that part.
func (s states) load(ctx context.Context, step int, set *Set, masters bool) error {
	err := loadSet(ctx, filepath.Join(s.path(step), tensorsFile), set, masters)
	var damaged *safetensors.FormatError
	if errors.As(err, &damaged) {
		damaged.Remedy = "remove " + s.path(step) + " to go on from the checkpoint before it"
	}
	return err
}

// LoadMasters gives a set the values that the newest state of a directory has:
// of a finished run what it kept, of another its last checkpoint's.
func LoadMasters(ctx context.Context, dir string, set *Set) error {
	if path := filepath.Join(dir, tensorsFile); exists(path) {
		return loadSet(ctx, path, set, true)
	}
	s := states{dir}
	steps, err := s.steps()
	if err == nil && len(steps) == 0 {
		err = fmt.Errorf("%s: no trained tensors: %w", dir, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	return s.load(ctx, steps[len(steps)-1], set, true)
}

// SaveMasters keeps a set's values in a directory, beside its checkpoints.
func SaveMasters(ctx context.Context, dir string, set *Set) error {
	tmp := filepath.Join(dir, partialPrefix+tensorsFile)
	err := writeSynced(tmp, func(w io.Writer) error { return writeSet(ctx, w, set, engine.Master) })
	if err == nil {
		err = os.Rename(tmp, filepath.Join(dir, tensorsFile))
	}
	if err != nil {
		_ = os.Remove(tmp)
	}
	return err
}

// RemoveCheckpoints removes those of a finished run.
func RemoveCheckpoints(dir string) error {
	s := states{dir}
	steps, err := s.steps()
	for _, n := range steps {
		err = errors.Join(err, os.RemoveAll(s.path(n)))
	}
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func loadSet(ctx context.Context, path string, set *Set, masters bool) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	parts := allParts()
	if masters {
		parts = parts[:1]
	}
	values := make([]float32, chunk)
	return each(set, parts, func(t engine.Trainable, p engine.Part, name string) error {
		info, ok := f.Tensor(name)
		if !ok || info.DType != safetensors.F32 || !slices.Equal(info.Shape, t.Shape()) {
			return fmt.Errorf("%s has no %s of float32 %v: it is of a run that trains something else", path, name, t.Shape())
		}
		raw, n := f.Data(info), elements(t.Shape())
		for at := 0; at < n; at += chunk {
			part := values[:min(chunk, n-at)]
			number.Widen(part, raw[4*at:], safetensors.F32)
			if err := t.Write(ctx, p, at, part); err != nil {
				return err
			}
		}
		f.Release(info)
		return nil
	})
}

// prune removes all checkpoints but the newest ones and the best.
func (s states) prune(keep int, best *Evaluation) error {
	steps, err := s.steps()
	if err != nil {
		return err
	}
	for _, n := range steps[:max(0, len(steps)-max(1, keep))] {
		if best != nil && n == best.Step {
			continue
		}
		if err := os.RemoveAll(s.path(n)); err != nil {
			return err
		}
	}
	return nil
}

// clean removes what killed runs left half written.
func (s states) clean() {
	old, _ := filepath.Glob(filepath.Join(s.dir, partialPrefix+"*"))
	for _, dir := range old {
		_ = os.RemoveAll(dir)
	}
}
