package eval

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/coppice-ml/coppice/internal/journal"
)

// State keeps the responses of finished tasks in a file, so that a run that was
// interrupted goes on where it stopped: a journal of tasks. A line cut short by a
// crash is dropped.
type State struct {
	journal *journal.Journal
	done    map[string]stateLine
}

// stateVersion changes when responses may differ from those kept before, or lines.
const stateVersion = 1

// stateLine is one task of a state file.
type stateLine struct {
	Task      string     `json:"task"`
	Requests  string     `json:"requests"` // their hash
	Responses []Response `json:"responses"`
}

// ErrState is a state file that belongs to another run.
var ErrState = errors.New("another run left off there")

// ErrInUse is a state file that another process is writing to.
var ErrInUse = errors.New("another process is writing to it")

// OpenState opens or begins the state file of a run that the settings
// describe: names and values, as JSON has them. A file of other settings, of
// another version, or of something else is an ErrState; one that another process
// is writing to is an ErrInUse.
func OpenState(path string, settings map[string]any) (*State, error) {
	s := &State{done: map[string]stateLine{}}
	var err error
	s.journal, err = journal.Open(path, journal.Header{Kind: "eval", Version: stateVersion, About: settings}, journal.Options{Unversioned: true}, func(line []byte) error {
		var t stateLine
		if err := json.Unmarshal(line, &t); err != nil {
			return err // that task is asked again
		}
		s.done[t.Task] = t
		return nil
	})
	var other *journal.OtherError
	if errors.As(err, &other) || errors.Is(err, journal.ErrForeign) || errors.Is(err, journal.ErrVersion) {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if errors.Is(err, journal.ErrInUse) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Responses returns those of a task that was finished, or nil. It fails where
// the task's requests have become others.
func (s *State) Responses(a *Asked) ([]Response, error) {
	t, ok := s.done[a.Task.Name]
	if !ok {
		return nil, nil
	}
	if t.Requests != a.Hash() || len(t.Responses) != len(a.Requests) {
		return nil, fmt.Errorf("%w: %s: the requests of task %s are not those of before", ErrState, s.journal.Path(), a.Task.Name)
	}
	return t.Responses, nil
}

// Add keeps a task's responses.
func (s *State) Add(a *Asked, responses []Response) error {
	line := stateLine{Task: a.Task.Name, Requests: a.Hash(), Responses: responses}
	if err := s.journal.Append(line); err != nil {
		return err
	}
	s.done[line.Task] = line
	return s.journal.Sync()
}

// Leave closes the file, and deletes it where there is nothing to go on from.
func (s *State) Leave() error {
	if len(s.done) == 0 {
		return s.Remove()
	}
	return s.journal.Close()
}

// Remove closes the file and deletes it.
func (s *State) Remove() error { return s.journal.Remove() }

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
