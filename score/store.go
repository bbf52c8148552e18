package score

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/coppice-ml/coppice/internal/journal"
)

// Store keeps finished pieces of work: in memory, or in a file for the next run
// of one question too, which is a model, data and an engine. What has been kept
// is not computed again.
type Store struct {
	file   *journal.Journal // nil: in memory
	failed error            // why nothing more is written
	kept   map[string]piece
	found  int // pieces of earlier runs
	used   int // of them, those that were asked for
	new    int // pieces written
}

// piece are the numbers kept under a key.
type piece struct {
	values  []float64
	earlier bool // of an earlier run, and not asked for yet
}

// storeVersion changes when numbers may differ from those kept before, or lines.
const storeVersion = 3

// NewStore is a store in memory.
func NewStore() *Store { return &Store{kept: map[string]piece{}} }

// OpenStore opens or makes the store of a question in a directory; identity is
// everything that numbers depend on beside the key they are kept under. Several
// processes may have it open at once.
func OpenStore(dir string, identity ...string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(strings.Join(append([]string{fmt.Sprint(storeVersion)}, identity...), "\n")))
	name := hex.EncodeToString(sum[:])
	s := NewStore()
	var err error
	s.file, err = journal.Open(filepath.Join(dir, name+".jsonl"),
		journal.Header{Kind: "scores", Version: storeVersion, About: map[string]any{"question": name}}, journal.Options{Shared: true}, s.take)
	if err != nil {
		return nil, err
	}
	s.found = len(s.kept)
	return s, nil
}

// entry is a line: numbers as the bits of their float64.
type entry struct {
	Key  string   `json:"key"`
	Bits []uint64 `json:"bits"`
}

func (s *Store) take(line []byte) error {
	var e entry
	if err := json.Unmarshal(line, &e); err != nil {
		return err
	}
	values := make([]float64, len(e.Bits))
	for i, b := range e.Bits {
		values[i] = math.Float64frombits(b)
	}
	s.kept[e.Key] = piece{values, true}
	return nil
}

// Kept is how many pieces an earlier run has left.
func (s *Store) Kept() int {
	if s == nil {
		return 0
	}
	return s.found
}

// Used is how many pieces of an earlier run were asked for so far.
func (s *Store) Used() int {
	if s == nil {
		return 0
	}
	return s.used
}

// New is how many pieces have come since that the next run will find.
func (s *Store) New() int {
	if s == nil {
		return 0
	}
	return s.new
}

// Failed says why pieces are not written for the next run any more; nil while
// they are. The store goes on in memory: it is a convenience.
func (s *Store) Failed() error {
	if s == nil {
		return nil
	}
	return s.failed
}

// Close closes the file.
func (s *Store) Close() error {
	if s == nil || s.file == nil {
		return nil
	}
	return s.file.Close()
}

func (s *Store) get(key string) ([]float64, bool) {
	p, ok := s.kept[key]
	if p.earlier {
		s.used++
		s.kept[key] = piece{p.values, false}
	}
	return p.values, ok
}

func (s *Store) has(key string) bool { _, ok := s.get(key); return ok }

func (s *Store) put(key string, values ...float64) {
	s.kept[key] = piece{values: values}
	if s.file == nil || s.failed != nil {
		return
	}
	e := entry{Key: key, Bits: make([]uint64, len(values))}
	for i, v := range values {
		e.Bits[i] = math.Float64bits(v)
	}
	if err := s.file.Append(e); err != nil {
		s.failed = fmt.Errorf("keep partial results: %w", err)
		return
	}
	s.new++
}
