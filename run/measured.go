package run

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/run/rundir"
	"github.com/coppice-ml/coppice/stage"
)

// measure adds what is measured of the model as it is by now, which state names.
func (w *way) measure(state string) error {
	m := w.t.Settings.Measure
	if m == nil || len(m.At) > 0 && !slices.Contains(m.At, state) {
		return nil
	}
	if len(m.Tasks) > 0 {
		if err := w.ask(state, *m); err != nil {
			return err
		}
	}
	for i, p := range m.Perplexity {
		role := state + "." + rundir.KindPerplexity
		if len(m.Perplexity) > 1 {
			role += "." + strconv.Itoa(i+1)
		}
		w.perplexity(role, p)
	}
	if len(m.Prompts) > 0 {
		w.prompts(state, *m)
	}
	if m.Speed != nil {
		w.speed(state, *m.Speed)
	}
	if m.Sizes != nil {
		w.sizes(state, *m.Sizes)
	}
	if m.Similarity != nil {
		w.similarity(state, *m.Similarity)
	}
	return nil
}

// measurement begins a stage that measures.
func (w *way) measurement(kind, state string, do func(*call, []*Stage) error) *Stage {
	s := &Stage{Kind: kind, Title: w.titled(kind, state), Inputs: w.inputs(), Needs: w.needs(), do: do}
	w.engineInputs(s, false)
	return s
}

// titled says what of which model is measured.
func (w *way) titled(kind, state string) string {
	if state == rundir.Dense {
		return kind + " of " + w.t.Model.Name + ", " + state
	}
	return kind + " of " + w.t.Name + ", " + state
}

// tasks are the benchmark tasks, and what identifies them.
func (w *way) tasks(m Measure) (stage.Tasks, taskFacts, error) {
	t := stage.DefaultTasks()
	t.Names, t.Limit = strings.Join(m.Tasks, ","), m.Limit
	whole := w.t.Settings.Measure
	if m.TaskDir == "" && whole != nil {
		m.TaskDir, m.DataDir = whole.TaskDir, whole.DataDir
	}
	t.TaskDir, t.DataDir = w.b.material.path(m.TaskDir), w.b.material.path(m.DataDir)
	if m.Shots != nil {
		t.Shots = *m.Shots
	}
	if err := t.Check(); err != nil {
		return t, taskFacts{}, err
	}
	facts, err := w.b.material.taskFacts(t)
	return t, facts, err
}

// ask adds the tasks. Prunings that were not trained are asked together, the whole
// model with them.
func (w *way) ask(state string, m Measure) error {
	t, facts, err := w.tasks(m)
	if err != nil {
		return err
	}
	v := stage.DefaultEval()
	v.Model, v.Tasks = w.m.dir, t
	w.cutInto(&v.Layers)
	w.engineInto(&v.Engine)
	s := w.measurement(rundir.KindTasks, state, doTasks)
	s.Inputs["measure.tasks"], s.Inputs["names of tasks"], s.Inputs["measure.limit"], s.Inputs["measure.num_fewshot"] = facts.id, t.Names, strconv.Itoa(t.Limit), strconv.Itoa(t.Shots)
	s.Partial, s.spec = t.Limit > 0, v
	if facts.shared && len(w.heals) == 0 && w.lora == nil {
		e := w.t.Settings.Engine
		s.together = strings.Join([]string{"tasks", w.m.id, facts.id, strconv.Itoa(t.Limit), strconv.Itoa(t.Shots), fmt.Sprint(e)}, "\x00")
	}
	s.Work = w.taskWork(t)
	w.add(state+"."+rundir.KindTasks, s)
	return nil
}

func (w *way) perplexity(role string, p Perplexity) {
	state, _, _ := strings.Cut(role, ".")
	v := stage.DefaultPPL()
	v.Model, v.Data, v.Field, v.Length, v.AddBOS = w.m.dir, w.b.material.path(p.Data), p.Field, p.Length, cmp.Or(p.AddBOS, "auto")
	w.cutInto(&v.Layers)
	w.engineInto(&v.Engine)
	s := w.measurement(rundir.KindPerplexity, state, doPerplexity)
	s.Inputs["measure.perplexity.data"] = w.b.material.identity(v.Data)
	s.Inputs["measure.perplexity.field"], s.Inputs["measure.perplexity.length"], s.Inputs["measure.perplexity.add_bos"] = p.Field, strconv.Itoa(p.Length), v.AddBOS
	s.spec, s.Work = v, w.perplexityWork(v)
	w.add(role, s)
}

func (w *way) prompts(state string, m Measure) {
	v := stage.DefaultGenerate()
	v.Model, v.MaxTokens = w.m.dir, cmp.Or(m.MaxTokens, 48)
	w.cutInto(&v.Layers)
	w.engineInto(&v.Engine)
	s := w.measurement(rundir.KindPrompts, state, doPrompts)
	raw, _ := json.Marshal(m.Prompts)
	s.Inputs["measure.prompts"], s.Inputs["measure.max_tokens"] = string(raw), strconv.Itoa(v.MaxTokens)
	s.spec, s.Work = prompting{v, m.Prompts}, w.decodeWork(len(m.Prompts)*v.MaxTokens)
	w.add(state+"."+rundir.KindPrompts, s)
}

// prompting is several prompts of a model.
type prompting struct {
	stage.Generate
	texts []string
}

// speed of a healed model is that of the cut one: the same shapes.
func (w *way) speed(state string, of Speed) {
	if state == rundir.Healed {
		return
	}
	v := stage.DefaultSpeed()
	v.Model, v.Prefill, v.Decode = w.m.dir, cmp.Or(of.Prefill, v.Prefill), cmp.Or(of.Decode, v.Decode)
	w.cutInto(&v.Layers)
	w.engineInto(&v.Engine)
	s := w.measurement(rundir.KindSpeed, state, doSpeed)
	s.Inputs["measure.speed"] = fmt.Sprintf("%d, %d", v.Prefill, v.Decode)
	s.spec, s.Work = v, w.decodeWork(2*v.Decode)
	w.add(state+"."+rundir.KindSpeed, s)
}

// sizing is what a model takes: counted where the layers that go are known, and
// before that by how many they are.
type sizing struct {
	stage.Sizes
	foreseen report.Sizes
}

// sizes of a healed model are those of the cut one.
func (w *way) sizes(state string, of Sizes) {
	if state == rundir.Healed {
		return
	}
	v := stage.DefaultSizes()
	v.Model, v.Tokens = w.m.dir, cmp.Or(of.Tokens, v.Tokens)
	w.cutInto(&v.Layers)
	first := make([]int, w.m.shape.Layers()-w.gone)
	for i := range first {
		first[i] = i
	}
	z := sizing{v, w.m.shape.Sizes(first, v.Tokens)}
	z.foreseen.Trial, z.foreseen.State = w.t.Name, state
	s := &Stage{Kind: rundir.KindSizes, Title: w.titled(rundir.KindSizes, state), Inputs: w.inputs(), Needs: w.needs(), do: doSizes, spec: z}
	s.Inputs["measure.sizes"] = strconv.Itoa(v.Tokens)
	w.add(state+"."+rundir.KindSizes, s)
}

// similarity compares the hidden states before, between and after the layers that the
// model has by now.
func (w *way) similarity(state string, of Similarity) {
	v := stage.DefaultScore()
	v.Model, v.Metrics, v.CKARows = w.m.dir, []string{similarityMetric}, cmp.Or(of.Rows, v.CKARows)
	v.Data = w.b.material.data(of.Data.over(defaultTexts()))
	v.Data.Seed = w.t.Seed
	w.cutInto(&v.Layers)
	w.engineInto(&v.Engine)
	s := w.measurement(rundir.KindSimilarity, state, doSimilarity)
	w.dataInputs(s, "measure.similarity.data", v.Data)
	s.Inputs["measure.similarity.rows"] = v.CKARows
	s.seed(w.t.Seed)
	s.spec, s.Work = v, w.scoreWork(similarityMetric, v, 0)
	w.add(state+"."+rundir.KindSimilarity, s)
}

const similarityMetric = "cka"
