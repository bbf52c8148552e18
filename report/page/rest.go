package page

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/digest"
	"github.com/coppice-ml/coppice/run/rundir"
)

// textTrials is how many trials' generations are shown.
const textTrials = 6

// textSection sets what the states make of each prompt side by side.
func (v *view) textSection() (section, error) {
	s := section{ID: "texts", Title: "Generations", Intro: "Greedy, as long as the recipe says. In brackets: how much of the text it had before, in sequences of four tokens."}
	shown, more := 0, 0
	for _, t := range v.ordered() {
		table := textTable(t)
		if table == nil {
			continue
		}
		if shown == textTrials {
			more++
			continue
		}
		shown++
		if len(v.d.Trials) > 1 {
			table.Caption = t.Label
		}
		s.Tables = append(s.Tables, table)
	}
	if more > 0 {
		s.Notes = []string{fmt.Sprintf("%s more have texts: generations.jsonl in their stages.", plural(more, "trial"))}
	}
	return s, nil
}

// ordered are the trials, the best first and those without results last.
func (v *view) ordered() []*digest.Trial {
	out := v.ranked()
	for _, t := range v.d.Trials {
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	return out
}

func textTable(t *digest.Trial) *Table {
	table := &Table{Columns: []Column{{Name: "prompt"}}}
	var prompts []string
	for _, s := range t.States {
		if len(s.Texts) == 0 {
			continue
		}
		table.Columns = append(table.Columns, Column{Name: s.Name})
		for _, g := range s.Texts {
			if !slices.Contains(prompts, g.Prompt) {
				prompts = append(prompts, g.Prompt)
			}
		}
	}
	for _, prompt := range prompts {
		cells := []Cell{text(prompt)}
		for _, s := range t.States {
			if len(s.Texts) > 0 {
				cells = append(cells, generation(s.Texts, prompt))
			}
		}
		table.Rows = append(table.Rows, cells)
	}
	if len(prompts) == 0 {
		return nil
	}
	return table
}

func generation(texts []rundir.Generation, prompt string) Cell {
	i := slices.IndexFunc(texts, func(g rundir.Generation) bool { return g.Prompt == prompt })
	if i < 0 {
		return missing()
	}
	g := texts[i]
	c := text(g.Text)
	c.Title = plural(g.Tokens, "token") + ", ended by " + map[string]string{"length": "their limit", "eos_token": "the model"}[g.Finish]
	if strings.TrimSpace(g.Text) == "" {
		c.Text, c.Weak = "(nothing)", true
	}
	if g.Tokens >= 8 {
		c.Text += fmt.Sprintf("  [%s]", percent(g.Repetition))
	}
	return c
}

// everythingSection is a row for each state of each trial, with all its settings.
func (v *view) everythingSection() (section, error) {
	s := section{ID: "everything", Title: "Everything", Intro: "A row for each state of each trial; results.csv has every metric of every task."}
	table := &Table{Filter: true, Columns: []Column{{Name: "trial"}, {Name: "model"}}}
	axes := axesOf(v.d)
	for _, a := range axes {
		table.Columns = append(table.Columns, Column{Name: a})
	}
	table.Columns = append(table.Columns, Column{Name: "state"}, Column{Name: "dropped"}, Column{Name: "parameters", Number: true}, Column{Name: "weights", Number: true},
		Column{Name: "prefill", Number: true}, Column{Name: "decode", Number: true})
	tasks, texts := v.tasks(), v.texts()
	for _, name := range append(slices.Clone(tasks), texts...) {
		table.Columns = append(table.Columns, Column{Name: v.label(name), Number: true})
	}
	for _, t := range v.d.Trials {
		for _, state := range t.States {
			cells := []Cell{text(t.Label), text(t.Of.Name)}
			for _, a := range axes {
				cells = append(cells, text(t.Value(a)))
			}
			cells = append(cells, v.sizeCells(t, state)...)
			for _, name := range tasks {
				cells = append(cells, taskCell(state, name))
			}
			for _, name := range texts {
				cells = append(cells, perplexityCell(state, name))
			}
			table.Rows = append(table.Rows, cells)
		}
	}
	if len(table.Rows) > 0 {
		s.Tables = []*Table{table}
	}
	return s, nil
}

func (v *view) sizeCells(t *digest.Trial, state *digest.State) []Cell {
	parameters, bytes, _ := t.Sizes()
	dropped, n, b := "", parameters.Before, bytes.Before
	if state.Name != rundir.Dense && t.Plan != nil {
		dropped, n, b = report.FormatLayers(t.Plan.Drop), parameters.After, bytes.After
	}
	cells := []Cell{text(state.Name), text(dropped), {Text: report.FormatCount(n), Sort: float64(n)}, {Text: report.FormatBytes(b), Sort: float64(b)}}
	for _, decode := range []bool{false, true} {
		r := t.Rate(state.Name, decode)
		c := Cell{Text: rate(r), Sort: float64(r)}
		if !r.Finite() {
			c = missing()
		}
		cells = append(cells, c)
	}
	return cells
}

// axesOf are those of all trials, in the order of the recipes.
func axesOf(d *digest.Digest) (names []string) {
	seeded := false
	for _, t := range d.Trials {
		seeded = seeded || t.Seed != nil
		for _, a := range t.Axes {
			if !slices.Contains(names, a.Name) {
				names = append(names, a.Name)
			}
		}
	}
	if seeded {
		names = append(names, "seed")
	}
	return names
}

// howSection says how it was run.
func (v *view) howSection() (section, error) {
	s := section{ID: "how", Title: "How it was run"}
	models := &Table{Caption: "Models", Columns: []Column{{Name: "name"}, {Name: "from"}, {Name: "architecture"}, {Name: "layers", Number: true}, {Name: "parameters", Number: true}, {Name: "MACs a token", Number: true}, {Name: "hash"}}}
	for _, r := range v.d.Runs {
		for _, m := range r.Run.Models {
			models.Rows = append(models.Rows, []Cell{text(m.Name), text(m.From), text(m.Facts.Architecture), {Text: fmt.Sprint(m.Facts.Layers), Sort: float64(m.Facts.Layers)},
				{Text: report.FormatCount(m.Facts.Parameters), Sort: float64(m.Facts.Parameters), Title: thousands(m.Facts.Parameters)},
				{Text: report.FormatCount(m.Facts.MACsPerToken), Sort: float64(m.Facts.MACsPerToken), Title: thousands(m.Facts.MACsPerToken)}, text(clip(m.Hash, 12))})
		}
		s.Details = append(s.Details, detail{"recipe of " + plain(r.Run.Name) + ", as it was resolved", recipeText(r)})
	}
	s.Tables = []*Table{models, v.stageTable()}
	return s, nil
}

// stageTable has every piece of work, with what it took.
func (v *view) stageTable() *Table {
	t := &Table{Caption: "Stages", Filter: len(v.d.Stages) > 12, Columns: []Column{{Name: "stage"}, {Name: "first trial"}, {Name: "trials", Number: true}, {Name: "state"}, {Name: "time", Number: true}, {Name: "estimate", Number: true},
		{Name: "tokens/s", Number: true}, {Name: "peak memory", Number: true}, {Name: "type"}, {Name: "machine"}, {Name: "directory"}}}
	for _, s := range v.d.Stages {
		cells := []Cell{text(s.Role), text(s.Trials[0]), {Text: fmt.Sprint(len(s.Trials)), Sort: float64(len(s.Trials))}}
		m := s.Manifest
		if m == nil {
			state := "not done"
			if s.Failure != nil {
				state = "failed"
			}
			cells = append(cells, Cell{Text: state, Sort: math.NaN(), Weak: true}, missing(), missing(), missing(), missing(), text(""), text(""), text(s.Dir))
			t.Rows = append(t.Rows, cells)
			continue
		}
		tokens := Cell{Text: rate(m.Measured.TokensPerSecond), Sort: float64(m.Measured.TokensPerSecond)}
		if !(m.Measured.TokensPerSecond > 0) {
			tokens = missing()
		}
		estimate := missing()
		if m.Measured.Estimated > 0 {
			estimate = Cell{Text: duration(m.Measured.Estimated), Sort: m.Measured.Estimated}
		}
		state := "done"
		if m.Partial {
			state = "done, partial"
		}
		cells = append(cells, text(state), Cell{Text: duration(m.Measured.Seconds), Sort: m.Measured.Seconds}, estimate, tokens,
			memoryCell(m.Measured.PeakMemory), text(m.DType), text(machineText(m.Measured)), text(s.Dir))
		t.Rows = append(t.Rows, cells)
	}
	return t
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
