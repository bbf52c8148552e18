package page

import (
	_ "embed"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/report/digest"
)

//go:embed published.yaml
var publishedFile []byte

// published are the tables of a paper that runs are set beside.
type published struct {
	Tasks  []string
	Models map[string]string
	Tables []struct {
		Name, About string
		Only        map[string]string
		Rows        []publishedRow
	}
	Figures []publishedFigures
}

// publishedFigures are numbers of other kinds than accuracy, by what they are.
type publishedFigures struct {
	Name, About, Model string
	Is                 []string
	Of                 map[string]string
}

type publishedRow struct {
	Model  string
	Is     []string
	Values []float64 // by task, the mean last
	about  string    // of its table
}

func readPublished() (p published, err error) {
	if err = yaml.Unmarshal(publishedFile, &p); err != nil {
		return p, err
	}
	for _, t := range p.Tables {
		for _, r := range t.Rows {
			if len(r.Values) != len(p.Tasks)+1 || p.Models[r.Model] == "" {
				return p, fmt.Errorf("published.yaml: %s, %s %v: %d values of %d tasks and a mean", t.Name, r.Model, r.Is, len(r.Values), len(p.Tasks))
			}
		}
	}
	return p, nil
}

// of finds the row that is a trial's, where the run says which table, or is the guide.
func (p published) of(t *digest.Trial) *publishedRow {
	table, is := t.Run.Run.Report.Published, []string{}
	for _, a := range t.Axes {
		is = append(is, a.Value)
	}
	if table == "" && guide(t) {
		table, is = "table-2", []string{"+last3"}
	}
	for _, has := range p.Tables {
		if has.Name != table || !only(t, has.Only) {
			continue
		}
		for _, r := range has.Rows {
			if sameModel(p.Models[r.Model], t.Of.From) && within(r.Is, is) {
				r.about = has.About
				return &r
			}
		}
	}
	return nil
}

// figures are those of a trial.
func (p published) figures(t *digest.Trial) (out []publishedFigures) {
	var is []string
	for _, a := range t.Axes {
		is = append(is, a.Value)
	}
	for _, f := range p.Figures {
		if f.Name == t.Run.Run.Report.Published && sameModel(p.Models[f.Model], t.Of.From) && within(f.Is, is) {
			out = append(out, f)
		}
	}
	return out
}

// ours is the trial's own figure of a name that the file has; "" where it has none.
func ours(t *digest.Trial, name string) string {
	last := t.Last()
	if last == nil && len(t.States) > 0 {
		last = t.States[len(t.States)-1]
	}
	perplexity := func(i int) string {
		if last == nil || i >= len(last.Perplexity) {
			return ""
		}
		return fmt.Sprintf("%.2f", float64(last.Perplexity[i].Perplexity))
	}
	switch h := t.Heal; {
	case name == "trained parameters" && h != nil:
		return report.FormatCount(h.Trainable)
	case name == "peak memory" && h != nil:
		return report.FormatBytes(h.Measured.PeakMemory)
	case name == "time" && h != nil:
		return fmt.Sprintf("%s, %s", duration(h.Measured.Seconds), plural(h.Healed.Steps, "step"))
	case name == "first perplexity":
		return perplexity(0)
	case name == "second perplexity":
		return perplexity(1)
	case name == "mean" && t.Last() != nil:
		m, _, _ := t.Last().Mean()
		return share(m.Value, 4)
	}
	if last == nil || last.Sizes == nil {
		return ""
	}
	switch z := last.Sizes; name {
	case "parameters":
		return thousands(z.Parameters)
	case "multiply-accumulates":
		return giga(z.PaperMACs).Text + " by the paper's count, " + giga(z.MACs).Text + " with attention"
	case "float32 weights":
		return mebibytes(z.Float32Bytes).Text
	}
	return ""
}

// guide says that a trial is cut and healed as the paper advises.
func guide(t *digest.Trial) bool {
	heal, _ := t.Settings["heal"].(map[string]any)
	prune, _ := t.Settings["prune"].(map[string]any)
	return t.Run.Run.Name == "guide" && len(t.Axes) == 0 && fmt.Sprint(prune["by"], prune["ratio"]) == "reverse0.25" &&
		fmt.Sprint(heal["method"], heal["last"]) == "partial3"
}

func only(t *digest.Trial, values map[string]string) bool {
	for axis, want := range values {
		if got := t.Value(axis); got != "" && got != want {
			return false
		}
	}
	return true
}

func within(want, have []string) bool {
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.EqualFold(h, w) }) {
			return false
		}
	}
	return true
}

// sameModel compares a name on the hub with where a model was taken from: the name,
// with a revision perhaps, or a directory that is called like it.
func sameModel(id, from string) bool {
	from, _, _ = strings.Cut(from, "@")
	return strings.EqualFold(from, id) || strings.EqualFold(filepath.Base(filepath.FromSlash(from)), id[strings.IndexByte(id, '/')+1:])
}

// value is what the row has for a task of ours; of the mean for a group of its tasks.
func (p published) value(r *publishedRow, v digest.Value) (report.Number, bool) {
	name := strings.ReplaceAll(v.Task, "-", "_")
	if name == "layer_pruning" {
		return report.Number(r.Values[len(p.Tasks)]), true
	}
	if i := slices.Index(p.Tasks, name); i >= 0 && v.Metric == "acc" {
		return report.Number(r.Values[i]), true
	}
	return digest.NaN(), false
}
