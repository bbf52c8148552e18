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
	var out string
	c := &cobra.Command{
		Use:   "export MODEL|RUN/TRIAL (--gguf FILE.gguf | --out DIR)",
		Short: "Write a model, or a pruning of it, for llama.cpp and ollama",
		Long: `Write a model as a GGUF file, which llama.cpp, ollama and LM Studio run. --drop,
--keep or --plan leave layers out on the way: no pruned checkpoint is needed.

All families but OPT, which llama.cpp does not know. What it would compute otherwise
is repaired where a file can (the positions and the head of a Baichuan, the scale of
attention scores and the kinds of layers of a Gemma 2 or 3 that is cut, the layers
without rotary embeddings of a SmolLM3), and said where it cannot (attention windows
of a Mistral). Tokenizers that llama.cpp has no form for are refused.

--type is that of the matrices: bf16, f16, f32, or q8_0 (8.5 bits a weight); auto
keeps what most of them are stored as. Vectors are always F32.

RUN/TRIAL, a trial of ` + "`coppice run`" + `, is written with --out as the checkpoint that
transformers loads: dense model, plan and what was trained, put together.

--ollama DIR writes a Modelfile with template, tokens to stop at and parameters,
and the GGUF file beside it unless --gguf says where that goes.`,
		Example: `  coppice export ./model --gguf model.gguf
  coppice export ./model --drop 24-31 --type q8_0 --gguf smaller.gguf
  coppice export ./model --plan plan.json --ollama ./for-ollama
  coppice export runs/healing/llama/+last3 --out ./healed`,
		Args: modelArg,
		RunE: func(c *cobra.Command, args []string) error {
			o.Model = args[0]
			if o.GGUF == "" && o.Ollama == "" {
				if handled, err := exportTrial(c.Context(), a, args[0], out, o.Force); handled {
					return err
				}
			}
			if out != "" {
				return usage("--out %s: %s is no trial of a run", out, args[0]).withHint("--out is for coppice export RUN/TRIAL; a model is written with --gguf or --ollama")
			}
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
	f.StringVar(&out, "out", "", "of RUN/TRIAL: directory for the checkpoint")
	f.StringVar(&o.Ollama, "ollama", "", "directory for ollama's Modelfile")
	f.StringVar(&o.Type, "type", "auto", "of the matrices: "+strings.Join(stage.ExportTypes(), ", "))
	f.BoolVar(&o.Force, "force", false, "replace files that exist")
	layerFlags(c, flagsLayers, &o.Layers)
	nonEmpty(c, "gguf", "ollama", "type", "out")
	exclusive(c, "gguf", "out")
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
