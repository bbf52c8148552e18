package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newInspect(a *app) *cobra.Command {
	var o stage.Inspect
	c := &cobra.Command{
		Use:   "inspect MODEL|FILE.gguf",
		Short: "Show a model's architecture and sizes, and every problem with its files",
		Long: `Show what a checkpoint is: architecture, sizes, parameters and bytes of every
layer, multiply-accumulates a token, files; and everything that is wrong with
it: tensors that are missing, unused or misshapen, files that are cut short.

Exits with 1 when there is a problem, after all of them are printed.

Of a GGUF file it lists keys and tensors; one that lies is refused.`,
		Example: `  coppice inspect meta-llama/Llama-3.2-1B
  coppice inspect ./model --deep
  coppice inspect ./model --config-only --json
  coppice inspect model.gguf`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			if stage.IsGGUF(args[0]) {
				return inspectGGUF(a, c, args[0])
			}
			o.Model = args[0]
			found, err := o.Run(c.Context(), a.env())
			if found == nil {
				return err
			}
			if f := (inspected{found}); a.json {
				return cmp.Or(f.printJSON(a), err)
			} else {
				return cmp.Or(f.print(a), err)
			}
		},
	}
	a.workFlags(c)
	c.Flags().BoolVar(&o.Deep, "deep", false, "read every weight: find NaN and infinities, hash the model")
	c.Flags().BoolVar(&o.ConfigOnly, "config-only", false, "look at config.json only; the weights may be absent")
	exclusive(c, "deep", "config-only")
	return c
}

// inspected prints what was found about a checkpoint.
type inspected struct{ *stage.Inspection }

func (f inspected) printJSON(a *app) error {
	errs := []error{a.line(f.Model)}
	for _, l := range f.Layers {
		errs = append(errs, a.line(l))
	}
	for _, file := range f.Files {
		errs = append(errs, a.line(file.File))
	}
	return cmp.Or(errs...)
}

func (f inspected) print(a *app) error {
	m := f.Model
	facts := &report.Table{Header: []string{"", ""}}
	add := func(name string, value report.Cell) {
		value.Right = false
		facts.Add(report.String(name), value)
	}
	add("model", report.String(m.Path))
	add("architecture", report.String(m.Architecture))
	add("family", report.String(m.Family))
	add("layers", report.Int(m.Layers))
	add("hidden", report.Int(m.Hidden))
	add("heads", report.String(fmt.Sprintf("%d query, %d key/value, %d wide", m.Heads, m.KVHeads, m.HeadDim)))
	add("feed-forward", report.Int(m.FeedForward))
	add("vocabulary", report.Int(m.Vocab))
	add("positions", report.Int(m.MaxPositions))
	add("parameters", report.Count(m.Parameters))
	add("bytes", report.Bytes(m.Bytes))
	add("dtype", report.String(m.DType))
	add("tied head", report.String(yesNo(m.Tied)))
	add("MACs per token", report.Count(m.MACsPerToken))
	if len(m.Ignored) > 0 {
		add("not read", report.String(ignoredTensors(m.Ignored)))
	}
	if m.Hash != "" {
		add("hash", report.String(m.Hash))
	}
	return cmp.Or(a.table(facts), a.printf("\n"), a.table(f.layerTable(a)), a.printf("\n"), a.table(f.fileTable()), f.printProblems(a))
}

// ignoredTensors names those that are not read: the last two parts of each name, once.
func ignoredTensors(names []string) string {
	var last []string
	for _, name := range names {
		parts := strings.Split(name, ".")
		last = append(last, strings.Join(parts[max(0, len(parts)-2):], "."))
	}
	slices.Sort(last)
	return fmt.Sprintf("%s: %s", report.Plural(len(names), "tensor"), strings.Join(slices.Compact(last), ", "))
}

// layerTable has one row for a run of layers of equal size, unless programs
// read it or every layer is asked for.
func (f inspected) layerTable(a *app) *report.Table {
	t := &report.Table{Header: []string{"layer", "parameters", "bytes"}}
	for i := 0; i < len(f.Layers); {
		j := i
		for a.terminal && !a.verbose && j+1 < len(f.Layers) && f.Layers[j+1].Bytes == f.Layers[i].Bytes {
			j++
		}
		name, each := fmt.Sprint(i), ""
		if j > i {
			name, each = fmt.Sprintf("%d-%d", i, j), " each"
		}
		l := f.Layers[i]
		parameters, bytes := report.Count(l.Parameters), report.Bytes(l.Bytes)
		parameters.Text += each
		bytes.Text += each
		t.Add(report.String(name), parameters, bytes)
		i = j + 1
	}
	return t
}

func (f inspected) fileTable() *report.Table {
	t := &report.Table{Header: []string{"file", "bytes", "role"}}
	for _, file := range f.Files {
		t.Add(report.String(file.Name), report.Bytes(file.Bytes), report.String(file.Role))
	}
	return t
}

func (f inspected) printProblems(a *app) error {
	for _, name := range f.Model.Ignored {
		a.detail("not read: %s", name)
	}
	if len(f.Model.Problems) == 0 {
		return nil
	}
	text := "\nproblems\n"
	for _, p := range f.Model.Problems {
		text += "  " + p + "\n"
	}
	return a.printf("%s", text)
}
