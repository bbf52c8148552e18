package page

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
)

// maker writes run directories as `coppice run` does.
type maker struct {
	t      *testing.T
	dir    string
	run    rundir.Run
	trials []rundir.Trial
	stages int
	drop   []int                   // by whole
	shared map[string][]rundir.Ref // stages of whole that trials have in common
	random *rand.Rand
}

const madeLayers = 12

func newMaker(t *testing.T, name string) *maker {
	m := &maker{t: t, dir: filepath.Join(t.TempDir(), "run"), drop: []int{8, 9, 10}, shared: map[string][]rundir.Ref{}, random: rand.New(rand.NewPCG(1, 2))}
	m.run = rundir.Run{Format: rundir.Format, Name: name, About: "made up", Version: "test", Command: []string{"coppice", "run", name}}
	m.model("sapling")
	return m
}

func (m *maker) model(name string) {
	m.run.Models = append(m.run.Models, rundir.Model{Name: name, From: "/models/" + name, Hash: strings.Repeat("ab", 32), KVBytesPerToken: 3072,
		Facts: report.Model{Architecture: "LlamaForCausalLM", Layers: madeLayers, Parameters: 2329728, Bytes: 4659456, DType: "bfloat16", MACsPerToken: 2195456}})
}

// trial begins a trial of the last model.
func (m *maker) trial(axes ...rundir.Axis) *rundir.Trial {
	model := m.run.Models[len(m.run.Models)-1].Name
	name := model
	for _, a := range axes {
		name += "/" + a.Value
	}
	m.trials = append(m.trials, rundir.Trial{Format: rundir.Format, Name: name, Model: model, Axes: axes})
	return &m.trials[len(m.trials)-1]
}

func (m *maker) file(path string, v any) {
	m.t.Helper()
	full := filepath.Join(m.dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
		m.t.Fatal(err)
	}
	raw, isText := []byte(nil), false
	if s, ok := v.(string); ok {
		raw, isText = []byte(s), true
	}
	if !isText { // not rundir.Write, which waits for the disk
		var err error
		if raw, err = json.Marshal(v); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := os.WriteFile(full, raw, 0o666); err != nil {
		m.t.Fatal(err)
	}
}

// stage adds a stage that is done to a trial, with one file.
func (m *maker) stage(t *rundir.Trial, role, kind, file string, content any) rundir.Ref {
	m.stages++
	ref := rundir.Ref{Role: role, Kind: kind, Dir: fmt.Sprintf("stages/%s-%016x", kind, m.stages)}
	t.Stages = append(t.Stages, ref)
	measured := rundir.Measured{Seconds: 12.5, Estimated: 11, TokensPerSecond: 900, PeakMemory: 90 << 20, OS: "linux", Arch: "amd64", CPU: "EPYC", CPUs: 2, Threads: 2, Provider: "oneDNN"}
	if kind == rundir.KindSpeed {
		factor := 1.
		if strings.HasPrefix(role, rundir.Cut) {
			factor = 1.3
		}
		measured.Prefill, measured.Decode = &rundir.Rate{Tokens: 128, TokensPerSecond: report.Number(15000 * factor)}, &rundir.Rate{Tokens: 64, TokensPerSecond: report.Number(1200 * factor)}
	}
	m.file(ref.Dir+"/"+rundir.ManifestFile, rundir.Manifest{Format: rundir.Format, Kind: kind, Hash: fmt.Sprint(m.stages), DType: "bfloat16", Measured: measured})
	if file != "" {
		m.file(ref.Dir+"/"+file, content)
	}
	return ref
}

// failed adds a stage that failed.
func (m *maker) failed(t *rundir.Trial, role, kind, why string) {
	m.stages++
	ref := rundir.Ref{Role: role, Kind: kind, Dir: fmt.Sprintf("stages/%s-%016x", kind, m.stages)}
	t.Stages = append(t.Stages, ref)
	m.file(ref.Dir+"/"+rundir.FailureFile, rundir.Failure{Format: rundir.Format, Message: why, Remedy: "try again"})
}

func lines(t *testing.T, all ...report.Line) string {
	var b strings.Builder
	for _, l := range all {
		if err := report.Write(&b, l); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// tasks are results of three tasks of n documents and their mean; quality is the share
// that is right.
func (m *maker) tasks(n int, quality float64) report.EvalFile {
	f := report.EvalFile{Results: map[string]map[string]any{}, GroupSubtasks: map[string][]string{}, Samples: map[string]report.EvalCount{}, HigherIsBetter: map[string]map[string]bool{},
		Documents: map[string]map[string]report.EvalList{}, Coppice: report.EvalOrigin{Layers: madeLayers, Compute: report.Compute{DType: "bfloat16"}, Datasets: map[string]report.EvalDataset{}, Chance: map[string]float64{}}}
	weights := map[string]float64{}
	var sum float64
	chances := []float64{.5, .25, .25}
	for i, task := range []string{"piqa", "arc_easy", "mmlu"} {
		list := report.EvalList{Aggregation: "mean", HigherIsBetter: true}
		right := 0.
		for d := range n {
			v := 0.
			// Documents are as hard for every model: pairs are correlated.
			if hard := rand.New(rand.NewPCG(uint64(i), uint64(d))).Float64(); hard*.9+m.random.Float64()*.1 < chances[i]+(quality-.25)*(1-chances[i]) {
				v = 1
			}
			right += v
			list.Values = append(list.Values, report.Number(v))
		}
		mean := right / float64(n)
		sum += mean / 3
		f.Results[task] = map[string]any{"alias": task, "acc,none": mean, "acc_stderr,none": .02}
		f.GroupSubtasks[task], f.Samples[task] = []string{}, report.EvalCount{Original: n, Effective: n}
		f.Documents[task] = map[string]report.EvalList{"acc,none": list}
		f.HigherIsBetter[task] = map[string]bool{"acc": true}
		f.Coppice.Datasets[task] = report.EvalDataset{Hash: task}
		f.Coppice.Chance[task] = chances[i]
		weights[task] = 1. / 3
	}
	f.Results["all"] = map[string]any{"alias": "all", "acc,none": sum, "acc_stderr,none": .012}
	f.GroupSubtasks["all"] = []string{"piqa", "arc_easy", "mmlu"}
	f.HigherIsBetter["all"] = map[string]bool{"acc": true}
	f.Coppice.Means = map[string]report.EvalMean{"all": {Metrics: []string{"acc,none"}, Weights: weights}}
	f.Coppice.Chance["all"] = 1. / 3
	return f
}

func (m *maker) plan(t *rundir.Trial, drop ...int) {
	p := report.Plan{Layers: madeLayers, Drop: drop, Parameters: 2329728 - 170000*int64(len(drop)), ParametersBefore: 2329728, BytesBefore: 4659456, Bytes: 4659456 - 340000*int64(len(drop))}
	for l := range madeLayers {
		gone := false
		for _, d := range drop {
			gone = gone || d == l
		}
		if !gone {
			p.Keep = append(p.Keep, l)
		}
	}
	m.stage(t, rundir.KindPlan, rundir.KindPlan, rundir.PlanFile, p.Typed())
}

func (m *maker) score(t *rundir.Trial, metric string, protected ...int) {
	r := report.Ranking{Metric: metric, Direction: "lowest", Protected: protected}
	for l := range madeLayers {
		r.Scores = append(r.Scores, report.Number(.1+float64((l*7)%madeLayers)/20))
		r.Order = append(r.Order, (l*5+len(metric))%madeLayers)
	}
	for range madeLayers + 1 {
		r.Matrix = append(r.Matrix, report.Numbers(make([]float64, madeLayers+1)))
	}
	for i := range r.Matrix {
		for j := range r.Matrix {
			r.Matrix[i][j] = report.Number(1 / float64(1+max(i-j, j-i)))
		}
	}
	m.stage(t, rundir.KindScore, rundir.KindScore, rundir.RankingFile, lines(m.t, r))
}

func (m *maker) heal(t *rundir.Trial, method, data string) {
	first, last := report.Number(2.1), report.Number(.47)
	ref := m.stage(t, rundir.KindHeal, rundir.KindHeal, rundir.HealedFile, report.Healed{Method: method, Steps: 20, Trainable: 648064, Samples: 2900, HeldOut: 100, Skipped: 3, Data: data, LossFirst: &first, LossBest: &last}.Typed())
	var all []report.Line
	for step := range 20 {
		if step%5 == 0 {
			all = append(all, report.HealEval{Step: step, Loss: report.Number(2.1 - float64(step)*.08)})
		}
		all = append(all, report.HealStep{Step: step + 1, Loss: report.Number(2 - float64(step)*.07)})
	}
	m.file(ref.Dir+"/"+rundir.LossesFile, lines(m.t, all...))
}

func (m *maker) texts(t *rundir.Trial, state, prompt, text string) {
	g := fmt.Sprintf("{\"prompt\":%q,\"text\":%q,\"tokens\":9,\"finish\":\"length\",\"repetition\":0.37}\n", prompt, text)
	m.stage(t, state+".prompts", rundir.KindPrompts, rundir.GenerationsFile, g)
}

func (m *maker) perplexity(t *rundir.Trial, state, data string, v float64) {
	m.stage(t, state+".perplexity", rundir.KindPerplexity, rundir.PerplexityFile, lines(m.t, report.Perplexity{Data: data, Tokens: 5588, Length: 128, Perplexity: report.Number(v)}))
}

// whole adds everything a guide's trial has.
func (m *maker) whole(t *rundir.Trial, documents int, quality float64) {
	for i, state := range []string{rundir.Dense, rundir.Cut, rundir.Healed} {
		common := fmt.Sprint(t.Model, state, m.drop)
		if state == rundir.Dense {
			common = t.Model
		}
		if known := m.shared[common]; state != rundir.Healed && known != nil {
			t.Stages = append(t.Stages, known...)
			continue
		}
		first := len(t.Stages)
		if state == rundir.Cut {
			m.score(t, "bi", 0, 11)
			m.plan(t, m.drop...)
		}
		if state == rundir.Healed {
			m.heal(t, "partial", "rows.json")
		} else {
			m.stage(t, state+".speed", rundir.KindSpeed, "", nil)
		}
		m.stage(t, state+".tasks", rundir.KindTasks, rundir.ResultsFile, m.tasks(documents, []float64{.8, .4, quality}[i]))
		m.perplexity(t, state, "/data/validation.txt", []float64{12, 40, 17}[i])
		m.texts(t, state, "Once upon a time", "there was a there was a there was a mole")
		m.shared[common] = slices.Clone(t.Stages[first:])
	}
}

// done writes the run and returns its directory.
func (m *maker) done() string {
	for _, t := range m.trials {
		m.run.Trials = append(m.run.Trials, t.Name)
		m.file(rundir.TrialsDir+"/"+t.Name+"/"+rundir.TrialFile, t)
	}
	m.file(rundir.RunFile, m.run)
	m.file(rundir.RecipeFile, "coppice: 1\nname: made\n")
	return m.dir
}
