package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

type inspectOptions struct {
	dir        string
	deep       bool
	configOnly bool
}

func newInspect(a *app) *cobra.Command {
	var o inspectOptions
	c := &cobra.Command{
		Use:   "inspect MODEL",
		Short: "Show a model's architecture and sizes, and every problem with its files",
		Long: `Show what a checkpoint is: architecture, sizes, parameters and bytes of every
layer, multiply-accumulates a token, files; and everything that is wrong with
it: tensors that are missing, unused or misshapen, files that are cut short.

Exits with 1 when there is a problem, after all of them are printed.`,
		Example: `  coppice inspect meta-llama/Llama-3.2-1B
  coppice inspect ./model --deep
  coppice inspect ./model --config-only --json`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.dir = args[0]
			return withRemedy(o.run(c.Context(), a))
		},
	}
	a.workFlags(c)
	c.Flags().BoolVar(&o.deep, "deep", false, "read every weight: find NaN and infinities, hash the model")
	c.Flags().BoolVar(&o.configOnly, "config-only", false, "look at config.json only; the weights may be absent")
	exclusive(c, "deep", "config-only")
	return c
}

// inspection is what was found about a checkpoint.
type inspection struct {
	spec       *model.Spec
	files      []checkpoint.FileInfo
	layerBytes []int64
	line       report.Model
}

func (o inspectOptions) run(ctx context.Context, a *app) error {
	need := hub.NeedAll
	if o.configOnly {
		need = hub.NeedConfig
	}
	dir, err := a.findModel(ctx, o.dir, need)
	if err != nil {
		return err
	}
	o.dir = dir
	c, err := checkpoint.OpenConfig(o.dir)
	if err != nil {
		return err
	}
	defer c.Close()
	spec, err := model.SpecOf(c)
	if err != nil {
		return err
	}
	found := &inspection{spec: spec, files: c.Files(), line: modelLine(o.dir, spec)}
	if o.configOnly {
		found.fromConfig()
	} else if err := o.weights(ctx, a, found); err != nil {
		return err
	}
	if a.json {
		err = found.printJSON(a)
	} else {
		err = found.print(a)
	}
	if err != nil {
		return err
	}
	if n := len(found.line.Problems); n > 0 {
		err := failed("%s: %s found", o.dir, plural(n, "problem"))
		if strings.Contains(strings.Join(found.line.Problems, "\n"), "download") {
			err = err.withHint("download the files named above again, or get them from whoever made the checkpoint")
		}
		return err
	}
	return nil
}

func modelLine(dir string, s *model.Spec) report.Model {
	return report.Model{
		Path: dir, Architecture: s.Architecture, Family: s.Family,
		Layers: s.Layers, Hidden: s.Hidden, Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim,
		FeedForward: s.FF, Vocab: s.Vocab, MaxPositions: s.MaxPositions,
		Parameters: s.Parameters(), DType: s.DType, Tied: s.Tied, MACsPerToken: s.MACsPerToken(),
	}
}

// fromConfig gives sizes from the dtype that config.json names.
func (f *inspection) fromConfig() {
	size := int64(0)
	switch f.spec.DType {
	case "float32":
		size = 4
	case "float16", "bfloat16":
		size = 2
	}
	f.line.Bytes = size * f.line.Parameters
	f.layerBytes = slices.Repeat([]int64{size * f.spec.LayerParameters()}, f.spec.Layers)
}

// weights looks at the tensors. A checkpoint that cannot be opened is still
// described as far as its config goes.
func (o inspectOptions) weights(ctx context.Context, a *app, f *inspection) error {
	problems := checkpoint.Check(ctx, o.dir, o.deep, a.byteProgress("reading weights"))
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	for _, p := range problems {
		f.line.Problems = append(f.line.Problems, p.Error())
	}
	f.layerBytes = make([]int64, f.spec.Layers)
	c, err := checkpoint.Open(o.dir, checkpoint.WithHashCache(cacheDir(a.sys.Getenv)))
	if err != nil {
		if len(problems) == 0 {
			return err
		}
		f.fromConfig()
		return nil
	}
	defer c.Close()
	f.files = c.Files()
	f.measure(c.Tensors())
	for _, w := range c.Warnings() {
		a.warn("%v", w)
	}
	if m, err := model.OpenLayout(c); err == nil {
		for _, w := range m.Warnings {
			a.warn("%s", w)
		}
	}
	f.check(c.Tensors())
	if o.deep {
		f.line.Hash, err = c.Hash(ctx)
	}
	return err
}

func (f *inspection) measure(tensors []checkpoint.TensorInfo) {
	bytes := map[string]int64{}
	for _, t := range tensors {
		f.line.Bytes += t.Bytes
		bytes[dtypeName(string(t.DType))] += t.Bytes
		if i, _, ok := f.spec.LayerOf(t.Name); ok && i < f.spec.Layers {
			f.layerBytes[i] += t.Bytes
		}
	}
	names := make([]string, 0, len(bytes))
	for name := range bytes {
		names = append(names, name)
	}
	// The dtype of most bytes stands first.
	slices.SortFunc(names, func(x, y string) int {
		if bytes[x] != bytes[y] {
			return int(max(-1, min(1, bytes[y]-bytes[x])))
		}
		return strings.Compare(x, y)
	})
	f.line.DType = strings.Join(names, "+")
}

func dtypeName(safetensors string) string {
	switch safetensors {
	case "F32":
		return "float32"
	case "F16":
		return "float16"
	case "BF16":
		return "bfloat16"
	}
	return strings.ToLower(safetensors)
}

func (f *inspection) check(tensors []checkpoint.TensorInfo) {
	r := f.spec.Check(tensors)
	if cause := f.spec.Diagnose(tensors, r); cause != "" {
		f.line.Problems = append(f.line.Problems, cause)
	}
	f.line.Ignored = r.Ignored
	if len(r.Missing)+len(r.Misshapen) == 0 && !f.spec.HasLayers(r.Unused) {
		return // a warning has named those that are not used
	}
	for _, part := range []struct {
		label string
		names []string
	}{{"missing tensor ", r.Missing}, {"misshapen tensor ", r.Misshapen}, {"unused tensor ", r.Unused}} {
		for _, name := range part.names[:min(len(part.names), maxProblems)] {
			f.line.Problems = append(f.line.Problems, part.label+name)
		}
		if more := len(part.names) - maxProblems; more > 0 {
			f.line.Problems = append(f.line.Problems, fmt.Sprintf("and %d more %s", more, strings.TrimSpace(part.label)+"s"))
		}
	}
}

// maxProblems bounds the tensors that are listed of one kind: a hundred thousand
// are one story.
const maxProblems = 500

func (f *inspection) layer(i int) report.Layer {
	return report.Layer{Index: i, Parameters: f.spec.LayerParameters(), Bytes: f.layerBytes[i]}
}

func (f *inspection) printJSON(a *app) error {
	errs := []error{a.line(f.line)}
	for i := range f.spec.Layers {
		errs = append(errs, a.line(f.layer(i)))
	}
	for _, file := range f.files {
		errs = append(errs, a.line(report.File{Name: file.Name, Bytes: file.Size}))
	}
	return cmp.Or(errs...)
}

func (f *inspection) print(a *app) error {
	m := f.line
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
	return fmt.Sprintf("%s: %s", plural(len(names), "tensor"), strings.Join(slices.Compact(last), ", "))
}

// layerTable has one row for a run of layers of equal size, unless programs
// read it or every layer is asked for.
func (f *inspection) layerTable(a *app) *report.Table {
	t := &report.Table{Header: []string{"layer", "parameters", "bytes"}}
	for i := 0; i < f.spec.Layers; {
		j := i
		for a.terminal && !a.verbose && j+1 < f.spec.Layers && f.layerBytes[j+1] == f.layerBytes[i] {
			j++
		}
		name, each := fmt.Sprint(i), ""
		if j > i {
			name, each = fmt.Sprintf("%d-%d", i, j), " each"
		}
		l := f.layer(i)
		parameters, bytes := report.Count(l.Parameters), report.Bytes(l.Bytes)
		parameters.Text += each
		bytes.Text += each
		t.Add(report.String(name), parameters, bytes)
		i = j + 1
	}
	return t
}

func (f *inspection) fileTable() *report.Table {
	t := &report.Table{Header: []string{"file", "bytes", "role"}}
	for _, file := range f.files {
		t.Add(report.String(file.Name), report.Bytes(file.Size), report.String(string(file.Role)))
	}
	return t
}

func (f *inspection) printProblems(a *app) error {
	for _, name := range f.line.Ignored {
		a.detail("not read: %s", name)
	}
	if len(f.line.Problems) == 0 {
		return nil
	}
	text := "\nproblems\n"
	for _, p := range f.line.Problems {
		text += "  " + p + "\n"
	}
	return a.printf("%s", text)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
