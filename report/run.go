package report

// States of a stage of a run.
const (
	StageReused  = "reused"  // it was done before
	StageRun     = "run"     // it is being done
	StageFailed  = "failed"  // it could not be done
	StageSkipped = "skipped" // what it needs has failed
)

// Stage says what happens with a piece of a run's work, and why.
type Stage struct {
	Type    string   `json:"type"` // "stage"
	Trial   string   `json:"trial"`
	Stage   string   `json:"stage"` // its role in the trial: score, healed.tasks
	State   string   `json:"state"`
	Because string   `json:"because"`
	Kind    string   `json:"kind"`
	Dir     string   `json:"dir"`
	Trials  []string `json:"trials,omitempty"` // all of them, where several share it
}

// Typed implements Line.
func (l Stage) Typed() any { l.Type = "stage"; return l }

// Recipe is one that ships.
type Recipe struct {
	Type  string `json:"type"` // "recipe"
	Name  string `json:"name"`
	About string `json:"about"`
}

// Typed implements Line.
func (l Recipe) Typed() any { l.Type = "recipe"; return l }

// TrialPlan is a trial of a run that is not begun, with what it takes by estimate.
type TrialPlan struct {
	Type      string  `json:"type"` // "trial"
	Trial     string  `json:"trial"`
	Layers    string  `json:"layers"`    // kept of all: 24/32
	Trainable int64   `json:"trainable"` // parameters that healing changes
	Own       int     `json:"own"`       // stages that no other trial needs
	Shared    int     `json:"shared"`
	Seconds   float64 `json:"seconds"` // by itself
	Disk      int64   `json:"disk"`    // that stays, of its own stages
}

// Typed implements Line.
func (l TrialPlan) Typed() any { l.Type = "trial"; return l }

// RunPlan is a run that is not begun.
type RunPlan struct {
	Type            string     `json:"type"` // "run"
	Trials          int        `json:"trials"`
	Stages          int        `json:"stages"`
	Unshared        int        `json:"unshared"` // stages if every trial did all of its own
	Seconds         float64    `json:"seconds"`
	UnsharedSeconds float64    `json:"unshared_seconds"`
	Disk            int64      `json:"disk"`   // most that the run directory takes
	Memory          int64      `json:"memory"` // most that a stage holds beside mapped weights
	Kinds           []KindPlan `json:"kinds"`
	Guessed         bool       `json:"guessed,omitempty"` // sizes of data that are not here
	Cuts            []string   `json:"cuts,omitempty"`    // of a budget
}

// KindPlan is the work of one kind.
type KindPlan struct {
	Kind    string  `json:"kind"`
	Stages  int     `json:"stages"`
	Seconds float64 `json:"seconds"`
}

// Typed implements Line.
func (l RunPlan) Typed() any { l.Type = "run"; return l }
