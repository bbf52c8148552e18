package report

import (
	"encoding/json"
	"fmt"

	"github.com/coppice-ml/coppice/internal/mmap"
	"github.com/coppice-ml/coppice/internal/pyjson"
)

// Result is one metric of a task or of a group of tasks.
type Result struct {
	Type           string `json:"type"`
	Task           string `json:"task"`
	Metric         string `json:"metric"`
	Filter         string `json:"filter"` // what answers went through before; none
	Value          Number `json:"value"`
	StdErr         Number `json:"stderr"` // null where there is none
	N              int    `json:"n"`      // documents asked
	Version        string `json:"version"`
	Shots          int    `json:"shots"`
	Group          bool   `json:"group"`
	HigherIsBetter bool   `json:"higher_is_better"`
	Partial        bool   `json:"partial"`        // not all documents of the published split
	Plan           string `json:"plan,omitempty"` // file of the pruning, with --plans
	Compute
	Members []string `json:"-"` // of a group
	Chance  float64  `json:"-"` // what guessing among the choices comes to; 0: not known
}

// Typed implements Line.
func (l Result) Typed() any { l.Type = "result"; return l }

// Request is what --requests-out writes, a line each: it has no type.
type Request struct {
	Task         string `json:"task"`
	DocID        int    `json:"doc_id"`
	Choice       int    `json:"choice"`
	Context      string `json:"context"`
	Continuation string `json:"continuation"`
}

// Typed implements Line.
func (l Request) Typed() any { return l }

// Shown is what --show prints, a line each.
type Shown struct {
	Type string `json:"type"`
	Request
}

// Typed implements Line.
func (l Shown) Typed() any { l.Type = "request"; return l }

// Sample is what came of one document, a line of --samples-out.
type Sample struct {
	Task       string            `json:"task"`
	DocID      int               `json:"doc_id"`
	Doc        map[string]any    `json:"doc"`
	Target     any               `json:"target"`
	Arguments  [][]string        `json:"arguments"`
	Responses  [][]any           `json:"resps"` // [log-probability, greedy], or [text]
	Filter     string            `json:"filter"`
	Metrics    map[string]Number `json:"metrics"`
	PromptHash string            `json:"prompt_hash"`
	TargetHash string            `json:"target_hash"`
}

// Typed implements Line.
func (l Sample) Typed() any { return l }

// Difference compares one metric of two results.
type Difference struct {
	Type           string `json:"type"`
	Task           string `json:"task"`
	Metric         string `json:"metric"`
	Filter         string `json:"filter"`
	A              Number `json:"a"`
	B              Number `json:"b"`
	Difference     Number `json:"difference"` // B - A
	Low            Number `json:"low"`        // of the 95 % confidence interval
	High           Number `json:"high"`
	N              int    `json:"n"`
	OnlyA          int    `json:"only_a"` // documents A alone has right; -1 where that has no meaning
	OnlyB          int    `json:"only_b"`
	P              Number `json:"p"` // McNemar's exact test; of a mean over tasks a stratified permutation test
	Significant    bool   `json:"significant"`
	Worse          bool   `json:"worse"`
	HigherIsBetter bool   `json:"higher_is_better"`
	Partial        bool   `json:"partial"`
	Sentence       string `json:"sentence"`

	Members []string `json:"-"` // of a group
}

// Typed implements Line.
func (l Difference) Typed() any { l.Type = "difference"; return l }

// EvalFile is results.json: the fields of lm-evaluation-harness 0.4.5's, so
// that what reads those reads these, and what it lacks under "coppice".
type EvalFile struct {
	Results        map[string]map[string]any      `json:"results"`
	Groups         map[string]map[string]any      `json:"groups,omitempty"`
	GroupSubtasks  map[string][]string            `json:"group_subtasks"`
	Configs        map[string]map[string]any      `json:"configs"`
	Versions       map[string]any                 `json:"versions"`
	Shots          map[string]int                 `json:"n-shot"`
	HigherIsBetter map[string]map[string]bool     `json:"higher_is_better"`
	Samples        map[string]EvalCount           `json:"n-samples"`
	Config         map[string]any                 `json:"config"`
	Date           float64                        `json:"date"` // seconds since 1970
	Coppice        EvalOrigin                     `json:"coppice"`
	Documents      map[string]map[string]EvalList `json:"documents"` // by task and metric, for compare
}

// EvalCount is how many documents a split has and how many were asked.
type EvalCount struct {
	Original  int `json:"original"`
	Effective int `json:"effective"`
}

// EvalList are the values of a metric by document.
type EvalList struct {
	Aggregation    string    `json:"aggregation"`
	HigherIsBetter bool      `json:"higher_is_better"`
	Values         []Number  `json:"values"`
	Weights        []float64 `json:"weights,omitempty"` // nil: all 1
}

// EvalOrigin says what made the results.
type EvalOrigin struct {
	Version   string  `json:"version"`
	Model     string  `json:"model"`
	ModelHash string  `json:"model_hash"`
	Layers    int     `json:"layers"` // of the model; keep has those that ran
	Compute   Compute `json:"compute"`
	AddBOS    bool    `json:"add_bos"`
	Partial   bool    `json:"partial"`
	Limit     int     `json:"limit,omitempty"`
	Seconds   float64 `json:"seconds"`
	// SHA-256 of the chat template that questions were put in, "" without one; whether
	// examples were turns of their own; what was said before everything, and its SHA-256.
	ChatTemplate string `json:"chat_template_sha,omitempty"`
	Multiturn    bool   `json:"fewshot_as_multiturn,omitempty"`
	System       string `json:"system_instruction,omitempty"`
	SystemHash   string `json:"system_instruction_sha,omitempty"`

	Truncated map[string]int         `json:"truncated,omitempty"` // by task: requests whose contexts lost their beginnings
	Datasets  map[string]EvalDataset `json:"datasets"`            // by task
	Means     map[string]EvalMean    `json:"means"`               // by group: how its metrics come from tasks
	// Chance is what guessing among the choices comes to, by task and group, in acc and
	// acc_norm.
	Chance map[string]float64 `json:"chance,omitempty"`
}

// EvalDataset is where a task's documents came from.
type EvalDataset struct {
	Path     string `json:"path"`
	Name     string `json:"name,omitempty"`
	Split    string `json:"split"`
	Source   string `json:"source"`
	Hash     string `json:"hash"`     // of the documents
	Requests string `json:"requests"` // hash of the requests' texts
}

// EvalMean is a group's mean by tasks: weights add up to 1.
type EvalMean struct {
	Metrics []string           `json:"metrics"`
	Weights map[string]float64 `json:"weights"`
}

// ReadEval reads results.json.
func ReadEval(path string) (*EvalFile, error) {
	raw, err := mmap.ReadNamed(path)
	if err != nil {
		return nil, err
	}
	var f EvalFile
	if err := pyjson.Explain(json.Unmarshal(raw, &f)); err != nil {
		return nil, fmt.Errorf("%s: not the results of `coppice eval --out`: %w", path, err)
	}
	if len(f.Documents) == 0 {
		return nil, fmt.Errorf("%s: holds no results by document; want what `coppice eval --out` writes", path)
	}
	return &f, nil
}
