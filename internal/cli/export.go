package cli

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coppice-ml/coppice/report"
	"github.com/coppice-ml/coppice/stage"
)

func newExport(a *app) *cobra.Command {
	var o stage.Export
	c := &cobra.Command{
		Use:   "export MODEL --gguf FILE.gguf",
		Short: "Write a model, or a pruning of it, for llama.cpp and ollama",
		Long: `Write a model as a GGUF file, which llama.cpp, ollama and LM Studio run. --drop,
--keep or --plan leave layers out on the way: no pruned checkpoint is needed.

Families: Llama, Vicuna, Mistral, Qwen2, Qwen3, Gemma, Gemma 2, and Baichuan
written as a Llama. What llama.cpp would compute otherwise is repaired where a
file can (the positions and the head of a Baichuan, the scale of attention scores
of a Gemma 2 27B that is cut), and said where it cannot (attention windows).
ChatGLM is refused, and so are tokenizers that llama.cpp has no form for.

--type is that of the matrices: bf16, f16, f32, or q8_0 (8.5 bits a weight); auto
keeps what most of them are stored as. Vectors are always F32.

--ollama DIR writes a Modelfile with template, tokens to stop at and parameters,
and the GGUF file beside it unless --gguf says where that goes.`,
		Example: `  coppice export ./model --gguf model.gguf
  coppice export ./model --drop 24-31 --type q8_0 --gguf smaller.gguf
  coppice export ./model --plan plan.json --ollama ./for-ollama`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.Model = args[0]
			written, err := o.Run(c.Context(), a.env())
			if err != nil {
				return err
			}
			return a.wrote(written)
		},
	}
	a.workFlags(c)
	f := c.Flags()
	f.StringVar(&o.GGUF, "gguf", "", "file to write")
	f.StringVar(&o.Ollama, "ollama", "", "directory for ollama's Modelfile")
	f.StringVar(&o.Type, "type", "auto", "of the matrices: "+strings.Join(stage.ExportTypes(), ", "))
	f.BoolVar(&o.Force, "force", false, "replace files that exist")
	layerFlags(c, &o.Layers)
	nonEmpty(c, "gguf", "ollama", "type")
	return c
}

// inspectGGUF lists what a GGUF file holds.
func inspectGGUF(a *app, c *cobra.Command, path string) error {
	for _, name := range []string{"deep", "config-only"} {
		if c.Flags().Changed(name) {
			return usage("--%s goes with a model's directory, and %s is a GGUF file", name, path)
		}
	}
	f, err := stage.InspectGGUF(path)
	if err != nil {
		return err
	}
	if a.json {
		errs := []error{a.line(f.File)}
		for _, k := range f.Keys {
			errs = append(errs, a.line(k))
		}
		for _, t := range f.Tensors {
			errs = append(errs, a.line(t))
		}
		return cmp.Or(errs...)
	}
	keys := &report.Table{Header: []string{"key", "value"}}
	for _, k := range f.Keys {
		keys.Add(report.String(k.Key), report.String(k.Abridged()))
	}
	tensors := &report.Table{Header: []string{"tensor", "dtype", "shape", "bytes"}}
	for _, t := range f.Tensors {
		tensors.Add(report.String(t.Name), report.String(t.DType), report.String(joined(t.Shape, " x ")), report.Bytes(t.Bytes))
	}
	return cmp.Or(a.table(keys), a.printf("\n"), a.table(tensors))
}
