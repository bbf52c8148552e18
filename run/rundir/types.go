package rundir

import (
	"time"

	"github.com/coppice-ml/coppice/report"
)

// Run says what a run is made of. Everything measured is in the stages.
type Run struct {
	Format  int      `json:"format"`
	Name    string   `json:"name"`
	About   string   `json:"about,omitempty"` // one line, of the recipe
	Version string   `json:"version"`         // of Coppice
	Command []string `json:"command"`         // that makes it again
	Models  []Model  `json:"models"`
	Trials  []string `json:"trials"` // names, in the order of the recipe
	Report  Report   `json:"report"`
	// Cuts are what a budget left out; every result is partial where there are any.
	Cuts []string `json:"cuts,omitempty"`
}

// Model is a model that trials are of.
type Model struct {
	Name            string       `json:"name"`
	From            string       `json:"from"`           // directory, or id on the hub
	Hash            string       `json:"hash,omitempty"` // of config and weights
	KVBytesPerToken int64        `json:"kv_bytes_per_token"`
	Facts           report.Model `json:"facts"`
}

// Report says how a run wants to be shown.
type Report struct {
	Published string `json:"published,omitempty" yaml:"published" doc:"table or figure of the paper to set beside, such as table-1"`
	Rows      string `json:"rows,omitempty" yaml:"rows" doc:"axis of the baseline"`
	Columns   string `json:"columns,omitempty" yaml:"columns" doc:"kept with the run, changes nothing in this version"`
	Group     string `json:"group,omitempty" yaml:"group" doc:"kept with the run, changes nothing in this version"`
	Baseline  string `json:"baseline,omitempty" yaml:"baseline" doc:"value of the axis rows: the trial that a model's others are compared with"`
	LaTeX     bool   `json:"latex,omitempty" yaml:"latex" doc:"changes nothing: report.tex is always written"`
}

// Trial is one combination of the axes' values for one model.
type Trial struct {
	Format   int            `json:"format"`
	Name     string         `json:"name"` // its directory below trials/, with slashes
	Model    string         `json:"model"`
	Axes     []Axis         `json:"axes"`           // in the recipe's order
	Seed     *uint64        `json:"seed,omitempty"` // where there are several, and one reaches its results
	Settings map[string]any `json:"settings"`       // of the recipe, resolved for this trial
	Stages   []Ref          `json:"stages"`         // in the order of work
}

// Axis is the value of an axis.
type Axis struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Ref names a stage of a trial. Roles are: score, plan, answers, heal, checkpoint, curve, and
// STATE.tasks, STATE.prompts, STATE.speed, STATE.sizes, STATE.similarity, STATE.perplexity or STATE.perplexity.N of
// the states dense, cut and healed. Where pruning is iterative score, plan and heal
// are those of the last round, and score.K, plan.K, heal.K those of round K, from 1.
type Ref struct {
	Role string `json:"role"`
	Kind string `json:"kind"`
	Dir  string `json:"dir"` // below the run, with slashes: stages/heal-0123456789abcdef
}

// Manifest says that a stage is done, and what of. What differs from one machine or
// one day to the next is in Measured alone.
type Manifest struct {
	Format  int               `json:"format"`
	Kind    string            `json:"kind"`
	Hash    string            `json:"hash"`   // of kind, inputs, and the hashes of what it needs
	Inputs  map[string]string `json:"inputs"` // resolved, by key of the recipe
	Needs   []string          `json:"needs"`  // directories of the stages that it builds upon
	Version string            `json:"version"`
	Device  string            `json:"device,omitempty"` // of the engine, where one ran
	DType   string            `json:"dtype,omitempty"`
	Seed    *uint64           `json:"seed,omitempty"` // where one reaches its results
	Partial bool              `json:"partial,omitempty"`
	Outputs map[string]Output `json:"outputs"` // by file name
	// Measured is all that is not the same when the stage is run again.
	Measured Measured `json:"measured"`
}

// Output is a file of a stage.
type Output struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Measured is what a stage took.
type Measured struct {
	Started         time.Time     `json:"started"`
	Ended           time.Time     `json:"ended"`
	Seconds         float64       `json:"seconds"`           // of work, over all calls that it took
	Estimated       float64       `json:"estimated_seconds"` // beforehand; 0: unknown
	Tokens          int64         `json:"tokens,omitempty"`
	TokensPerSecond report.Number `json:"tokens_per_second,omitempty"`
	PeakMemory      int64         `json:"peak_memory,omitempty"` // bytes of the process
	Host            string        `json:"host"`
	OS              string        `json:"os"`
	Arch            string        `json:"arch"`
	CPU             string        `json:"cpu,omitempty"` // its model name
	CPUs            int           `json:"cpus"`
	Threads         int           `json:"threads,omitempty"`
	Provider        string        `json:"provider,omitempty"`
	// Together counts the stages that one pass over the weights served; Seconds is
	// this one's share.
	Together int `json:"together,omitempty"`
	// Speed, of the kind speed: tokens a second.
	Prefill *Rate `json:"prefill,omitempty"`
	Decode  *Rate `json:"decode,omitempty"`
}

// Rate is a speed.
type Rate struct {
	Tokens          int           `json:"tokens"` // of the prompt, or made after it
	TokensPerSecond report.Number `json:"tokens_per_second"`
}

// Failure says why a stage has no result.
type Failure struct {
	Format  int       `json:"format"`
	Message string    `json:"message"`
	Remedy  string    `json:"remedy,omitempty"`
	When    time.Time `json:"when"`
}

// Generation is what a model makes of a prompt.
type Generation struct {
	Prompt string `json:"prompt"`
	Text   string `json:"text"`
	Tokens int    `json:"tokens"`
	Finish string `json:"finish"` // eos_token or length
	// Repetition is the share of the text's four-token sequences that it had before;
	// 0 where it has fewer tokens.
	Repetition float64 `json:"repetition"`
}

func (r *Run) format() int      { return r.Format }
func (t *Trial) format() int    { return t.Format }
func (m *Manifest) format() int { return m.Format }
func (f *Failure) format() int  { return f.Format }
