package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/coppice-ml/coppice/internal/wholefile"
)

// Format is the version of the files of a run directory.
const Format = 1

// Files and directories of a run.
const (
	RunFile      = "run.json"
	RecipeFile   = "recipe.yaml"
	LockFile     = "lock"
	TrialFile    = "trial.json"
	ManifestFile = "manifest.json"
	FailureFile  = "failed.json"
	TrialsDir    = "trials"
	StagesDir    = "stages"
)

// Files of stages, by kind.
const (
	RankingFile     = "ranking.jsonl"       // score: one report.Ranking, or report.Blocks
	PlanFile        = "plan.json"           // plan: what --plan reads
	HealedFile      = "healed.json"         // heal: a report.Healed
	LossesFile      = "losses.jsonl"        // heal: report.HealStep and report.HealEval, in order
	TrainedFile     = "trained.safetensors" // heal: tensors by their names in the dense model; lora has PEFT's files
	ResultsFile     = "results.json"        // tasks: a report.EvalFile
	PerplexityFile  = "perplexity.jsonl"    // perplexity: one report.Perplexity
	GenerationsFile = "generations.jsonl"   // prompts: a Generation a line
	SizesFile       = "sizes.jsonl"         // sizes: one report.Sizes
	SimilarityFile  = "similarity.jsonl"    // similarity: one report.Ranking by cka; its matrix has a row for each depth, [kept+1]
	AnswersFile     = "answers.jsonl"       // answers: rows to train on, as generate --data writes them
	CurveFile       = "curve.jsonl"         // curve: one report.Curve
	ModelDir        = "model"               // checkpoint: a directory that transformers loads
)

// Kinds of stages.
const (
	KindScore      = "score"
	KindPlan       = "plan"
	KindHeal       = "heal"
	KindCheckpoint = "checkpoint"
	KindTasks      = "tasks"
	KindPerplexity = "perplexity"
	KindPrompts    = "prompts"
	KindSpeed      = "speed" // its manifest is all it has
	KindSizes      = "sizes"
	KindSimilarity = "similarity"
	KindAnswers    = "answers"
	KindCurve      = "curve"
)

// States of a model that are measured; roles begin with them: "healed.tasks".
const (
	Dense  = "dense"
	Cut    = "cut"
	Healed = "healed"
)

// VersionError is a file of a format that this program does not read.
type VersionError struct {
	Path   string
	Format int
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: format %d, and this program reads format %d", e.Path, e.Format, Format)
}

// ErrNone: there is no run in the directory.
var ErrNone = errors.New("no run directory")

// errDamaged: a file holds no JSON of its kind.
var errDamaged = errors.New("the file is damaged")

// read decodes a JSON file and checks its format.
func read(path string, into interface{ format() int }) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: %w: %w", path, errDamaged, err)
	}
	if f := into.format(); f != Format {
		return &VersionError{Path: path, Format: f}
	}
	return nil
}

// Write writes a value as indented JSON to a file that appears whole or not at all.
func Write(path string, v any) error {
	raw, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return WriteFile(path, append(raw, '\n'))
}

// WriteFile writes a file that appears whole or not at all.
func WriteFile(path string, content []byte) error {
	return wholefile.Bytes(path, content)
}
