package score

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Store keeps finished pieces of work between runs of one question: a model,
// data and an engine. What has been kept is not computed again. It is a file of
// JSON lines that is only ever appended to, so that a process killed at any
// moment loses at most the line it was writing, and two of them write side by
// side. A nil *Store keeps nothing.
type Store struct {
	file *os.File
	kept map[string][]float64
	new  int
}

// storeVersion changes when numbers may differ from those kept before.
const storeVersion = "2"

// OpenStore opens or makes the store of a question in a directory; identity is
// everything that numbers depend on beside the key they are kept under.
func OpenStore(dir string, identity ...string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(strings.Join(append([]string{storeVersion}, identity...), "\n")))
	f, err := os.OpenFile(filepath.Join(dir, hex.EncodeToString(sum[:])+".jsonl"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	s := &Store{file: f, kept: map[string][]float64{}}
	if err := s.read(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return s, nil
}

// entry is a line: numbers as the bits of their float64.
type entry struct {
	Key  string   `json:"key"`
	Bits []uint64 `json:"bits"`
}

// read takes every whole line and cuts off what a killed process left of one.
func (s *Store) read() error {
	in := bufio.NewReader(s.file)
	var good int64
	for {
		line, err := in.ReadBytes('\n')
		var e entry
		if err == io.EOF || err == nil && json.Unmarshal(line, &e) != nil {
			break
		}
		if err != nil {
			return err
		}
		values := make([]float64, len(e.Bits))
		for i, b := range e.Bits {
			values[i] = math.Float64frombits(b)
		}
		s.kept[e.Key] = values
		good += int64(len(line))
	}
	info, err := s.file.Stat()
	if err != nil || info.Size() == good {
		return err
	}
	return os.Truncate(s.file.Name(), good) // by name: Windows truncates no file that is open to be appended to
}

// Kept is how many pieces were found, New how many came since.
func (s *Store) Kept() int {
	if s == nil {
		return 0
	}
	return len(s.kept) - s.new
}

// New is how many pieces were kept since the store was opened.
func (s *Store) New() int {
	if s == nil {
		return 0
	}
	return s.new
}

// Close closes the file.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	return s.file.Close()
}

func (s *Store) get(key string) ([]float64, bool) {
	if s == nil {
		return nil, false
	}
	v, ok := s.kept[key]
	return v, ok
}

func (s *Store) put(key string, values ...float64) error {
	if s == nil {
		return nil
	}
	e := entry{Key: key, Bits: make([]uint64, len(values))}
	for i, v := range values {
		e.Bits[i] = math.Float64bits(v)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := s.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("keep partial results: %w", err)
	}
	s.kept[key] = values
	s.new++
	return nil
}
