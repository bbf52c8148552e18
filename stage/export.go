package stage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coppice-ml/coppice/chat"
	"github.com/coppice-ml/coppice/checkpoint"
	"github.com/coppice-ml/coppice/export"
	"github.com/coppice-ml/coppice/gguf"
	"github.com/coppice-ml/coppice/hub"
	"github.com/coppice-ml/coppice/internal/wholefile"
	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/tokenizer"
)

// Export writes a model, or a pruning of it that is no checkpoint yet, as a GGUF
// file for llama.cpp, and a Modelfile for ollama beside it.
type Export struct {
	Model  string `yaml:"model"`
	GGUF   string `yaml:"gguf"`   // file to write
	Ollama string `yaml:"ollama"` // directory for a Modelfile and, where GGUF is "", the file
	Type   string `yaml:"type"`   // of matrices: bf16, f16, f32 or q8_0; "" or auto: as most of them are stored
	Force  bool   `yaml:"force"`  // replace files that exist
	Layers `yaml:",inline"`
}

// exportTypes are the types of matrices, by name.
func exportTypes() map[string]gguf.Type {
	return map[string]gguf.Type{"bf16": gguf.BF16, "f16": gguf.F16, "f32": gguf.F32, "q8_0": gguf.Q8_0}
}

// ExportTypes lists the names of Export's types.
func ExportTypes() []string { return []string{"auto", "bf16", "f16", "f32", "q8_0"} }

const modelfile = "Modelfile"

// Check finds what can be wrong before any file is opened.
func (e Export) Check() error {
	if e.GGUF == "" && e.Ollama == "" {
		return wrong("export: where to?").with("pass {gguf} FILE.gguf, or {ollama} DIR")
	}
	if e.Type == "" {
		return nil
	}
	return oneOf("type", e.Type, ExportTypes()...)
}

// file is the GGUF file to write, for a model of that name.
func (e Export) file() string {
	if e.GGUF != "" {
		return e.GGUF
	}
	return filepath.Join(e.Ollama, path.Base(e.name())+".gguf")
}

// name is what the model is called: its id on the hub, or its directory.
func (e Export) name() string {
	if name := modelName(e.Model); name != "" {
		return name
	}
	dir, err := filepath.Abs(e.Model)
	if err != nil || filepath.Base(dir) == string(filepath.Separator) {
		return "model"
	}
	return filepath.Base(dir)
}

// checkOut refuses outputs that exist, before a model is downloaded or read.
func (e Export) checkOut() error {
	if err := checkpoint.CheckFile(e.file(), export.Magic, e.Force); err != nil {
		return e.taken(e.file(), err)
	}
	if e.Ollama == "" {
		return nil
	}
	info, err := os.Stat(e.Ollama)
	if err == nil && !info.IsDir() {
		return failed("{ollama} %s is a file", e.Ollama).with("name a directory")
	}
	if err := checkpoint.CheckFile(filepath.Join(e.Ollama, modelfile), "", e.Force); err != nil {
		return e.taken(filepath.Join(e.Ollama, modelfile), err)
	}
	return nil
}

// taken says what to do about an output that is in the way.
func (e Export) taken(path string, err error) error {
	field := "{gguf}"
	if e.GGUF == "" || filepath.Base(path) == modelfile {
		field = "{ollama}"
	}
	p := failed("%s: %w", path, err)
	switch {
	case errors.Is(err, checkpoint.ErrNotOurs):
		return p.with("name another " + field + ", or remove that yourself")
	case errors.Is(err, checkpoint.ErrExists):
		return p.with("name another " + field + ", or replace it with {force}")
	}
	return p
}

// Run writes the files. Nothing appears under their names before it is complete,
// the Modelfile last.
func (e Export) Run(ctx context.Context, env Env) (*report.Written, error) {
	if err := e.Check(); err != nil {
		return nil, err
	}
	if err := e.checkOut(); err != nil {
		return nil, err
	}
	start := time.Now()
	s, err := Open(ctx, env, e.Model, e.Layers)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	opt, template, err := e.options(s)
	if err != nil {
		return nil, err
	}
	f, err := export.New(s.Checkpoint, s.Model.Spec, opt)
	if err != nil {
		return nil, wantTokenizer(err)
	}
	for _, note := range f.Notes {
		env.Talk.Warn("%s", note)
	}
	tell, end := env.Talk.Progress("writing", Bytes)
	defer end()
	written, err := f.Write(ctx, e.file(), checkpoint.WriteOptions{Force: e.Force, Progress: tell})
	if err != nil {
		return nil, err
	}
	if e.Ollama != "" {
		if err := e.writeModelfile(env, s, template, opt); err != nil {
			return nil, err
		}
	}
	return &report.Written{Path: written.Path, Bytes: written.Bytes, Seconds: seconds(start)}, nil
}

// options gathers what the file says besides the weights.
func (e Export) options(s *Session) (opt export.Options, template *chat.Template, err error) {
	opt = export.Options{Type: e.tensorType(s), Keep: s.Keep, Name: e.name()}
	t, err := tokenizer.Load(s.Checkpoint.Dir())
	if err != nil {
		return opt, nil, wantTokenizer(err)
	}
	if opt.Stop, err = (Generate{}).stop(s, t); err != nil {
		return opt, nil, err
	}
	template, err = chat.Load(s.Checkpoint.Dir(), chatChoice(t))
	switch {
	case errors.Is(err, chat.ErrNone):
		return opt, nil, nil
	case err != nil:
		return opt, nil, err
	}
	opt.Template = template.Text()
	return opt, template, nil
}

// chatChoice is the model's own template, with its tokens for those that no file names.
func chatChoice(t *tokenizer.Tokenizer) (c chat.Choice) {
	if id, ok := t.BOS(); ok {
		c.BOS = t.Token(id)
	}
	if id, ok := t.EOS(); ok {
		c.EOS = t.Token(id)
	}
	return c
}

// tensorType is the type that is asked for, or that of most weights.
func (e Export) tensorType(s *Session) gguf.Type {
	if t, ok := exportTypes()[e.Type]; ok {
		return t
	}
	bytes := map[string]int64{}
	for _, t := range s.Checkpoint.Tensors() {
		bytes[strings.ToLower(string(t.DType))] += t.Bytes
	}
	best := "f32"
	for _, name := range []string{"f16", "bf16"} {
		if bytes[name] > bytes[best] {
			best = name
		}
	}
	return exportTypes()[best]
}

// writeModelfile writes what ollama makes a model from.
func (e Export) writeModelfile(env Env, s *Session, template *chat.Template, opt export.Options) error {
	t, err := tokenizer.Load(s.Checkpoint.Dir())
	if err != nil {
		return wantTokenizer(err)
	}
	from, err := e.from()
	if err != nil {
		return err
	}
	m := export.Modelfile{From: from, Context: s.Model.Spec.MaxPositions}
	for _, id := range opt.Stop {
		if text := t.Token(id); text != "" && !slices.Contains(m.Stop, text) {
			m.Stop = append(m.Stop, text)
		}
	}
	if template != nil {
		if m.Template, err = export.OllamaTemplate(template); err != nil {
			env.Talk.Warn("%s: the Modelfile has no TEMPLATE: %v; ollama may know the template in the GGUF file", template.Source(), err)
		}
	}
	if err := os.MkdirAll(e.Ollama, 0o777); err != nil {
		return err
	}
	return wholefile.Write(filepath.Join(e.Ollama, modelfile), func(f *os.File) error {
		_, err := f.WriteString(m.String())
		return err
	})
}

// from is the GGUF file as the Modelfile names it: beside itself where it is there.
func (e Export) from() (string, error) {
	file, err := filepath.Abs(e.file())
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(e.Ollama)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(dir, file); err == nil && filepath.IsLocal(rel) {
		return "./" + filepath.ToSlash(rel), nil
	}
	return file, nil
}

// GGUFFile is what a GGUF file holds.
type GGUFFile struct {
	File    report.GGUF
	Keys    []report.GGUFKey
	Tensors []report.GGUFTensor
}

// IsGGUF says whether a name is that of a GGUF file, and none of a model's.
func IsGGUF(name string) bool {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return strings.HasSuffix(name, ".gguf") && !hub.IsID(name)
	}
	return err == nil && !info.IsDir() && strings.HasSuffix(strings.ToLower(name), ".gguf")
}

// InspectGGUF lists keys and tensors of a file.
func InspectGGUF(path string) (*GGUFFile, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	out := &GGUFFile{File: report.GGUF{Path: path, Version: int(f.Version), Bytes: f.Size}}
	out.File.Architecture, _ = f.Value("general.architecture").(string)
	for _, k := range f.Keys {
		out.Keys = append(out.Keys, report.GGUFKey{Key: k.Name, Value: k.Value})
	}
	for _, t := range f.Tensors {
		n := int64(1)
		for _, d := range t.Shape {
			n *= d
		}
		out.File.Parameters += n
		out.Tensors = append(out.Tensors, report.GGUFTensor{Name: t.Name, DType: t.Type.String(), Shape: t.Shape, Bytes: t.Bytes, Offset: t.Offset})
	}
	return out, nil
}
