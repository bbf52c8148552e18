package eval

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
)

// State keeps the responses of finished tasks in a file, so that a run that was
// interrupted goes on where it stopped. Its first line says what is run, each
// other one holds a task; a line cut short by a crash is dropped.
type State struct {
	path string
	f    *os.File
	done map[string]stateLine
}

// stateLine is one task of a state file.
type stateLine struct {
	Task      string     `json:"task"`
	Requests  string     `json:"requests"` // their hash
	Responses []Response `json:"responses"`
}

// ErrState is a state file that belongs to another run.
var ErrState = errors.New("another run left off there")

// OpenState opens or begins the state file of a run that the settings
// describe: names and values, as JSON has them.
func OpenState(path string, settings map[string]any) (*State, error) {
	want, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	s := &State{path: path, done: map[string]stateLine{}}
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	kept, err := s.read(raw, want)
	if err != nil {
		return nil, err
	}
	if s.f, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o666); err != nil {
		return nil, err
	}
	if kept == 0 {
		kept = int64(len(want)) + 1
		_, err = s.f.WriteAt(append(want, '\n'), 0)
	}
	if err == nil {
		err = s.f.Truncate(kept)
	}
	if err == nil {
		_, err = s.f.Seek(kept, 0)
	}
	if err != nil {
		return nil, errors.Join(err, s.f.Close())
	}
	return s, nil
}

// read takes in what a state file holds and says how much of it is whole.
func (s *State) read(raw, want []byte) (kept int64, err error) {
	first := true
	for len(raw) > 0 {
		line, rest, whole := bytes.Cut(raw, []byte("\n"))
		if !whole {
			break
		}
		if first {
			if err := sameSettings(s.path, line, want); err != nil {
				return 0, err
			}
		} else {
			var t stateLine
			if !decodes(line, &t) {
				break // cut short, or damaged: that task is asked again
			}
			s.done[t.Task] = t
		}
		first, raw, kept = false, rest, kept+int64(len(line))+1
	}
	return kept, nil
}

func decodes(raw []byte, into any) bool { return json.Unmarshal(raw, into) == nil }

// sameSettings says what differs.
func sameSettings(path string, have, want []byte) error {
	var a, b map[string]json.RawMessage
	if err := json.Unmarshal(have, &a); err != nil {
		return fmt.Errorf("%s: not the state of a run: %w", path, err)
	}
	if err := json.Unmarshal(want, &b); err != nil {
		return err
	}
	var diff []string
	for key := range b {
		if !bytes.Equal(a[key], b[key]) {
			diff = append(diff, fmt.Sprintf("%s was %s and is %s", key, short(a[key]), short(b[key])))
		}
	}
	if len(diff) == 0 {
		return nil
	}
	slices.Sort(diff)
	return fmt.Errorf("%w: %s: %s", ErrState, path, strings.Join(diff, "; "))
}

func short(raw []byte) string {
	if len(raw) > 60 {
		return string(raw[:60]) + "…"
	}
	return string(raw)
}

// Responses returns those of a task that was finished, or nil. It fails where
// the task's requests have become others.
func (s *State) Responses(a *Asked) ([]Response, error) {
	t, ok := s.done[a.Task.Name]
	if !ok {
		return nil, nil
	}
	if t.Requests != a.Hash() || len(t.Responses) != len(a.Requests) {
		return nil, fmt.Errorf("%w: %s: the requests of task %s are not those of before", ErrState, s.path, a.Task.Name)
	}
	return t.Responses, nil
}

// Add keeps a task's responses.
func (s *State) Add(a *Asked, responses []Response) error {
	line := stateLine{Task: a.Task.Name, Requests: a.Hash(), Responses: responses}
	raw, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if _, err := s.f.Write(append(raw, '\n')); err != nil {
		return err
	}
	s.done[line.Task] = line
	return s.f.Sync()
}

// Leave closes the file, and deletes it where there is nothing to go on from.
func (s *State) Leave() error {
	if len(s.done) == 0 {
		return s.Remove()
	}
	return s.f.Close()
}

// Remove closes the file and deletes it.
func (s *State) Remove() error { return errors.Join(s.f.Close(), os.Remove(s.path)) }

// Hash is the SHA-256 of all requests' texts.
func (a *Asked) Hash() string {
	h := sha256.New()
	for _, r := range a.Requests {
		_, _ = fmt.Fprintf(h, "%d %d %q %q\n", r.Doc, r.Choice, r.Context, r.Continuation)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Hashes are the SHA-256 of the i-th document's prompt, which is the first thing
// its first request holds, and of its target, as the harness has them in samples.
func (a *Asked) Hashes(i int) (prompt, target string) {
	first := a.Of(i)[0]
	text := first.Context
	if a.Task.Output == Rolling {
		text = first.Continuation
	}
	return hashText(text), hashText(pythonText(a.Target(i)))
}

func hashText(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// DocsHash is the SHA-256 of the documents: two results can be compared where
// it is the same.
func (a *Asked) DocsHash() (string, error) {
	h := sha256.New()
	e := json.NewEncoder(h)
	for _, d := range a.Docs {
		if err := e.Encode(d); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// MarshalJSON writes the log-probability so that any float64 comes back.
func (r Response) MarshalJSON() ([]byte, error) {
	logProb := "null" // of what the model cannot say
	if !math.IsNaN(r.LogProb) && !math.IsInf(r.LogProb, 0) {
		raw, err := json.Marshal(r.LogProb)
		if err != nil {
			return nil, err
		}
		logProb = string(raw)
	}
	text, err := json.Marshal(r.Text)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "[%s,%t,%s]", logProb, r.Greedy, text), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Response) UnmarshalJSON(raw []byte) error {
	var logProb *float64
	if err := json.Unmarshal(raw, &[]any{&logProb, &r.Greedy, &r.Text}); err != nil {
		return err
	}
	r.LogProb = math.NaN()
	if logProb != nil {
		r.LogProb = *logProb
	}
	return nil
}
