package run

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
)

// Stage is a piece of work: what it is, what its result depends on, and how it is
// done. All that decides its result is in Kind, Inputs and Needs.
type Stage struct {
	Kind   string
	Title  string            // for people: "score bi, taylor of llama"
	Inputs map[string]string // resolved, by key of the recipe
	Needs  []*Stage
	Hash   string
	Dir    string   // below the run directory, with slashes
	Trials []string // that need it
	Roles  []string // its role in each of them

	Seed    *uint64 // that reaches its result
	Partial bool    // of a part of the documents
	Work    Work    // what it takes

	// together: stages with the same, not empty, are done in one call of do.
	together string
	spec     any // what do does: a value of package stage
	do       func(c *call, stages []*Stage) error
	result   result
}

// result is what a stage's work leaves beside its files.
type result struct {
	compute         *report.Compute
	tokens          int64
	seconds         float64 // of work; 0: of the call
	prefill, decode *rundir.Rate
}

// Ref names the stage in one of its trials.
func (s *Stage) ref(role string) rundir.Ref { return rundir.Ref{Role: role, Kind: s.Kind, Dir: s.Dir} }

// identify gives the stage its hash and its directory.
func (s *Stage) identify() {
	id := struct {
		Format int               `json:"format"`
		Kind   string            `json:"kind"`
		Inputs map[string]string `json:"inputs"`
		Needs  []string          `json:"needs"`
	}{rundir.Format, s.Kind, s.Inputs, []string{}}
	for _, n := range s.Needs {
		id.Needs = append(id.Needs, n.Hash)
	}
	raw, _ := json.Marshal(id) // maps are sorted
	sum := sha256.Sum256(raw)
	s.Hash = hex.EncodeToString(sum[:])
	s.Dir = path.Join(rundir.StagesDir, fmt.Sprintf("%s-%s", s.Kind, s.Hash[:16]))
}

// graph holds the stages of all trials, each once.
type graph struct {
	stages []*Stage // every one after those it needs
	byHash map[string]*Stage
}

// add puts a stage in, or finds the one that is the same.
func (g *graph) add(s *Stage) *Stage {
	s.identify()
	if have := g.byHash[s.Hash]; have != nil {
		return have
	}
	if g.byHash == nil {
		g.byHash = map[string]*Stage{}
	}
	g.byHash[s.Hash] = s
	g.stages = append(g.stages, s)
	return s
}

// use notes that a trial needs a stage.
func (s *Stage) use(trial, role string) {
	if at := slices.Index(s.Trials, trial); at >= 0 && s.Roles[at] == role {
		return
	}
	s.Trials, s.Roles = append(s.Trials, trial), append(s.Roles, role)
}
