package page

import (
	"bytes"
	"encoding/csv"
	"strconv"
	"strings"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/digest"
	"github.com/coppice-ml/coppice/run/rundir"
)

// csvOf are all numbers in long form: a row for each model, trial, state, task, metric
// and seed. What is not a number is written NaN, and what is missing has no row but one
// of the kind missing with its reason.
func csvOf(d *digest.Digest) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	axes := axesOf(d)
	head := []string{"run", "model", "trial", "state", "kind", "task", "metric", "seed", "value", "stderr", "n", "chance", "higher_is_better", "partial", "dropped", "note"}
	for _, a := range axes {
		head = append(head, inert("axis: "+a))
	}
	// A bytes.Buffer takes everything.
	_ = w.Write(head)
	for _, t := range d.Trials {
		seed := ""
		if t.Seed != nil {
			seed = strconv.FormatUint(*t.Seed, 10)
		}
		dropped := ""
		if t.Plan != nil {
			dropped = report.FormatLayers(t.Plan.Drop)
		}
		line := func(state string, v digest.Value, note string) {
			cells := []string{inert(runName(t.Run)), inert(t.Of.Name), inert(t.Name), state, v.Kind, inert(v.Task), inert(v.Metric), seed, float(v.Value), float(v.StdErr), strconv.Itoa(v.N), chance(v),
				strconv.FormatBool(v.HigherIsBetter), strconv.FormatBool(v.Partial), dropped, inert(note)}
			for _, a := range axes {
				cells = append(cells, inert(t.Value(a)))
			}
			_ = w.Write(cells)
		}
		for _, s := range t.States {
			for _, v := range s.Values() {
				note := ""
				if v.Empty() {
					note = "empty: no document was asked"
				}
				line(s.Name, v, note)
			}
		}
		for _, v := range extras(t) {
			line("", v, "")
		}
		for _, g := range t.Gaps {
			state, _, _ := strings.Cut(g.Role, ".")
			line(state, digest.Value{Kind: "missing", Task: g.Role, Value: digest.NaN(), StdErr: digest.NaN()}, g.Why)
		}
	}
	w.Flush()
	return b.Bytes()
}

// extras are numbers of a trial that belong to no state.
func extras(t *digest.Trial) (out []digest.Value) {
	add := func(kind, task, metric string, v float64) {
		out = append(out, digest.Value{Kind: kind, Task: task, Metric: metric, Value: report.Number(v), StdErr: digest.NaN()})
	}
	parameters, size, kv := t.Sizes()
	for _, s := range []struct {
		name string
		of   digest.Size
	}{{"parameters", parameters}, {"bytes", size}, {"kv_bytes_per_token", kv}} {
		add("size", rundir.Dense, s.name, float64(s.of.Before))
		add("size", rundir.Cut, s.name, float64(s.of.After))
	}
	if h := t.Heal; h != nil {
		add("heal", h.Method, "trainable", float64(h.Trainable))
		add("heal", h.Method, "steps", float64(h.Healed.Steps))
		add("heal", h.Method, "seconds", h.Measured.Seconds)
		add("heal", h.Method, "peak_bytes", float64(h.Measured.PeakMemory))
		if h.LossFirst != nil {
			add("heal", h.Method, "loss_before", float64(*h.LossFirst))
		}
		if h.LossBest != nil {
			add("heal", h.Method, "loss_after", float64(*h.LossBest))
		}
	}
	if c := t.Curve; c != nil {
		for n, v := range c.Loss {
			add("curve", "loss", strconv.Itoa(n)+" cut", float64(v))
		}
		for _, task := range c.Tasks {
			for n, v := range task.Values {
				add("curve", task.Task+" "+task.Metric, strconv.Itoa(n)+" cut", float64(v))
			}
		}
	}
	return out
}

func float(v report.Number) string {
	if !v.Finite() {
		return "NaN"
	}
	return strconv.FormatFloat(float64(v), 'g', -1, 64)
}

func chance(v digest.Value) string {
	if v.Chance == 0 {
		return ""
	}
	return strconv.FormatFloat(v.Chance, 'g', -1, 64)
}

// inert keeps spreadsheets from taking text for a formula: they do so by its first
// character.
func inert(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r\n", rune(s[0])) {
		return "'" + s
	}
	return s
}
