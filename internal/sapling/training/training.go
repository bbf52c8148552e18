// Package training says how Sapling is trained: which rows are written, and the
// stages of "coppice heal" that take them, one table for those who train, count what
// was seen and write the figures down.
//
// What the rows say is in package world. Nothing here trains.
package training

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/internal/sapling/world"
)

// Seeds of what is written.
const (
	rowSeed    = 1
	letterSeed = 6
)

// Rows are those of training.
type Rows struct {
	Texts        []world.Text
	Exchanges    []world.Exchange
	Instructions []world.Instruction
	Lists        []world.Exchange // of answers under letters
}

// NewRows writes the rows of a world.
func NewRows(w *world.World) *Rows {
	return &Rows{w.Texts(rowSeed, 45000), w.Exchanges(rowSeed, 60000), w.Instructions(rowSeed, 4000), w.Fixed().Lists(letterSeed, 20000)}
}

// Files are the rows as the stages read them, by name.
func (r *Rows) Files() map[string][]byte {
	facts, asked := world.Facts(r.Texts, r.Exchanges)
	skills, answered := world.Skills(r.Texts, r.Exchanges)
	return map[string][]byte{
		"train/texts.jsonl":        Lines(r.Texts),
		"train/exchanges.jsonl":    Lines(r.Exchanges),
		"train/instructions.jsonl": Lines(r.Instructions),
		"facts/texts.jsonl":        Lines(facts),
		"facts/exchanges.jsonl":    Lines(asked),
		"skills/texts.jsonl":       Lines(skills),
		"skills/exchanges.jsonl":   Lines(answered),
		"letters/lists.jsonl":      Lines(r.Lists),
	}
}

// Lines are rows in JSON, one a line.
func Lines[T any](rows []T) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	for _, r := range rows {
		if err := e.Encode(r); err != nil {
			panic(err) // strings and numbers
		}
	}
	return b.Bytes()
}

// Write writes files below a directory.
func Write(dir string, files map[string][]byte) error {
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// Stage is one run of "coppice heal".
type Stage struct {
	Name         string
	Rows         []string // files of rows, some with a share
	Last         int      // of the layers, which train with norm and head; 0: everything
	Steps, Batch int
	LR           float64
	Warmup       int
	Schedule     string
	Seed         uint64
}

// Stages are those of Sapling. Each begins with the weights of the one before.
func Stages() []Stage {
	whole := []string{"train/texts.jsonl", "train/exchanges.jsonl", "train/instructions.jsonl"}
	facts := []string{"facts/texts.jsonl", "facts/exchanges.jsonl"}
	skills := []string{"skills/texts.jsonl", "skills/exchanges.jsonl"}
	letters := []string{"skills/texts.jsonl:0.2", "skills/exchanges.jsonl:0.2", "letters/lists.jsonl:0.6"}
	return []Stage{
		{Name: "stage1", Rows: whole, Steps: 193, Batch: 128, LR: 3e-3, Warmup: 30, Schedule: "constant", Seed: 2025},
		{Name: "stage2", Rows: facts, Steps: 334, Batch: 32, LR: 2e-3, Warmup: 20, Schedule: "constant", Seed: 2026},
		{Name: "stage3", Rows: whole, Last: 4, Steps: 554, Batch: 48, LR: 2e-3, Warmup: 20, Schedule: "constant", Seed: 2027},
		{Name: "stage4", Rows: whole, Last: 3, Steps: 350, Batch: 48, LR: 2e-3, Warmup: 20, Schedule: "linear", Seed: 2028},
		{Name: "stage5", Rows: skills, Last: 3, Steps: 450, Batch: 48, LR: 2e-3, Warmup: 20, Schedule: "linear", Seed: 2029},
		{Name: "stage6", Rows: letters, Last: 3, Steps: 600, Batch: 64, LR: 3e-3, Warmup: 20, Schedule: "linear", Seed: 2030},
	}
}

// Often is how many rows that the stages take tell each fact, at the fewest.
const Often = 200

// Full are the same stages with everything trained in each, for comparison.
func Full(stages []Stage) []Stage {
	out := slices.Clone(stages)
	for i := range out {
		out[i].Last = 0
	}
	return out
}

// Start is the directory of the first weights, StartSeed their seed.
const (
	Start     = "start"
	StartSeed = 2025
)

// MaxLength is how many tokens of a row are taken; all rows are shorter.
const MaxLength = 128

// Common are the settings of all stages.
func Common() []string {
	return []string{
		"--validation", "0", "--max-length", strconv.Itoa(MaxLength), "--micro-batch-tokens", "2048", "--weight-decay", "0.1", "--betas", "0.9,0.98",
		"--dtype", "float32", "--keep", "last",
	}
}

// First is the arguments of coppice that make the first weights in a directory, in
// which lies the model without weights.
func First(dir, model string) []string {
	return []string{"init", filepath.Join(dir, model), "--out", filepath.Join(dir, Start), "--seed", strconv.Itoa(StartSeed)}
}

// own are the settings that are a stage's own.
func (s Stage) own(dir string) []string {
	args := []string{"--method", "full"}
	if s.Last > 0 {
		args = []string{"--method", "partial", "--last", strconv.Itoa(s.Last)}
	}
	for _, name := range s.Rows {
		args = append(args, "--data", filepath.Join(dir, filepath.FromSlash(name)))
	}
	return append(args, strings.Fields(fmt.Sprintf("--steps %d --batch-size %d --lr %v --warmup-steps %d --schedule %s --seed %d",
		s.Steps, s.Batch, s.LR, s.Warmup, s.Schedule, s.Seed))...)
}

// Command is the arguments of coppice that train a stage behind another, "" for the
// first, in a directory. Where everything trains, it goes on from float32.
func (s Stage) Command(dir, before string) []string {
	args := []string{"heal", filepath.Join(dir, Start)}
	switch {
	case before != "" && s.Last == 0:
		args = append(args, "--init-from", filepath.Join(dir, before))
	case before != "":
		args[1] = filepath.Join(dir, before)
	}
	args = append(args, "--out", filepath.Join(dir, s.Name), "--save-every", "2m", "--yes")
	return append(append(args, s.own(dir)...), Common()...)
}
