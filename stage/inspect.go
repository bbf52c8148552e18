package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/model"
	"github.com/coppice-ml/coppice/report"
)

// Inspect shows what a checkpoint is, and everything that is wrong with it.
type Inspect struct {
	Model      string `yaml:"model"`
	Deep       bool   `yaml:"deep"`        // read every weight: find NaN and infinities, hash the model
	ConfigOnly bool   `yaml:"config_only"` // look at config.json only; the weights may be absent
}

// Inspection is what was found.
type Inspection struct {
	Model  report.Model
	Layers []report.Layer
	Files  []Role
}

// Role is a file and what it is for.
type Role struct {
	report.File
	Role string
}

// inspector finds out about a checkpoint.
type inspector struct {
	spec       *model.Spec
	files      []checkpoint.FileInfo
	layerBytes []int64
	line       report.Model
}

// Run inspects. Where there are problems, they are all in the Inspection, and it
// comes with a Problem.
func (o Inspect) Run(ctx context.Context, env Env) (*Inspection, error) {
	need := hub.NeedAll
	if o.ConfigOnly {
		need = hub.NeedConfig
	}
	dir, c, spec, err := openConfig(ctx, env, o.Model, need)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	f := &inspector{spec: spec, files: c.Files(), line: modelLine(dir, spec)}
	if err := spec.Runnable(); err != nil {
		f.line.Problems = append(f.line.Problems, "its layers can be cut, but not run: "+err.Error())
	}
	if o.ConfigOnly {
		f.fromConfig()
	} else if err := f.weights(ctx, env, dir, o.Deep); err != nil {
		return nil, err
	}
	found := f.inspection()
	if n := len(f.line.Problems); n > 0 {
		p := failed("%s: %s found", dir, report.Plural(n, "problem"))
		if strings.Contains(strings.Join(f.line.Problems, "\n"), "download") {
			p = p.with("download the files named above again, or get them from whoever made the checkpoint")
		}
		return found, p
	}
	return found, nil
}

func modelLine(dir string, s *model.Spec) report.Model {
	return report.Model{
		Path: dir, Architecture: s.Architecture, Family: s.Family,
		Layers: s.Layers, Hidden: s.Hidden, Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim,
		FeedForward: s.FF, Vocab: s.Vocab, MaxPositions: s.MaxPositions,
		Parameters: s.Parameters(), DType: s.DType, Tied: s.Tied, MACsPerToken: s.MACsPerToken(),
	}
}

func (f *inspector) inspection() *Inspection {
	out := &Inspection{Model: f.line}
	for i := range f.spec.Layers {
		out.Layers = append(out.Layers, report.Layer{Index: i, Parameters: f.spec.LayerParameters(), Bytes: f.layerBytes[i]})
	}
	for _, file := range f.files {
		out.Files = append(out.Files, Role{report.File{Name: file.Name, Bytes: file.Size}, string(file.Role)})
	}
	return out
}

// fromConfig gives sizes from the dtype that config.json names.
func (f *inspector) fromConfig() {
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
func (f *inspector) weights(ctx context.Context, env Env, dir string, deep bool) error {
	tell, end := env.Talk.Progress("reading weights", Bytes)
	problems := checkpoint.Check(ctx, dir, deep, tell)
	end()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	for _, p := range problems {
		f.line.Problems = append(f.line.Problems, p.Error())
	}
	f.layerBytes = make([]int64, f.spec.Layers)
	c, err := checkpoint.Open(dir, checkpoint.WithHashCache(env.Cache))
	if err != nil {
		if len(problems) == 0 {
			return err
		}
		f.fromConfig()
		return nil
	}
	f.files = c.Files()
	f.measure(c.Tensors())
	for _, w := range c.Warnings() {
		env.Talk.Warn("%v", w)
	}
	if m, err := model.OpenLayout(c); err == nil {
		for _, w := range m.Warnings {
			env.Talk.Warn("%s", w)
		}
	}
	f.check(c.Tensors())
	if err := checkTokenizer(dir, f.spec); err != nil {
		env.Talk.Warn("%v", err)
	}
	if deep {
		f.line.Hash, err = c.Hash(ctx)
	}
	return errors.Join(err, c.Close())
}

func (f *inspector) measure(tensors []checkpoint.TensorInfo) {
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

func (f *inspector) check(tensors []checkpoint.TensorInfo) {
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
