package report

import (
	"fmt"
	"math"
	"strings"
	"time"
)

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
	Sizes           []Sizes    `json:"sizes,omitempty"`   // where the recipe measures them
}

// Sizes are what a model takes, by its config alone.
type Sizes struct {
	Type            string `json:"type"` // "sizes"
	Trial           string `json:"trial,omitempty"`
	State           string `json:"state,omitempty"` // dense or cut
	Layers          int    `json:"layers"`
	Parameters      int64  `json:"parameters"`
	Bytes           int64  `json:"bytes"` // in the dtype that the config names
	Float32Bytes    int64  `json:"float32_bytes"`
	KVBytesPerToken int64  `json:"kv_bytes_per_token"` // of caches of 16 bits
	Tokens          int    `json:"tokens"`             // of the sequence whose multiply-accumulates follow
	MACs            int64  `json:"macs"`               // of linear maps, the head for every token, and attention
	AttentionMACs   int64  `json:"attention_macs"`     // of them
	PaperMACs       int64  `json:"paper_macs"`         // as the paper counts: linear maps, and two an element of a norm
}

// Typed implements Line.
func (l Sizes) Typed() any { l.Type = "sizes"; return l }

func (l Sizes) text() string {
	const g = 1e9
	return fmt.Sprintf("  %-5s %s, %d parameters, %s (%.1f MiB in float32), %s of cache a token; %.4f G multiply-accumulates at %s, %.4f G by the paper's count\n",
		l.State, Plural(l.Layers, "layer"), l.Parameters, FormatBytes(l.Bytes), float64(l.Float32Bytes)/(1<<20), FormatBytes(l.KVBytesPerToken),
		float64(l.MACs)/g, Plural(l.Tokens, "token"), float64(l.PaperMACs)/g)
}

// KindPlan is the work of one kind.
type KindPlan struct {
	Kind    string  `json:"kind"`
	Stages  int     `json:"stages"`
	Seconds float64 `json:"seconds"`
}

// Typed implements Line.
func (l RunPlan) Typed() any { l.Type = "run"; return l }

// PlanOf writes the lines of a run that is not begun: its trials as a table, and
// what all of them take together.
func PlanOf(lines []Line) (trials *Table, all string) {
	trials = &Table{Header: []string{"trial", "layers", "trained parameters", "stages of its own", "shared", "time alone", "disk"}}
	for _, l := range lines {
		switch l := l.(type) {
		case TrialPlan:
			trials.Add(Cell{Text: l.Trial, Plain: l.Trial}, counted(l.Layers), counted(l.Trainable), counted(l.Own), counted(l.Shared),
				Cell{Text: Roughly(seconds(l.Seconds)), Plain: fmt.Sprint(l.Seconds), Right: true},
				Cell{Text: FormatBytes(l.Disk), Plain: fmt.Sprint(l.Disk), Right: true})
		case RunPlan:
			all = l.text()
		}
	}
	return trials, all
}

func counted[T any](v T) Cell { return Cell{Text: fmt.Sprint(v), Plain: fmt.Sprint(v), Right: true} }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (l RunPlan) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s (without sharing %d): about %s on this machine (without sharing %s), %s of disk, %s of memory beside what the system keeps of the weights\n",
		Plural(l.Trials, "trial"), Plural(l.Stages, "stage"), l.Unshared, Roughly(seconds(l.Seconds)), Roughly(seconds(l.UnsharedSeconds)),
		FormatBytes(l.Disk), FormatBytes(l.Memory))
	for _, k := range l.Kinds {
		fmt.Fprintf(&b, "  %-11s %4d   %s\n", k.Kind, k.Stages, Roughly(seconds(k.Seconds)))
	}
	for _, z := range l.Sizes {
		b.WriteString(z.text())
	}
	if l.Guessed {
		b.WriteString("sizes of data that are not here are taken for what they are known to be\n")
	}
	for _, c := range l.Cuts {
		fmt.Fprintf(&b, "budget: %s\n", c)
	}
	return b.String()
}

// Roughly writes a duration with as much detail as an estimate has.
func Roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return Plural(int(math.Round(max(1, d.Seconds()))), "second")
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
	return fmt.Sprintf("%.0f hours", d.Hours())
}
