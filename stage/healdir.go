package stage

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/heal"
	"github.com/coppice-ml/coppice/internal/filelock"
	"github.com/coppice-ml/coppice/internal/tensorboard"
	"github.com/coppice-ml/coppice/internal/wholefile"
	"github.com/coppice-ml/coppice/report"
)

// What healing keeps in its output directory beside the result.
const (
	healState  = ".coppice"          // checkpoints of training, then the trained tensors in float32
	healEvents = "events.jsonl"      // steps and evaluations
	healDone   = "coppice_heal.json" // settings and result; it comes last
)

// HealEvents is the file in which a healing's output directory has its events.
func HealEvents(dir string) string { return filepath.Join(dir, healEvents) }

// healDir is an output directory of healing.
type healDir struct {
	path     string
	made     bool // the directory was not there before
	identity map[string]string
	epochs   bool           // that decide how many steps there are
	done     *report.Healed // of a finished run with the same settings
	unlock   func()
	events   *os.File
	failed   error // of writing events
	board    *tensorboard.File
	from     *heal.State // what training goes on from
}

// healRecord is what healDone holds.
type healRecord struct {
	Settings map[string]string `json:"settings"`
	Done     report.Healed     `json:"done"`
	Files    []string          `json:"files,omitempty"` // of the result
}

// openHealDir makes an output directory or goes on with one, if it was made by the
// same settings; force begins anew.
func openHealDir(path string, force, epochs bool, identity map[string]string) (*healDir, error) {
	if err := checkHealDir(path, force); err != nil {
		return nil, err
	}
	d := &healDir{path: path, identity: identity, epochs: epochs}
	_, err := os.Stat(path)
	d.made = errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(d.state(), 0o777); err != nil {
		return nil, err
	}
	if d.unlock, err = filelock.Take(filepath.Join(d.state(), "lock")); err != nil {
		if errors.Is(err, filelock.ErrHeld) {
			err = failed("{out} %s: another process is healing into it", path).with("wait for it, or name another directory")
		}
		return nil, err
	}
	if force {
		err = d.empty()
	}
	if err == nil {
		err = d.compare()
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// apart refuses an output that is the model or that, when it is emptied, takes
// along what healing reads.
func (j *healJob) apart() error {
	if err := j.s.Checkpoint.CheckApart(j.Out); err != nil {
		return failed("{out}: %w", err)
	}
	if !j.Force {
		return nil
	}
	reads := map[string][]string{
		"init_from": {j.InitFrom}, "lora_init": {j.LoRAInit}, "plan": {j.Layers.Plan},
		"train_tokens": {j.Data.Tokens}, "validation_data": {j.Data.ValidationData}, "data": j.Data.Sources,
	}
	for _, field := range slices.Sorted(maps.Keys(reads)) {
		for _, path := range reads[field] {
			if name, _, err := weighted(path); err == nil && path != "" && liesIn(name, j.Out) {
				return wrong("{"+field+"} %s lies in {out} %s, which {force} empties", path, j.Out).with("name another directory")
			}
		}
	}
	return nil
}

// liesIn says whether a path that exists is a directory or lies below it.
func liesIn(path, dir string) bool {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	path, err = filepath.Abs(path)
	return err == nil && checkpoint.Within(path, dir)
}

// checkHealDir refuses directories that are something else.
func checkHealDir(path string, force bool) error {
	entries, err := os.ReadDir(path)
	if _, link := os.Readlink(path); link == nil && errors.Is(err, fs.ErrNotExist) {
		return failed("{out} %s is a link to what is not there", path).with("remove it, or name another directory")
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return failed("{out} %s: %w", path, reason(err))
	}
	ours := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == healState })
	model := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "config.json" || e.Name() == "adapter_config.json" })
	switch {
	case ours:
		return nil
	case model && force:
		if err := checkpoint.CheckReplaceable(path); err != nil {
			return failed("{out} %s: %w", path, err)
		}
		return nil
	case model:
		return failed("{out} %s exists, and healing did not make it", path).with("name another directory, or pass {force} to replace it")
	}
	return failed("{out} %s exists, and is no model", path).with("name another directory")
}

// state is where training keeps its checkpoints.
func (d *healDir) state() string { return filepath.Join(d.path, healState) }

// empty removes what an earlier run made, but for the lock.
func (d *healDir) empty() error {
	for _, dir := range []string{d.path, d.state()} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Name() == healState || e.Name() == "lock" {
				continue
			}
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare looks whether what is there was made by the same settings.
func (d *healDir) compare() error {
	var record healRecord
	raw, err := os.ReadFile(filepath.Join(d.path, healDone))
	if err == nil {
		if err := json.Unmarshal(raw, &record); err != nil {
			return failed("%s: not a record of healing: %w", filepath.Join(d.path, healDone), err).with("pass {force} to start over")
		}
		if other := heal.Differs(record.Settings, d.identity); len(other) > 0 {
			return d.otherSettings("finished", other)
		}
		d.done = &record.Done
		return d.complete(record.Files)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	st, other, err := heal.Resumable(d.state(), d.identity)
	switch {
	case err != nil:
		return failed("{out}: %w", err)
	case st == nil: // whatever began here came to nothing that could be lost
		if err := os.Remove(filepath.Join(d.path, healEvents)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	case len(other) > 0:
		return d.otherSettings("begun", other)
	}
	return nil
}

// complete looks whether the files of a result are there.
func (d *healDir) complete(files []string) error {
	for _, name := range files {
		if _, err := os.Stat(filepath.Join(d.path, name)); err != nil {
			return failed("{out} %s was finished, and its %s cannot be found: %w", d.path, name, reason(err)).with("put it back, or pass {force} to start over")
		}
	}
	return nil
}

func (d *healDir) otherSettings(how string, other []string) error {
	format := make([]string, len(other))
	for i, what := range other {
		format[i] = strings.ReplaceAll(what, "%", "%%")
		switch field, rest, _ := strings.Cut(format[i], " "); {
		case field == "steps" && d.epochs:
			format[i] = "{epochs}: " + format[i]
		case !slices.Contains([]string{"model", "kept", "data", "engine", "version", "trained", "adapters"}, field):
			format[i] = "{" + field + "} " + rest
		}
	}
	return failed("{out} %s was "+how+" with other settings: "+strings.Join(format, "; "), d.path).
		with("name another directory, with {init_from} %s to go on from its weights, or pass {force} to start over", d.path)
}

// finished is the result of an earlier run, nil if there is none.
func (d *healDir) finished() *report.Healed { return d.done }

// resumed cuts the events after what a checkpoint has seen.
func (d *healDir) resumed(st heal.State) error {
	d.from = &st
	raw, err := os.ReadFile(filepath.Join(d.path, healEvents))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var kept bytes.Buffer
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		var e struct {
			Type string `json:"type"`
			Step int    `json:"step"`
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Step > st.Step || e.Type == "eval" && e.Step > st.Evaluated {
			break
		}
		kept.Write(lines.Bytes())
		kept.WriteByte('\n')
	}
	return wholefile.Bytes(filepath.Join(d.path, healEvents), kept.Bytes())
}

// event appends a line to the file of events.
func (d *healDir) event(l report.Line) {
	if d.failed != nil {
		return
	}
	if d.events == nil {
		d.events, d.failed = os.OpenFile(filepath.Join(d.path, healEvents), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	}
	if d.failed == nil {
		d.failed = report.Write(d.events, l)
	}
}

// chart appends an event to TensorBoard's file, under the names that Hugging Face's
// Trainer has. A file of a run that was broken off is gone on with after what its
// checkpoint has seen.
func (d *healDir) chart(e heal.Event, now time.Time) {
	if d.failed != nil {
		return
	}
	if d.board == nil {
		d.board, d.failed = tensorboard.Open(filepath.Join(d.path, tensorboard.FileName), now, func(tag string, step int64) bool {
			return d.from != nil && step <= int64(d.from.Step) && (tag != "eval/loss" || step <= int64(d.from.Evaluated))
		})
	}
	if d.failed != nil {
		return
	}
	scalars := []tensorboard.Scalar{{Tag: "eval/loss", Value: e.Loss}}
	if !e.Evaluation {
		scalars = []tensorboard.Scalar{
			{Tag: "train/loss", Value: e.Loss}, {Tag: "train/learning_rate", Value: e.LR}, {Tag: "train/grad_norm", Value: e.GradNorm},
			{Tag: "train/tokens_per_second", Value: e.TokensPerSecond},
		}
	}
	d.failed = d.board.Add(now, int64(e.Step), scalars...)
}

// finish installs the files of a directory and says that all is done. The file
// that makes a checkpoint one comes last of them.
func (d *healDir) finish(made string, done *report.Healed) error {
	entries, err := os.ReadDir(made)
	if err != nil {
		return err
	}
	last := func(e fs.DirEntry) int {
		if e.Name() == "config.json" || e.Name() == "adapter_config.json" {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int { return last(a) - last(b) })
	record := healRecord{Settings: d.identity, Done: *done}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(made, e.Name()), filepath.Join(d.path, e.Name())); err != nil {
			return err
		}
		record.Files = append(record.Files, e.Name())
	}
	if err := os.Remove(made); err != nil {
		return err
	}
	d.event(*done)
	raw, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	err = wholefile.Bytes(filepath.Join(d.path, healDone), append(raw, '\n'))
	return errors.Join(err, d.failed)
}

func (d *healDir) close() {
	if d.events != nil {
		_ = d.events.Close()
	}
	if d.board != nil {
		_ = d.board.Close()
	}
	if d.unlock != nil {
		d.leaveNothing()
		d.unlock()
	}
}

// leaveNothing removes a directory in which nothing came to be but the lock.
func (d *healDir) leaveNothing() {
	for _, dir := range []string{d.path, d.state()} {
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			return
		}
	}
	_ = os.Remove(filepath.Join(d.state(), "lock"))
	_ = os.Remove(d.state())
	if d.made {
		_ = os.Remove(d.path)
	}
}
