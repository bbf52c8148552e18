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
