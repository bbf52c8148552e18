package page

import (
	"fmt"
	"math"
	"slices"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/digest"
	"github.com/coppice-ml/coppice/run/rundir"
)

// lossSection shows trainings.
func (v *view) lossSection() (section, error) {
	s := section{ID: "losses", Title: "Healing"}
	var healed []*digest.Trial
	table := &Table{Columns: []Column{{Name: "trial"}, {Name: "method"}, {Name: "trained", Number: true}, {Name: "steps", Number: true}, {Name: "rows", Number: true},
		{Name: "loss before", Number: true}, {Name: "loss after", Number: true}, {Name: "time", Number: true}, {Name: "peak memory", Number: true}}, Filter: len(v.d.Trials) > 8}
	for _, t := range v.d.Trials {
		h := t.Heal
		if h == nil {
			continue
		}
		if len(h.Evals)+len(h.Steps) > 0 {
			healed = append(healed, t)
		}
		table.Rows = append(table.Rows, []Cell{text(t.Label), text(h.Method), {Text: report.FormatCount(h.Trainable), Sort: float64(h.Trainable), Title: thousands(h.Trainable)},
			{Text: fmt.Sprint(h.Healed.Steps), Sort: float64(h.Healed.Steps)}, {Text: thousands(int64(h.Samples)), Sort: float64(h.Samples)},
			lossCell(h.LossFirst), lossCell(h.LossBest), {Text: duration(h.Measured.Seconds), Sort: h.Measured.Seconds}, memoryCell(h.Measured.PeakMemory)})
	}
	if len(table.Rows) > 0 {
		s.Tables = []*Table{table}
	}
	var c chart
	var err error
	switch {
	case len(healed) == 0:
		return s, nil
	case len(healed) == 1 || !slices.ContainsFunc(healed, func(t *digest.Trial) bool { return len(t.Heal.Evals) > 0 }):
		c, err = lossChart(healed[0])
	default:
		c, err = lossesChart(healed)
	}
	s.Charts = []chart{c}
	return s, err
}

func lossCell(v *report.Number) Cell {
	if v == nil {
		return missing()
	}
	return number(*v, "%.4f")
}

func memoryCell(n int64) Cell {
	if n == 0 {
		return missing()
	}
	return Cell{Text: report.FormatBytes(n), Sort: float64(n)}
}

// sizeSection is what models take, by their configs.
func (v *view) sizeSection() (section, error) {
	s := section{ID: "sizes", Title: "Size and work"}
	table := &Table{Note: "By the config alone. Multiply-accumulates are of one sequence: linear maps, the head for every token, and attention; the paper counts linear maps, and two for each element of a norm."}
	table.Columns = []Column{{Name: "trial"}, {Name: "state"}, {Name: "layers", Number: true}, {Name: "parameters", Number: true}, {Name: "bytes", Number: true}, {Name: "in float32", Number: true},
		{Name: "cache a token", Number: true}, {Name: "tokens", Number: true}, {Name: "multiply-accumulates", Number: true}, {Name: "of them attention", Number: true}, {Name: "by the paper's count", Number: true}}
	for _, t := range v.d.Trials {
		for _, state := range t.States {
			z := state.Sizes
			if z == nil {
				continue
			}
			table.Rows = append(table.Rows, []Cell{text(t.Label), text(state.Name), count(int64(z.Layers)), count(z.Parameters), memoryCell(z.Bytes), mebibytes(z.Float32Bytes),
				memoryCell(z.KVBytesPerToken), count(int64(z.Tokens)), giga(z.MACs), giga(z.AttentionMACs), giga(z.PaperMACs)})
		}
	}
	if len(table.Rows) > 0 {
		s.Tables = []*Table{table}
	}
	return s, nil
}

func count(n int64) Cell { return Cell{Text: thousands(n), Sort: float64(n)} }

func giga(n int64) Cell {
	return Cell{Text: fmt.Sprintf("%.4f G", float64(n)/1e9), Sort: float64(n), Title: thousands(n)}
}

func mebibytes(n int64) Cell {
	return Cell{Text: fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)), Sort: float64(n), Title: thousands(n)}
}

// costSection sets accuracy against what it costs.
func (v *view) costSection() (section, error) {
	s := section{ID: "cost", Title: "Accuracy and cost"}
	const accuracy = "mean of the tasks"
	for _, kind := range []axes2{
		{"Accuracy against layers cut", "layers cut", accuracy, layersCut, mean, false},
		{"Perplexity against layers cut", "layers cut", "perplexity", layersCut, perplexity, false},
		{"Accuracy against size", "weights, MiB", accuracy, func(t *digest.Trial) float64 { _, b, _ := t.Sizes(); return float64(b.After) / (1 << 20) }, mean, true},
		{"Accuracy against decoding", "seconds a thousand tokens", accuracy, func(t *digest.Trial) float64 { return 1000 / float64(t.Rate(t.Last().Name, true)) }, mean, true},
		{"Accuracy against healing", "seconds of healing", accuracy, healSeconds, mean, true},
	} {
		c, err := v.against(kind)
		if err != nil {
			return s, err
		}
		if c != nil {
			s.Charts = append(s.Charts, *c)
		}
	}
	return s, nil
}

func layersCut(t *digest.Trial) float64 {
	if t.Plan == nil {
		return 0
	}
	return float64(len(t.Plan.Drop))
}

func healSeconds(t *digest.Trial) float64 {
	switch {
	case t.Heal != nil:
		return t.Heal.Measured.Seconds
	case t.Last().Name == rundir.Cut:
		return 0
	}
	return math.NaN()
}
